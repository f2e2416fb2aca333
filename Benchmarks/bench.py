"""Measures moe-worker beside its peers in PyTorch, in one go; prints tables and writes a JSON file and a plot.

Runs are interleaved: each round runs every contender once, so that a machine that slows down slows down all of them.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time

import cases
import footprint
import machine
import network
import placement
import plot
import training
from contenders import Failed
from report import goal_table, print_table, say

HERE = os.path.dirname(os.path.abspath(__file__))


def measure_placement(options, folder):
    """Balance and speed of the placements when the router is left alone, on two ranks and on four."""
    case = cases.placement(training.write_characters(options.tinyshakespeare, folder), options.placement_steps)
    cores, facts, values, goals = len(os.sched_getaffinity(0)), {}, {}, []
    for ranks in [2, 4]:
        results, run_facts = placement.measure(case, folder, options, ranks, cores, say)
        facts |= run_facts
        say()
        print_table(*placement.table(results))
        count, least, median = placement.skewed_ratios(results)
        if count:
            say(f"in {count} intervals expert-parallel's max / mean is 1.4 or more: there load-balanced placement makes the "
                f"MoE part {median:.2f} times faster (least {least:.2f})\n")
        values[f"{ranks} ranks"] = {
            name: [dataclasses.asdict(result) for result in runs] for name, runs in results.items()}
        goals += placement.goals(results, ranks, cores)
    return {"case": dataclasses.asdict(case), "ranks": values, "goals": goals}, facts


MEASUREMENTS = {
    "recipe": training.measure_recipe, "target": training.measure_target, "precision": training.measure_precision,
    "throughput": training.measure_throughput, "memory": footprint.measure_memory, "start": footprint.measure_start,
    "network": network.measure_network, "placement": measure_placement,
}
WITHOUT_TEXT = {"throughput", "memory", "start", "network"}


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tinyshakespeare", help="the text of char-rnn and nanoGPT, for what trains on it")
    parser.add_argument("--programs", default=os.path.join(HERE, "..", ".build", "release"))
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="these parts alone")
    parser.add_argument("--merge", metavar="FILE", help="a result file of this machine, whose other parts are kept")
    parser.add_argument("--allocator", default=training.ALLOCATORS[0], help="for the recipe")
    parser.add_argument("--seeds", type=int, default=3, help="of the recipe")
    parser.add_argument("--rounds", type=int, default=5, help="of all but the recipe")
    parser.add_argument("--steps", type=int, default=25, help="of a run of the throughput")
    parser.add_argument("--network-steps", type=int, default=10, help="of a run between network namespaces")
    parser.add_argument("--placement-steps", type=int, default=200, help="of a run of the placements")
    parser.add_argument("--probe-steps", type=int, default=15)
    parser.add_argument("--peer", nargs="+", metavar="ATTENTION,EXPERTS[,TYPE]",
                        help="transformers' settings, one in fp32 and one in bf16 or autocast, instead of choosing the fastest")
    parser.add_argument("--compile", action="store_true", help="try torch.compile, too (needs a C++ compiler)")
    parser.add_argument("--results", default=os.path.join(HERE, "results"))
    options = parser.parse_args()
    if min(options.steps, options.probe_steps, options.network_steps) <= training.WARM_UP_STEPS:
        parser.error(f"runs must have more than {training.WARM_UP_STEPS} steps")
    for path in filter(None, [options.tinyshakespeare, options.merge]):
        if not os.path.isfile(path):
            parser.error(f"there is no file {path}")
    return options


def measure(options):
    """Machine and cases; each case has the date, commit and load of its own start, for those of several runs can be merged,
    and the share of the cores that others took meanwhile."""
    facts = machine.facts("moe-worker with 2 ranks of 1 thread, peers with 2 threads")
    result = {"machine": facts, "cases": {}}
    say(", ".join(f"{name} {value}" for name, value in facts.items()) + "\n")
    if options.merge:
        with open(options.merge) as file:
            earlier = json.load(file)
        for fact in ["processor", "cores"]:
            if earlier["machine"][fact] != facts[fact]:
                raise Failed(f"{options.merge} was measured on another machine")
        result["cases"] = earlier["cases"]
    for name, measurement in MEASUREMENTS.items():
        if name not in options.only:
            continue
        if name not in WITHOUT_TEXT and not options.tinyshakespeare:
            say(f"{name}: skipped; it needs the text of char-rnn and nanoGPT: make bench TINYSHAKESPEARE=FILE\n")
            continue
        now, start, others = machine.facts(""), time.monotonic(), machine.others_seconds()
        with tempfile.TemporaryDirectory() as folder:
            values, found = measurement(options, folder)
        if values is None:
            continue
        share = (machine.others_seconds() - others) / (time.monotonic() - start) / facts["cores"]
        result["cases"][name] = {
            "measured": {fact: now[fact] for fact in ["date", "commit", "load"]} | {"others_share": share}} | values
        facts |= found
        say(f"meanwhile other programs took {100 * share:.1f} % of the cores" + (": measure again" if share > 0.03 else ""))
        say(", ".join(f"{fact} {value}" for fact, value in found.items()) + "\n")
    return result


def main():
    options = parse()
    machine.forget_settings()
    machine.adopt_orphans()
    result = measure(options)
    goals = [row for name in MEASUREMENTS for row in result["cases"].get(name, {}).get("goals", [])]
    goal_table(goals)
    os.makedirs(options.results, exist_ok=True)
    facts = result["machine"]
    stamp = "-".join([facts["date"].replace(":", "").replace("-", "")[:13], f"{facts['cores']}cores", facts["commit"]])
    path = os.path.join(options.results, stamp)
    with open(path + ".json", "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    plot.draw(goals, facts, path + ".png")
    say(f"wrote {os.path.relpath(path)}.json and .png")


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"bench: {error}")
