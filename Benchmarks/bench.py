"""Measures moe-worker beside transformers' Mixtral in PyTorch, in one go, and writes a table and a JSON file.

Runs are interleaved: each round runs every contender once, so that a machine that slows down slows down all of them.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import tempfile

import numpy

import cases
import contenders
import machine
import placement
from contenders import Failed, Transformers, Worker

HERE = os.path.dirname(os.path.abspath(__file__))
ALLOCATORS = ["tensor-parallel", "expert-parallel", "replicated"]
# The first steps allocate, compile and fill caches, for everyone.
WARM_UP_STEPS = 5


def say(text=""):
    print(text, flush=True)


def describe(values, digits):
    """Median, and the range when there are several."""
    text = f"{statistics.median(values):,.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def print_table(header, rows):
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        say("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
    say()


def gathered_bytes(case):
    """What batched_mm keeps for the backward pass: the weights of its expert for every routed row."""
    rows = case.batch_size * case.sequence_length * case.num_experts_per_tok
    return 4 * case.num_hidden_layers * rows * 3 * case.intermediate_size * case.hidden_size


def fastest_transformers(case, data, options, dtypes):
    """transformers at its fastest setting, found by a short run of each, and what each took."""
    short = dataclasses.replace(case, steps=options.probe_steps, warmup_steps=0)
    trials, milliseconds = [], {}
    for experts in ["eager", "batched_mm", "grouped_mm"]:
        if experts == "batched_mm" and gathered_bytes(case) > machine.memory_bytes() / 2:
            say(f"  {experts}: skipped, it would gather {gathered_bytes(case) / 1e9:.0f} GB of weights")
            continue
        trials += [Transformers(attention, experts, dtype=dtype) for attention in ["eager", "sdpa"] for dtype in dtypes]
    if options.compile:
        trials += [Transformers("sdpa", "grouped_mm", compiled=True, dtype=dtype) for dtype in dtypes]
    best = None
    for trial in trials:
        try:
            run = trial.run(short, data, 1, False)
        except Failed as error:
            say(f"  {trial.name}: fails ({str(error).strip().splitlines()[-1][:100]})")
            milliseconds[trial.name] = None
            continue
        milliseconds[trial.name] = 1000 * statistics.median(run.step_seconds[WARM_UP_STEPS:])
        say(f"  {trial.name}: {milliseconds[trial.name]:.1f} ms a step")
        if best is None or milliseconds[trial.name] < milliseconds[best.name]:
            best = trial
    return best, milliseconds


def choose_peer(case, data, options, dtypes=("fp32",)):
    """The peer, and what each of the settings took a step, in milliseconds."""
    if options.peer:
        return Transformers(*options.peer.split(","), dtype=dtypes[0]), {}
    say(f"{case.name}: choosing transformers' fastest setting, {' or '.join(dtypes)} ({options.probe_steps} steps each)")
    peer, milliseconds = fastest_transformers(case, data, options, dtypes)
    if peer is None:
        raise Failed("transformers runs at no setting")
    return peer, milliseconds


def measure_throughput(options, folder):
    """Tokens per second, medians over interleaved runs, beside transformers and beside the products of a step alone."""
    case = cases.throughput(options.steps)
    # Bytes without structure: what is in them does not change the work, and no text has to be at hand.
    tokens = numpy.random.default_rng(1).integers(0, case.vocab_size, 1 << 20)
    tokens.astype("<u2").tofile(os.path.join(folder, "train.bin"))
    probes, peers = {}, {}
    for dtype, settings in [("fp32", ("fp32",)), ("bf16", ("bf16", "autocast"))]:
        peers[dtype], milliseconds = choose_peer(case, folder, options, settings)
        probes |= milliseconds
    workers = [Worker(options.programs, allocator) for allocator in ALLOCATORS]
    workers += [
        Worker(options.programs, ALLOCATORS[0], flags=(("blas", "openblas"),)),
        Worker(options.programs, ALLOCATORS[0], flags=(("dtype", "bf16"),))]
    per_step = case.batch_size * case.sequence_length
    rates = {contender.name: [] for contender in [*workers, *peers.values()]}
    products, facts = [], {}
    for index in range(options.rounds):
        for contender in [*workers, *peers.values()]:
            try:
                run = contender.run(case, folder, 1, False)
            except Failed as error:
                if "--dtype bf16" not in str(error):
                    raise
                say(f"  {contender.name}: not on this machine")
                continue
            rates[contender.name].append(per_step / statistics.median(run.step_seconds[WARM_UP_STEPS:]))
            facts |= run.facts
            say(f"  round {index + 1}/{options.rounds}, {contender.name}: {rates[contender.name][-1]:,.0f} tokens/s")
        products.append(contenders.layers(options.programs, case))
    say()
    rates = {name: values for name, values in rates.items() if values}

    def peer(name):
        return peers["bf16" if "bf16" in name or "autocast" in name else "fp32"].name

    ratios = {name: statistics.median(values) / statistics.median(rates[peer(name)]) for name, values in rates.items()}
    alone = statistics.median(per_step / figures["step_products"] for figures in products)
    print_table(
        ["throughput", "tokens/s", "to transformers of its type", "to sgemm alone"],
        [[name, describe(values, 0), f"{ratios[name]:.2f}", f"{statistics.median(values) / alone:.2f}"]
         for name, values in rates.items()]
        + [["sgemm alone", describe([per_step / figures["step_products"] for figures in products], 0), "-", "1.00"]])
    return {"case": dataclasses.asdict(case), "tokens_per_second": rates, "peers": {k: v.name for k, v in peers.items()},
            "ratio": ratios, "products": products, "layer": layer_table(products), "probe_milliseconds": probes}, facts


def layer_table(products):
    """A layer of experts beside its products, and its exchanges beside MPI_Alltoallv; medians over the rounds."""
    pairs = {"MoE layer, forward and backward, to its products alone": ("layer_products", "layer"),
             "dispatch and combine to MPI_Alltoallv of the same bytes": ("alltoallv", "exchange")}
    rows, values = [], {}
    for name, (base, measured) in pairs.items():
        speeds = [figures[base] / figures[measured] for figures in products]
        values[name] = speeds
        rows.append([name, describe([1000 * figures[measured] for figures in products], 2),
                     describe([1000 * figures[base] for figures in products], 2), describe(speeds, 2)])
    print_table(["layer", "ms", "alone, ms", "speed"], rows)
    return values


def write_characters(path, folder):
    """A token for each character, the last tenth for validation, as nanoGPT does. Returns the vocabulary's size."""
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    characters = sorted(set(text))
    index = {character: token for token, character in enumerate(characters)}
    tokens = numpy.array([index[character] for character in text], dtype="<u2")
    training = int(len(tokens) * 0.9)
    tokens[:training].tofile(os.path.join(folder, "train.bin"))
    tokens[training:].tofile(os.path.join(folder, "val.bin"))
    return len(characters)


def measure_recipe(options, folder):
    """Validation loss and seconds of training, over the seeds."""
    case = cases.recipe(write_characters(options.tinyshakespeare, folder))
    peer, probes = choose_peer(case, folder, options)
    runners = [Worker(options.programs, options.allocator), peer]
    losses = {contender.name: [] for contender in runners}
    seconds = {contender.name: [] for contender in runners}
    facts, products = {}, []
    for seed in range(1, options.seeds + 1):
        for contender in runners:
            run = contender.run(case, folder, seed, True)
            losses[contender.name].append(run.validation_loss)
            seconds[contender.name].append(sum(run.step_seconds))
            facts |= run.facts
            say(f"  seed {seed}, {contender.name}: validation {run.validation_loss:.4f}, "
                f"{seconds[contender.name][-1]:.1f} s for {case.steps:,} steps")
        products.append(contenders.layers(options.programs, case))
    say()
    base = statistics.median(seconds[peer.name])
    alone = case.steps * statistics.median(figures["step_products"] for figures in products)
    print_table(
        ["recipe", "validation loss, mean", "each seed", f"seconds for {case.steps:,} steps", "ratio", "to sgemm alone"],
        [[name, f"{statistics.mean(losses[name]):.4f}", ", ".join(f"{loss:.4f}" for loss in losses[name]),
          describe(values, 1), f"{base / statistics.median(values):.2f}", f"{alone / statistics.median(values):.2f}"]
         for name, values in seconds.items()])
    return {"case": dataclasses.asdict(case), "validation_loss": losses, "seconds": seconds, "peer": peer.name,
            "ratio": {name: base / statistics.median(values) for name, values in seconds.items()},
            "products": products, "probe_milliseconds": probes}, facts


def measure_placement(options, folder):
    """Balance and speed of the placements when the router is left alone, on two ranks and on four."""
    case = cases.placement(write_characters(options.tinyshakespeare, folder), options.placement_steps)
    cores, facts, values = len(os.sched_getaffinity(0)), {}, {}
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
    return {"case": dataclasses.asdict(case), "ranks": values}, facts


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tinyshakespeare", help="the text of char-rnn and nanoGPT, for the recipe")
    parser.add_argument("--programs", default=os.path.join(HERE, "..", ".build", "release"))
    parser.add_argument("--only", choices=["recipe", "throughput", "placement"])
    parser.add_argument("--allocator", default=ALLOCATORS[0], help="for the recipe")
    parser.add_argument("--seeds", type=int, default=3, help="of the recipe")
    parser.add_argument("--rounds", type=int, default=5, help="of the throughput and the placements")
    parser.add_argument("--steps", type=int, default=25, help="of a run of the throughput")
    parser.add_argument("--placement-steps", type=int, default=200, help="of a run of the placements")
    parser.add_argument("--probe-steps", type=int, default=15)
    parser.add_argument("--peer", help="transformers' setting, as ATTENTION,EXPERTS, instead of choosing the fastest")
    parser.add_argument("--compile", action="store_true", help="try torch.compile, too (needs a C++ compiler)")
    parser.add_argument("--results", default=os.path.join(HERE, "results"))
    options = parser.parse_args()
    if min(options.steps, options.probe_steps) <= WARM_UP_STEPS:
        parser.error(f"runs must have more than {WARM_UP_STEPS} steps")
    if options.tinyshakespeare and not os.path.isfile(options.tinyshakespeare):
        parser.error(f"there is no file {options.tinyshakespeare}")
    return options


def main():
    options = parse()
    result = {"machine": machine.facts("moe-worker with 2 ranks of 1 thread, transformers with 2 threads"), "cases": {}}
    say(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    say()
    measurements = {"recipe": measure_recipe, "throughput": measure_throughput, "placement": measure_placement}
    for name, measure in measurements.items():
        if options.only not in (None, name):
            continue
        if name != "throughput" and not options.tinyshakespeare:
            say(f"{name}: skipped; it needs the text of char-rnn and nanoGPT: make bench TINYSHAKESPEARE=FILE\n")
            continue
        with tempfile.TemporaryDirectory() as folder:
            result["cases"][name], facts = measure(options, folder)
        result["machine"] |= facts
        say(", ".join(f"{fact} {value}" for fact, value in facts.items()) + "\n")
    os.makedirs(options.results, exist_ok=True)
    facts = result["machine"]
    stamp = "-".join([facts["date"].replace(":", "").replace("-", "")[:13], f"{facts['cores']}cores", facts["commit"]])
    path = os.path.join(options.results, stamp + ".json")
    with open(path, "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    say(f"wrote {os.path.relpath(path)}")


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"bench: {error}")
