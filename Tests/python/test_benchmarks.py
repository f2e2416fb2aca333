"""What benchmarks say of the machine. python3 -m unittest, with Benchmarks in PYTHONPATH."""

import os
import unittest
from unittest import mock

import machine

STAT = """cpu  900 0 0 5 0 0 0 0 0 0
cpu0 100 1 2 5 7 3 4 5 9 9
cpu1 200 0 0 5 0 0 0 0 0 0
cpu10 300 0 0 5 0 0 0 0 0 0
intr 1 2 3
"""


class MachineTests(unittest.TestCase):
    def test_others_on_other_processors_do_not_count(self):
        def seconds(processors):
            with mock.patch("builtins.open", mock.mock_open(read_data=STAT)), \
                    mock.patch("os.sched_getaffinity", return_value=processors), \
                    mock.patch("os.times", return_value=(0.25, 0.25, 0, 0, 0)):
                return machine.others_seconds()

        tick = 1 / os.sysconf("SC_CLK_TCK")
        self.assertAlmostEqual(seconds({0}), 115 * tick - 0.5)
        self.assertAlmostEqual(seconds({1, 10}), 500 * tick - 0.5)

    def test_settings_of_the_user_do_not_count(self):
        with mock.patch.dict(os.environ, {"MOE_SEED": "1", "MOE_CONFIG": "/etc/moe/worker.yaml", "HOME": "/root"}):
            machine.forget_settings()
            self.assertFalse([name for name in os.environ if name.startswith("MOE_")])
            self.assertEqual(os.environ["HOME"], "/root")


if __name__ == "__main__":
    unittest.main()
