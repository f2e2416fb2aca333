"""Holds the simulator against real runs: predicted and measured seconds of a step.

    swift build -c release -Xcc -march=native
    python Benchmarks/validation.py --text FILE

trains the model of `make train` under each placement on two ranks, with a coordinator, and records a trace of each run. The
trace of the first placement alone says how fast ranks compute, what the rest of a step takes and what messages cost; with
that moe-ctl simulate predicts the others, whose own traces say what they took. Leave the machine alone meanwhile.
"""

import argparse
import json
import pathlib
import re
import shlex
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALIBRATED = "tensor-parallel"
PREDICTED = ["expert-parallel", "replicated", "load-balanced"]
GOAL = 0.1


def call(*command):
    return subprocess.run([str(part) for part in command], check=True, text=True, stdout=subprocess.PIPE).stdout


class Coordinator:
    """A coordinator of its own, on a free port."""

    def __init__(self, programs, folder):
        self.log = folder / "coordinator.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [programs / "moe-coordinator", "serve", "--database", folder / "moe.db", "--listen", "127.0.0.1:0"],
                stderr=log)

    def __enter__(self):
        for _ in range(300):
            found = re.search(r"^moe-coordinator: listening on (.*)$", self.log.read_text(), re.MULTILINE)
            if found:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"the coordinator did not start: {self.log.read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def train(arguments, folder, data, address, allocator):
    """Trains under a placement, and returns the path of the run's trace."""
    command = shlex.split(arguments.launcher) + ["-n", arguments.ranks, arguments.programs / "moe-worker"]
    flags = {
        "run": allocator, "coordinator": address, "allocator": allocator, "data": data,
        "model-config": ROOT / "deploy/shakespeare/config.json", "steps": arguments.steps, "batch-size": 16,
        "sequence-length": 128, "learning-rate": 2e-3, "beta2": 0.99, "weight-decay": 0.1,
        "report-interval": arguments.interval, "auxiliary-loss": 0,
    }
    for name, value in flags.items():
        command += [f"--{name}", value]
    call(*command)
    trace = folder / f"{allocator}.jsonl"
    call(arguments.programs / "moe-ctl", "trace", "record", allocator, "--coordinator", address, "-o", trace)
    return trace


def measured(trace, skipped):
    """Median seconds of a step in each interval past the first few."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    intervals = [line for line in lines if line["type"] == "interval"][skipped:]
    seconds = [interval["step_seconds"] for interval in intervals if interval.get("step_seconds")]
    if not seconds:
        raise SystemExit(f"{trace} tells of no seconds; train for more steps")
    return statistics.median(seconds)


def predicted(arguments, trace):
    """The same as the simulator has it, by policy."""
    command = [arguments.programs / "moe-ctl", "simulate", "--trace", trace, "-o", "json"]
    for policy in [CALIBRATED] + PREDICTED:
        command += ["--policy", policy]
    policies = json.loads(call(*command))["policies"]
    return {
        policy["policy"]: statistics.median(
            interval["step_seconds"] for interval in policy["intervals"][arguments.skip:])
        for policy in policies}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", required=True, help="file to train on")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / ".build/release", help="folder of the programs")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--interval", type=int, default=10, help="steps of a report")
    parser.add_argument("--skip", type=int, default=5, help="intervals at the start that do not count")
    parser.add_argument("--launcher", default="mpirun --bind-to core", help="starts the ranks, given -n")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        call(arguments.programs / "moe-ctl", "data", "prepare", arguments.text, "--output", folder / "data", "--tokenizer",
             "bytes")
        with Coordinator(arguments.programs, folder) as address:
            traces = {
                allocator: train(arguments, folder, folder / "data", address, allocator)
                for allocator in [CALIBRATED] + PREDICTED}
        expected = predicted(arguments, traces[CALIBRATED])
        print("| placement | predicted, ms | measured, ms | ratio | |\n|---|---|---|---|---|")
        for allocator, trace in traces.items():
            seconds = measured(trace, arguments.skip)
            ratio = expected[allocator] / seconds
            verdict = "calibrated on" if allocator == CALIBRATED else "met" if abs(ratio - 1) <= GOAL else "missed"
            print(f"| {allocator} | {1000 * expected[allocator]:.1f} | {1000 * seconds:.1f} | {ratio:.3f} | {verdict} |")


if __name__ == "__main__":
    main()
