"""Holds the simulator against real runs: predicted and measured seconds of a step.

    swift build -c release -Xcc -march=native
    python Benchmarks/validation.py --text FILE

trains the model of `make train` under each placement on two ranks, with a coordinator, and records a trace of each run. The
trace of the first placement alone says how fast ranks compute, what the rest of a step takes and what messages cost; with
that moe-ctl simulate predicts the others, whose own traces say what they took. Leave the machine alone meanwhile.

With more --ranks than cores, seconds of the clock say nothing of a rank. Then it is CPU seconds that are held against each other:
those of attention and router, the mean of the ranks, and those of the experts, of the rank that computes longest in each layer. How
fast ranks compute is known from the first placement's CPU seconds, and exchanges count as nothing, whose waiting takes CPU seconds, too.
"""

import argparse
import json
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import tempfile
import time

import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "deploy/shakespeare/config.json"
CALIBRATED = "tensor-parallel"
PREDICTED = ["expert-parallel", "replicated", "load-balanced"]
GOAL = 0.1
# Bytes a second of links that take no time.
FREE_LINK = 1e18


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
    """Trains under a placement, and returns the paths of the run's trace and of its steps."""
    metrics = folder / f"{allocator}.metrics.jsonl"
    command = shlex.split(arguments.launcher) + ["-n", arguments.ranks, arguments.programs / "moe-worker"]
    flags = {
        "run": allocator, "coordinator": address, "allocator": allocator, "data": data,
        "model-config": CONFIGURATION, "steps": arguments.steps, "batch-size": 16,
        "sequence-length": 128, "learning-rate": 2e-3, "beta2": 0.99, "weight-decay": 0.1,
        "report-interval": arguments.interval, "auxiliary-loss": 0, "metrics": metrics,
    }
    for name, value in flags.items():
        command += [f"--{name}", value]
    call(*command)
    trace = folder / f"{allocator}.jsonl"
    call(arguments.programs / "moe-ctl", "trace", "record", allocator, "--coordinator", address, "-o", trace)
    return trace, metrics


def measured(trace, skipped):
    """Seconds of a step, the median of the intervals past the first few."""
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    intervals = [line for line in lines if line["type"] == "interval"][skipped:]
    seconds = [interval["step_seconds"] for interval in intervals if interval.get("step_seconds")]
    if not seconds:
        raise SystemExit(f"{trace} tells of no seconds; train for more steps")
    return statistics.median(seconds)


class ProcessorTime:
    """CPU seconds of a run's steps past the first few."""

    def __init__(self, metrics, skipped_steps):
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        self.steps = [line for line in lines if "rank_work" in line][skipped_steps:]
        if not self.steps:
            raise SystemExit(f"{metrics} tells of no experts; train for more steps")
        ranks = range(len(self.steps[0]["rank_cpu_seconds"]))
        self.seconds = [sum(step["rank_cpu_seconds"][rank] for step in self.steps) for rank in ranks]
        self.work = [sum(layer[rank] for step in self.steps for layer in step["rank_work"]) for rank in ranks]

    def dense(self):
        """Of attention and router: the mean of the ranks, the median of the steps."""
        return statistics.median(statistics.mean(step["rank_dense_cpu_seconds"]) for step in self.steps)

    def operations_per_second(self, hidden_size):
        """Of a rank; a row takes 18 operations a neuron and entry of the hidden state."""
        return 18 * hidden_size * sum(self.work) / sum(self.seconds)

    def step(self):
        """With the experts of the longest rank of each layer, added up: the median of the steps."""
        each = [seconds / work if work else 0 for seconds, work in zip(self.seconds, self.work)]
        return self.dense() + statistics.median(
            sum(max(work * cost for work, cost in zip(layer, each)) for layer in step["rank_work"])
            for step in self.steps)


def predicted(arguments, trace, *options):
    """The same as the simulator has it, by policy."""
    command = [arguments.programs / "moe-ctl", "simulate", "--trace", trace, "-o", "json", *options]
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
    machine.forget_settings()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        call(arguments.programs / "moe-ctl", "data", "prepare", arguments.text, "--output", folder / "data", "--tokenizer",
             "bytes")
        with Coordinator(arguments.programs, folder) as address:
            runs = {
                allocator: train(arguments, folder, folder / "data", address, allocator)
                for allocator in [CALIBRATED] + PREDICTED}
        trace, _ = runs[CALIBRATED]
        if arguments.ranks <= len(os.sched_getaffinity(0)):
            expected = predicted(arguments, trace)
            found = {allocator: measured(trace, arguments.skip) for allocator, (trace, _) in runs.items()}
        else:
            skipped = arguments.skip * arguments.interval
            hidden_size = json.loads(CONFIGURATION.read_text())["hidden_size"]
            times = {allocator: ProcessorTime(metrics, skipped) for allocator, (_, metrics) in runs.items()}
            calibration = times[CALIBRATED]
            expected = predicted(
                arguments, trace, "--dense-seconds", calibration.dense(), "--operations-per-second",
                calibration.operations_per_second(hidden_size), "--bandwidth", FREE_LINK, "--latency", 0)
            found = {allocator: each.step() for allocator, each in times.items()}
        print("| placement | predicted, ms | measured, ms | ratio | |\n|---|---|---|---|---|")
        for allocator, seconds in found.items():
            ratio = expected[allocator] / seconds
            verdict = "calibrated on" if allocator == CALIBRATED else "met" if abs(ratio - 1) <= GOAL else "missed"
            print(f"| {allocator} | {1000 * expected[allocator]:.1f} | {1000 * seconds:.1f} | {ratio:.3f} | {verdict} |")


if __name__ == "__main__":
    main()
