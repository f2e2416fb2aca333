"""Step time against ranks for each placement policy, from the simulator: writes the tables of docs/scaling.md and its plots.

    swift build -c release -Xcc -march=native --product moe-ctl
    python Benchmarks/simulation.py
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import machine

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANKS = [8, 32, 128, 512, 1024, 4096, 10_000]
POLICIES = ["expert-parallel", "eplb", "load-balanced"]
# DeepSeek-V3 (arXiv:2412.19437): layers with experts, experts, experts of a token, sizes, and the parameters that a token
# meets outside of them, of 37e9 in all.
LAYERS, EXPERTS, TOP_K, WIDTH, HIDDEN, DENSE_PARAMETERS = 58, 256, 8, 2048, 7168, 16.6e9
TOKENS = 4_194_304
STEPS = 10
# Before these are over the loads are known, and the first plan has been replaced.
WARM_UP = 4
# A rank: an H800 at two fifths of its 989e12 operations a second in bf16; NVLink within nodes of eight, a link of 400 Gbit/s
# each between them.
OPERATIONS = 4e14
LINKS = ["--bandwidth", "160e9", "--latency", "20e-6", "--bandwidth-between-nodes", "50e9",
         "--latency-between-nodes", "50e-6"]


def run(arguments):
    return subprocess.run([str(argument) for argument in arguments], check=True, text=True, stdout=subprocess.PIPE).stdout


def simulated(program, trace, weak, plot):
    dense = 6 * DENSE_PARAMETERS * TOKENS / OPERATIONS / RANKS[0]
    command = [program, "simulate", "--trace", trace, "--ranks-per-node", 8, "--operations-per-second", OPERATIONS,
               "--dense-seconds", dense, "--warm-up-intervals", WARM_UP, "--plot", plot, "-o", "json", *LINKS]
    for ranks in RANKS:
        command += ["--ranks", ranks]
    for policy in POLICIES:
        command += ["--policy", policy]
    return json.loads(run(command + (["--weak-scaling"] if weak else [])))


def table(report):
    lines = ["| ranks | " + " | ".join(POLICIES) + " |", "|---|" + "---|" * len(POLICIES)]
    for point in report["points"]:
        cells = []
        for policy in point["policies"]:
            totals = policy["totals"]
            cells.append("-" if policy.get("failure") else
                         f"{totals['mean_step_seconds']:.3g} s, {100 * policy['efficiency']:.0f} %, "
                         f"{totals['mean_balance']:.2f}")
        lines.append(f"| {point['ranks']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / ".build/release/moe-ctl", help="moe-ctl")
    parser.add_argument("--intervals", type=int, default=16, help="intervals of the trace")
    arguments = parser.parse_args()
    machine.forget_settings()
    with tempfile.TemporaryDirectory() as folder:
        trace = pathlib.Path(folder) / "trace.jsonl"
        run([arguments.program, "trace", "generate", "--pattern", "zipf", "--layers", LAYERS, "--experts", EXPERTS,
             "--top-k", TOP_K, "--width", WIDTH, "--hidden-size", HIDDEN, "--tokens", TOKENS, "--steps", STEPS,
             "--intervals", arguments.intervals, "-o", trace])
        for scaling in ["strong", "weak"]:
            plot = ROOT / f"docs/scaling-{scaling}.svg"
            print(f"{scaling.capitalize()} scaling\n\n{table(simulated(arguments.program, trace, scaling == 'weak', plot))}\n")


if __name__ == "__main__":
    main()
