"""Runs one contender on one case: moe-worker under mpirun, or a peer in a process of its own."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time


class Failed(Exception):
    pass


@dataclasses.dataclass
class Run:
    """Step times in seconds, and the losses of the steps. `seconds` is the whole process, start and validation too;
    `peak_bytes` the most resident memory that any of its processes had."""

    step_seconds: list
    losses: list
    seconds: float
    peak_bytes: int
    validation_loss: float | None
    facts: dict
    metrics: list = dataclasses.field(default_factory=list)  # The lines of moe-worker's metrics file.


def _call(command):
    """What the command prints, its seconds, and the most resident memory that it or a process it waited for had."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        text = output.read()
        if process.returncode != 0:
            raise Failed(f"{shlex.join(command)}\nexit code {process.returncode}\n{text}{errors.read()}")
    return text, seconds, 1024 * usage.ru_maxrss


@dataclasses.dataclass(frozen=True)
class Worker:
    """Us."""

    programs: str
    allocator: str
    ranks: int = 2
    threads: int = 1
    flags: tuple = ()  # More of moe-worker's, as (name, value); a value of None: a flag without one.
    launcher: str = "mpirun --oversubscribe --bind-to none"
    model: str | None = None  # A checkpoint to begin with.

    @property
    def name(self):
        return ", ".join(["moe-worker", self.allocator, *(str(value) for _, value in self.flags if value is not None)])

    def run(self, case, data, seed, validate):
        with tempfile.TemporaryDirectory() as folder:
            configuration, metrics = os.path.join(folder, "config.json"), os.path.join(folder, "metrics.jsonl")
            case.write_configuration(configuration)
            if not validate:
                data = self._without_validation(data, folder)
            launcher = shlex.split(os.environ.get("MPIRUN", self.launcher))
            command = launcher + ["-n", str(self.ranks), os.path.join(self.programs, "moe-worker")]
            flags = {
                "data": data, "model" if self.model else "model-config": self.model or configuration,
                "metrics": metrics, "steps": case.steps,
                "batch-size": case.batch_size, "sequence-length": case.sequence_length,
                "learning-rate": case.learning_rate, "learning-rate-schedule": "cosine",
                "minimum-learning-rate": case.minimum_learning_rate, "warmup-steps": case.warmup_steps,
                "beta1": case.beta1, "beta2": case.beta2, "weight-decay": case.weight_decay,
                "gradient-clip": case.gradient_clip, "auxiliary-loss": case.auxiliary_loss,
                "data-order": "random", "seed": seed, "allocator": self.allocator, "threads": self.threads,
                "log-interval": case.steps,
            }
            for name, value in [*flags.items(), *self.flags]:
                command += [f"--{name}"] + ([] if value is None else [str(value)])
            output, seconds, peak = _call(command)
            with open(metrics) as file:
                lines = [json.loads(line) for line in file]
        kernel = re.search(r"BLAS kernel (\S+)", output)
        facts = {"BLAS kernel": kernel.group(1) if kernel else "unknown"}
        library = re.search(r"oneDNN (\S+)", output)
        if library:
            facts["oneDNN"] = library.group(1)
        return Run(
            [line["step_seconds"] for line in lines], [line["loss"] for line in lines], seconds, peak,
            lines[-1].get("validation_loss"), facts, lines)

    @staticmethod
    def _without_validation(data, folder):
        """moe-worker validates after the last step when there is a val.bin."""
        path = os.path.join(folder, "data")
        os.mkdir(path)
        os.symlink(os.path.join(os.path.abspath(data), "train.bin"), os.path.join(path, "train.bin"))
        return path


@dataclasses.dataclass(frozen=True)
class Transformers:
    """transformers' Mixtral, with one of the implementations of attention and experts that it offers."""

    attention: str
    experts: str
    compiled: bool = False
    threads: int = 2
    dtype: str = "fp32"  # Or bf16 (all of it), or autocast.
    model: str | None = None  # A checkpoint to begin with.

    @property
    def name(self):
        dtype = "" if self.dtype == "fp32" else f", {self.dtype}"
        return f"transformers, {self.attention}, {self.experts}{dtype}" + (", compiled" if self.compiled else "")

    def run(self, case, data, seed, validate):
        peer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer.py")
        command = [
            sys.executable, peer, "--case", json.dumps(dataclasses.asdict(case)), "--data", data, "--seed", str(seed),
            "--threads", str(self.threads), "--attention", self.attention, "--experts", self.experts,
            "--dtype", self.dtype]
        command += ["--compile"] * self.compiled + ["--validate"] * validate
        command += ["--model", self.model] if self.model else []
        output, seconds, peak = _call(command)
        result = json.loads(output.splitlines()[-1])
        return Run(
            result["step_seconds"], result["losses"], seconds, peak, result.get("validation_loss"), result["versions"])


@dataclasses.dataclass(frozen=True)
class NanoGPT:
    """A dense GPT as nanoGPT has it, in PyTorch."""

    threads: int = 2
    dtype: str = "fp32"  # Or autocast.

    @property
    def name(self):
        return "nanoGPT's model" + ("" if self.dtype == "fp32" else f", {self.dtype}")

    def run(self, case, data, seed, validate):
        peer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nanogpt.py")
        output, seconds, peak = _call([
            sys.executable, peer, "--case", json.dumps(dataclasses.asdict(case)), "--data", data, "--seed", str(seed),
            "--threads", str(self.threads), "--dtype", self.dtype])
        result = json.loads(output.splitlines()[-1])
        return Run(
            result["step_seconds"], result["losses"], seconds, peak, result["validation_loss"], result["versions"])


def write_checkpoint(programs, case, data, folder):
    """A model of the case's shape with weights drawn from a seed; its directory."""
    configuration = os.path.join(folder, "config.json")
    case.write_configuration(configuration)
    _call([
        os.path.join(programs, "moe-worker"), "--data", data, "--model-config", configuration, "--steps", "0",
        "--batch-size", "1", "--sequence-length", str(case.sequence_length),
        "--checkpoint-directory", os.path.join(folder, "checkpoints")])
    return os.path.join(folder, "checkpoints", "step-0")


def layers(programs, case, ranks=2, launcher=Worker.launcher):
    """Seconds of a layer of experts, of its attention, of their products alone, and of a step's, from layer-benchmark."""
    numbers = [
        case.hidden_size, case.intermediate_size, case.num_hidden_layers, case.num_attention_heads,
        case.num_key_value_heads, case.num_local_experts, case.num_experts_per_tok, case.vocab_size, case.batch_size,
        case.sequence_length]
    launcher = shlex.split(os.environ.get("MPIRUN", launcher))
    output, _, _ = _call(
        launcher + ["-n", str(ranks), os.path.join(programs, "layer-benchmark"), *map(str, numbers)])
    return json.loads(output.splitlines()[-1])
