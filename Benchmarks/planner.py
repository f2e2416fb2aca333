#!/usr/bin/env python3
"""Tables of the planner's quality and speed, beside DeepSeek's own EPLB.

    swift build -c release -Xcc -march=native --product planner-benchmark
    python Benchmarks/planner.py --trace TRACE [--eplb PATH/TO/eplb.py] [--tool PATH/TO/planner-benchmark]

TRACE holds JSON lines {"iteration": 1, "loads": [layer][expert]}. EPLB's program (github.com/deepseek-ai/EPLB) needs PyTorch;
without --eplb its columns stay empty. Nothing is fetched. --large runs EPLB on 1,024 ranks too, which takes minutes.
What was measured goes to results/ as well.
"""
import argparse
import importlib.util
import json
import pathlib
import subprocess
import sys
import time

import machine

RANKS, SLOTS = 16, 4
SPEED_GROUPS = {32: (8, 4), 16: (1, 1), 1024: (1, 1)}  # by ranks: groups and nodes


def load_eplb(path):
    spec = importlib.util.spec_from_file_location("eplb", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def balance(eplb, planned, actual):
    """Maximum over mean rank load of each row of `actual` when EPLB plans on the same row of `planned`."""
    import torch

    slots, _, counts = eplb.rebalance_experts(planned, RANKS * SLOTS, 1, 1, RANKS)
    pieces = (actual.double() / counts).gather(-1, slots)
    ranks = pieces.view(len(actual), RANKS, SLOTS).sum(-1)
    return (ranks.max(-1).values / ranks.mean(-1)).tolist(), slots


def spread(values):
    values = sorted(values)
    return {"mean": sum(values) / len(values), "p95": values[int(0.95 * (len(values) - 1))]}


def eplb_on_trace(eplb, path):
    import torch

    with open(path) as lines:
        loads = torch.tensor([json.loads(line)["loads"] for line in lines], dtype=torch.float64)

    def figure(lag, window, start):
        first = max(start, lag + window - 1)
        planned = sum(loads[first - lag - w:len(loads) - lag - w] for w in range(window)) / window
        ratios, slots = balance(eplb, planned.flatten(0, 1), loads[first:].flatten(0, 1))
        return spread(ratios), slots.view(len(loads) - first, loads.shape[1], RANKS, SLOTS)

    figures = {"itself": figure(0, 1, 0)[0], "ten_before": figure(10, 1, 0)[0], "mean_of_ten": figure(1, 10, 100)[0]}
    figures["one_before"], slots = figure(1, 1, 0)
    held = torch.zeros(*slots.shape[:3], loads.shape[2], dtype=torch.bool).scatter_(-1, slots, True)
    moved = (held[1:] & ~held[:-1]).sum().item()
    figures["transferred_share"] = moved / slots[1:].numel()
    return figures


def pair(figure):
    return f"{figure['mean']:.3f} / {figure['p95']:.3f}" if figure else "–"


def trace_tables(tool, eplb, path):
    ours = run(tool, "trace", path)
    theirs = eplb_on_trace(eplb, path) if eplb else {}
    print(f"Rank load, maximum over mean, {RANKS} ranks with {SLOTS} slots a layer (mean / p95):\n")
    print("| planned on | planner | EPLB | target |\n|---|---|---|---|")
    rows = [("the load itself", "itself", "1.01"), ("10 iterations before", "one_before", "1.13 / 1.25"),
            ("100 iterations before", "ten_before", "1.20 / 1.80"),
            ("the mean of the last 100, from iteration 1,000 on", "mean_of_ten", "1.08 / 1.19")]
    for label, key, target in rows:
        print(f"| {label} | {pair(ours[key])} | {pair(theirs.get(key))} | {target} |")
    print("\nPlanned at every line of the trace on the one before:\n")
    print("| policy | balance (mean / p95) | slots transferred a plan |\n|---|---|---|")
    for label, key in [("made anew", "anew"), ("from the plan in force", "from_current"),
                       ("with a price on transfers", "with_hysteresis")]:
        print(f"| {label} | {pair(ours[key]['balance'])} | {100 * ours[key]['transferred_share']:.1f} % |")
    if theirs:
        print(f"| EPLB | {pair(theirs['one_before'])} | {100 * theirs['transferred_share']:.1f} % |")
    return {"planner": ours, "eplb": theirs}


def shape_table(tool, path):
    print("\nPredicted seconds of the experts in a step, exchange and synchronisation included (mean / p95):\n")
    print("| allocator | seconds | plans | replicas moved | homes moved |\n|---|---|---|---|---|")
    figures = run(tool, "shapes", path)["allocators"]
    for figure in figures:
        print(f"| {figure['allocator']} | {pair(figure['seconds'])} | {figure['plans']} "
              f"| {figure['replicas_moved']:.1f} × all | {figure['homes_moved']:.1f} × all |")
    return figures


def seeded_table(tool, eplb):
    cases = run(tool, "seeded")
    print("\nSeeded loads, maximum over mean rank load, mean of the cases:\n")
    print("| loads | cases | planner | EPLB (Swift) | EPLB (Python) | lower bound | worse than EPLB | exact known "
          "| most above exact |\n|---|---|---|---|---|---|---|---|---|")
    worse_cases = 0
    rows = []
    for kind in dict.fromkeys(case["kind"] for case in cases):
        group = [case for case in cases if case["kind"] == kind]
        mean = lambda key: sum(case[key] for case in group) / len(group)
        python = "–"
        if eplb:
            for case in group:
                case["python"] = eplb_balance(eplb, case)
            python = f"{mean('python'):.4f}"
        worse = sum(case["planner"] > min(case["balancer"], case.get("python", 1e30)) * (1 + 1e-6) for case in group)
        worse_cases += worse
        above = [case["planner"] / case["exact"] for case in group if case.get("exact")]
        worse_cases += sum(ratio > 1.01 for ratio in above)
        most = f"{100 * (max(above) - 1):.2f} %" if above else "–"
        print(f"| {kind} | {len(group)} | {mean('planner'):.4f} | {mean('balancer'):.4f} | {python} "
              f"| {mean('bound'):.4f} | {worse} | {len(above)} | {most} |")
        rows.append({"loads": kind, "cases": len(group), "planner": mean("planner"), "eplb": mean("balancer"),
                     "eplb_python": mean("python") if eplb else None, "bound": mean("bound"), "worse": worse,
                     "exact_known": len(above), "most_above_exact": max(above, default=None)})
    return worse_cases, rows


def eplb_balance(eplb, case):
    import torch

    loads = torch.tensor([case["loads"]])
    ranks, slots = case["ranks"], case["slots"]
    experts, _, counts = eplb.rebalance_experts(loads, ranks * slots, 1, 1, ranks)
    sums = (loads.double() / counts).gather(-1, experts).view(ranks, slots).sum(-1)
    return (sums.max() / (max(1, loads.sum().item()) / ranks)).item()


def speed_table(tool, eplb, large):
    print("\nMilliseconds on one core:\n")
    print("| layers × experts × replicas on ranks | anew | from the plan in force | load-balanced, replicas only "
          "| load-balanced | balance | EPLB |\n|---|---|---|---|---|---|---|")
    figures = run(tool, "speed")
    for figure in figures:
        shape = (figure["layers"], figure["experts"], figure["replicas"], figure["ranks"])
        theirs = "–"
        if eplb and (large or shape[3] < 1000):
            import torch

            torch.set_num_threads(1)
            groups, nodes = SPEED_GROUPS[shape[3]]
            # EPLB wants as many slots on every rank.
            replicas = -(-shape[2] // shape[3]) * shape[3]
            weights = torch.empty(shape[0], shape[1]).exponential_(generator=torch.Generator().manual_seed(1)) * 1000
            start = time.perf_counter()
            eplb.rebalance_experts(weights, replicas, groups, nodes, shape[3])
            figure["eplb_milliseconds"] = 1000 * (time.perf_counter() - start)
            theirs = f"{figure['eplb_milliseconds']:.1f}"
        print(f"| {shape[0]} × {shape[1]} × {shape[2]} on {shape[3]} | {figure['anew_milliseconds']:.2f} "
              f"| {figure['from_current_milliseconds']:.2f} | {figure['allocator_milliseconds']:.2f} "
              f"| {figure['shards_milliseconds']:.2f} | {figure['balance']:.3f} | {theirs} |")
    return figures


def run(tool, *arguments):
    return json.loads(subprocess.run([tool, *arguments], check=True, stdout=subprocess.PIPE).stdout)


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description="Tables of the planner's quality and speed, beside EPLB's.")
    parser.add_argument("--trace", help="loads of a training run, JSON lines")
    parser.add_argument("--eplb", help="DeepSeek's eplb.py; needs PyTorch")
    parser.add_argument("--tool", default=str(root / ".build/release/planner-benchmark"))
    parser.add_argument("--large", action="store_true", help="run EPLB on 1,024 ranks as well: minutes")
    parser.add_argument("--results", default=str(root / "Benchmarks/results"))
    options = parser.parse_args()
    eplb = load_eplb(options.eplb) if options.eplb else None
    record = {"facts": machine.facts({})}
    if options.trace:
        record["trace"] = trace_tables(options.tool, eplb, options.trace)
        record["shapes"] = shape_table(options.tool, options.trace)
    worse, record["seeded"] = seeded_table(options.tool, eplb)
    record["speed"] = speed_table(options.tool, eplb, options.large)
    stamp = time.strftime("%Y%m%dT%H%M", time.gmtime())
    path = pathlib.Path(options.results) / f"{stamp}-planner-{record['facts']['commit'][:12]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}", file=sys.stderr)
    if worse:
        sys.exit(f"\nThe planner is worse than EPLB, or more than 1 % above the best, in {worse} of the seeded cases.")


if __name__ == "__main__":
    main()
