"""What a run takes beside the time of its steps: memory with long sequences, and seconds until the first step."""

import dataclasses
import os
import statistics

import cases
import contenders
from contenders import Transformers, Worker
from report import describe, describe_ratio, goal, print_table, ratio, say
from training import ALLOCATORS, write_random_tokens


def measure_memory(options, folder):
    """The most memory that a rank had, with long sequences and with short ones, at as many tokens a step."""
    lengths, tokens = [512, 4096], 8192
    case = dataclasses.replace(cases.throughput(3), name="memory", max_position_embeddings=max(lengths))
    write_random_tokens(folder, case.vocab_size)
    runners = [Worker(options.programs, ALLOCATORS[0]), Transformers("sdpa", "grouped_mm")]
    peaks, facts = {contender.name: {length: [] for length in lengths} for contender in runners}, {}
    for _ in range(options.rounds):
        for contender in runners:
            for length in lengths:
                run = contender.run(
                    dataclasses.replace(case, batch_size=tokens // length, sequence_length=length), folder, 1, False)
                facts |= run.facts
                peaks[contender.name][length].append(run.peak_bytes)
    ratios = {name: ratio(by_length[lengths[1]], by_length[lengths[0]]) for name, by_length in peaks.items()}
    print_table(
        [f"memory of a process, {tokens:,} tokens a step", *(f"T = {length:,}, MB" for length in lengths), "ratio"],
        [[name, *(describe([size / 1e6 for size in sizes], 0) for sizes in by_length.values()), describe_ratio(ratios[name])]
         for name, by_length in peaks.items()])
    return {"case": dataclasses.asdict(case), "tokens": tokens, "peak_bytes": peaks, "ratio": ratios,
            "goals": [goal(f"memory at T = {lengths[1]:,} to {lengths[0]:,}", ratios[runners[0].name], 1.2, at_most=True)]
            }, facts


def measure_start(options, folder):
    """Seconds of a whole process, imports and all, that loads a checkpoint of 256 MB and does one step."""
    case = dataclasses.replace(
        cases.throughput(1), name="start", hidden_size=512, intermediate_size=1024, num_hidden_layers=5, batch_size=2,
        sequence_length=64)
    write_random_tokens(folder, case.vocab_size)
    model = contenders.write_checkpoint(options.programs, case, folder, folder)
    size = sum(entry.stat().st_size for entry in os.scandir(model) if entry.name.startswith("model"))
    worker = Worker(options.programs, ALLOCATORS[0], model=model)
    # batched_mm gathers 8 GB of weights for these few tokens, and takes a minute.
    peers = [Transformers("sdpa", experts, model=model) for experts in ["eager", "grouped_mm"]]
    seconds, facts = {contender.name: [] for contender in [worker, *peers]}, {}
    for index in range(options.rounds):
        for contender in [worker, *peers]:
            run = contender.run(case, folder, 1, False)
            facts |= run.facts
            seconds[contender.name].append(run.seconds)
            say(f"  round {index + 1}/{options.rounds}, {contender.name}: {run.seconds:.2f} s")
    say()
    fastest = min((peer.name for peer in peers), key=lambda name: statistics.median(seconds[name]))
    ratios = {name: ratio(seconds[fastest], values) for name, values in seconds.items()}
    print_table(
        [f"start and one step, {size / 1e6:.0f} MB", "seconds", "ratio"],
        [[name, describe(values, 2), describe_ratio(ratios[name])] for name, values in seconds.items()])
    return {"case": dataclasses.asdict(case), "checkpoint_bytes": size, "seconds": seconds, "ratio": ratios,
            "goals": [goal("start and one step to transformers", ratios[worker.name], 1.0)]}, facts
