"""Speed and losses of training: moe-worker beside transformers' Mixtral, and beside a dense GPT as nanoGPT has it."""

import dataclasses
import math
import os
import statistics

import numpy

import cases
import contenders
import machine
from contenders import Failed, NanoGPT, Transformers, Worker
from report import describe, describe_ratio, goal, phase_table, phases, print_table, ratio, say, spread

ALLOCATORS = ["tensor-parallel", "expert-parallel", "replicated"]
# The first steps allocate, compile and fill caches, for everyone.
WARM_UP_STEPS = 5


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
    """The peer, and what each of the settings took a step, in milliseconds. Settings that were named are not tried."""
    if options.peer:
        named = [Transformers(*setting[:2], dtype=setting[2] if len(setting) > 2 else "fp32")
                 for setting in (text.split(",") for text in options.peer)]
        return next((peer for peer in named if peer.dtype in dtypes), dataclasses.replace(named[0], dtype=dtypes[0])), {}
    say(f"{case.name}: choosing transformers' fastest setting, {' or '.join(dtypes)} ({options.probe_steps} steps each)")
    peer, milliseconds = fastest_transformers(case, data, options, dtypes)
    if peer is None:
        raise Failed("transformers runs at no setting")
    return peer, milliseconds


def write_random_tokens(folder, vocab_size, count=1 << 20):
    """Bytes without structure: what is in them does not change the work, and no text has to be at hand."""
    tokens = numpy.random.default_rng(1).integers(0, vocab_size, count)
    tokens.astype("<u2").tofile(os.path.join(folder, "train.bin"))


def measure_throughput(options, folder):
    """Tokens per second, medians over interleaved runs, beside transformers and beside the products of a step alone."""
    case = cases.throughput(options.steps)
    write_random_tokens(folder, case.vocab_size)
    probes, peers = {}, {}
    has_bf16 = trains_in_bf16(options, case, folder)
    for dtype, settings in [("fp32", ("fp32",))] + [("bf16", ("bf16", "autocast"))] * has_bf16:
        peers[dtype], milliseconds = choose_peer(case, folder, options, settings)
        probes |= milliseconds
    workers = [Worker(options.programs, allocator) for allocator in ALLOCATORS]
    workers += [
        Worker(options.programs, ALLOCATORS[0], flags=(("blas", "openblas"),)),
        *[Worker(options.programs, ALLOCATORS[0], flags=(("dtype", "bf16"),))] * has_bf16]
    exact, rounded = workers[0].name, workers[-1].name if has_bf16 else None
    per_step = case.batch_size * case.sequence_length
    rates = {contender.name: [] for contender in [*workers, *peers.values()]}
    runs = {name: [] for name in [exact, rounded] if name}
    products, fine_grained, facts = [], [], {}
    for index in range(options.rounds):
        for contender in [*workers, *peers.values()]:
            run = contender.run(case, folder, 1, False)
            rates[contender.name].append(per_step / statistics.median(run.step_seconds[WARM_UP_STEPS:]))
            runs.get(contender.name, []).append(run)
            facts |= run.facts
            say(f"  round {index + 1}/{options.rounds}, {contender.name}: {rates[contender.name][-1]:,.0f} tokens/s")
        products.append(contenders.layers(options.programs, case))
        fine_grained.append(contenders.layers(options.programs, cases.fine_grained()))
    say()
    alone = [per_step / figures["step_products"] for figures in products]

    def peer(name):
        return peers["bf16" if "bf16" in name or "autocast" in name else "fp32"].name

    ratios = {name: ratio(values, rates[peer(name)]) for name, values in rates.items()}
    to_products = {name: ratio(values, alone) for name, values in rates.items()}
    print_table(
        ["throughput", "tokens/s", "to transformers of its type", "to sgemm alone"],
        [[name, describe(values, 0), describe_ratio(ratios[name]), describe_ratio(to_products[name])]
         for name, values in rates.items()]
        + [["sgemm alone", describe(alone, 0), "-", "1.00"]])
    layer, exchange, between = layer_table(products)
    fine_grained_layer, _, _ = layer_table(fine_grained, "fine-grained layer")
    profiles = {name: phases(done, WARM_UP_STEPS) for name, done in runs.items()}
    phase_table("throughput's model", profiles)
    goals = [goal("throughput in fp32 to transformers", ratios[exact], 2.0)]
    if rounded:
        goals.append(goal("throughput in bf16 to transformers in it", ratios[rounded], 1.5))
    goals += [
        goal("throughput in fp32 to its products by sgemm", to_products[exact], 0.75),
        goal("MoE layer to its products by sgemm", layer, 0.85),
        goal("fine-grained MoE layer to its products by sgemm", fine_grained_layer, 0.85),
        goal("exchange to MPI_Alltoallv", exchange, 0.8),
        goal("exchange to MPI_Alltoallv with the products between", between, 0.8)]
    return {"case": dataclasses.asdict(case), "tokens_per_second": rates, "peers": {k: v.name for k, v in peers.items()},
            "ratio": ratios, "products": products, "fine_grained_products": fine_grained, "probe_milliseconds": probes,
            "phase_milliseconds": profiles, "goals": goals}, facts


def layer_table(products, what="layer"):
    """A layer of experts and attention beside their products, and exchanges beside MPI_Alltoallv: from cache to cache, and where it waits
    for the other rank's products, too. Returns the ratios of the speeds of layer and exchange, which have goals."""
    pairs = {"MoE layer, forward and backward, to its products alone": ("layer_products", "layer"),
             "dispatch and combine to MPI_Alltoallv of the same bytes": ("alltoallv", "exchange"),
             "the same to them with the layer's products between": ("alltoallv_between_products", "exchange"),
             "attention, forward and backward, to its products alone": ("attention_products", "attention")}
    rows, ratios = [], []
    for name, columns in pairs.items():
        alone, measured = ([1000 * figures[column] for figures in products] for column in columns)
        ratios.append(ratio(alone, measured))
        rows.append([name, describe(measured, 2), describe(alone, 2), describe_ratio(ratios[-1])])
    print_table([what, "ms", "alone, ms", "speed"], rows)
    return ratios[:3]


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


def types(options):
    """Us, in fp32 and in bf16."""
    return [Worker(options.programs, options.allocator, flags=(("dtype", dtype),)) for dtype in ["fp32", "bf16"]]


def trains_in_bf16(options, case, folder):
    """Whether moe-worker trains in bf16 here. If not, its peers, slow without such instructions, are left out too."""
    try:
        types(options)[1].run(dataclasses.replace(case, steps=1, warmup_steps=0), folder, 1, False)
    except Failed as error:
        refusal = next((line for line in str(error).splitlines() if "use --dtype fp32" in line), None)
        if refusal is None:
            raise
        say(f"{case.name}: in fp32 alone. {refusal}")
        return False
    return True


def measure_recipe(options, folder):
    """Validation loss and seconds of training, over the seeds; in bf16 beside the peer's fastest type."""
    case = cases.recipe(write_characters(options.tinyshakespeare, folder))
    peer, probes = choose_peer(case, folder, options)
    exact, rounded = types(options)
    workers, peers = [exact], [peer]
    if trains_in_bf16(options, case, folder):
        other, more = choose_peer(case, folder, options, ("bf16", "autocast"))
        probes |= more
        workers, peers = [exact, rounded], [peer, other]
    entrants = [*workers, *peers]
    losses, seconds = ({contender.name: [] for contender in entrants} for _ in range(2))
    facts, products, runs = {}, [], {worker.name: [] for worker in workers}
    for seed in range(1, options.seeds + 1):
        for contender in entrants:
            run = contender.run(case, folder, seed, True)
            losses[contender.name].append(run.validation_loss)
            seconds[contender.name].append(sum(run.step_seconds))
            if contender.name in runs:
                runs[contender.name].append(run)
            facts |= run.facts
            say(f"  seed {seed}, {contender.name}: validation {run.validation_loss:.4f}, "
                f"{seconds[contender.name][-1]:.1f} s for {case.steps:,} steps")
        products.append(contenders.layers(options.programs, case))
    say()
    alone = [case.steps * figures["step_products"] for figures in products]
    fastest = min(peers, key=lambda contender: statistics.median(seconds[contender.name]))
    ratios = {name: ratio(seconds[(fastest if name == rounded.name else peer).name], values)
              for name, values in seconds.items()}
    to_products = {name: ratio(alone, values) for name, values in seconds.items()}
    print_table(
        ["recipe", "validation loss, mean", "each seed", f"seconds for {case.steps:,} steps", "ratio", "to sgemm alone"],
        [[name, f"{statistics.mean(losses[name]):.4f}", ", ".join(f"{loss:.4f}" for loss in losses[name]),
          describe(values, 1), describe_ratio(ratios[name]), describe_ratio(to_products[name])]
         for name, values in seconds.items()])
    profiles = {name: phases(done, WARM_UP_STEPS) for name, done in runs.items()}
    phase_table("recipe", profiles)
    goals = [goal("recipe in fp32 to transformers", ratios[exact.name], 2.5),
             goal("recipe in fp32 to its products by sgemm", to_products[exact.name], 0.55)]
    if rounded.name in ratios:
        goals.insert(1, goal("recipe in bf16 to transformers in its fastest type", ratios[rounded.name], 2.5))
    return {"case": dataclasses.asdict(case), "validation_loss": losses, "seconds": seconds,
            "peers": {worker.name: rival.name for worker, rival in zip(workers, [peer, fastest])}, "ratio": ratios,
            "products": products,
            "probe_milliseconds": probes, "phase_milliseconds": profiles, "goals": goals}, facts


def measure_target(options, folder):
    """Seconds to the validation loss that nanoGPT's dense model ends its recipe with. Validations do not count. In bf16 beside the
    peer's faster type."""
    case = cases.recipe(write_characters(options.tinyshakespeare, folder))
    interval = 20  # Of some 800 steps; 50 would be 6 %.
    dtypes = ["fp32"] + ["bf16"] * trains_in_bf16(options, case, folder)
    peers = [NanoGPT(), *[NanoGPT(dtype="autocast")] * (len(dtypes) - 1)]
    dense, runs, facts = {peer.name: [] for peer in peers}, {dtype: [] for dtype in dtypes}, {}
    for seed in range(1, options.seeds + 1):
        for peer in peers:
            run = peer.run(case, folder, seed, True)
            facts |= run.facts
            dense[peer.name].append(run)
            say(f"  seed {seed}, {peer.name}: validation {run.validation_loss:.4f}, {sum(run.step_seconds):.1f} s")
        for dtype, done in runs.items():
            worker = Worker(
                options.programs, options.allocator, flags=(("evaluation-interval", interval), ("dtype", dtype)))
            run = worker.run(case, folder, seed, True)
            facts |= run.facts
            done.append(run)
            say(f"  seed {seed}, {worker.name}: to {cases.NANOGPT_LOSS} in {to_target(run)[1]:.1f} s")
    say()
    dense_seconds = {name: [sum(run.step_seconds) for run in done] for name, done in dense.items()}
    fastest = min(dense_seconds, key=lambda name: statistics.median(dense_seconds[name]))
    reached = {dtype: [to_target(run) for run in done] for dtype, done in runs.items()}
    rivals = dict(zip(dtypes, [peers[0].name, fastest]))
    figures = {dtype: ratio(dense_seconds[rivals[dtype]], [seconds for _, seconds in values])
               for dtype, values in reached.items()}
    print_table(
        ["target", f"seconds for {case.steps:,} steps", "validation loss, each seed"],
        [[name, describe(dense_seconds[name], 1), ", ".join(f"{run.validation_loss:.4f}" for run in done)]
         for name, done in dense.items()])
    print_table(
        ["moe-worker", f"steps to {cases.NANOGPT_LOSS}, each seed", "seconds", "to", "ratio"],
        [[dtype, ", ".join(f"{steps:,}" for steps, _ in values), describe([seconds for _, seconds in values], 1),
          rivals[dtype], describe_ratio(figures[dtype])] for dtype, values in reached.items()])
    profiles = {f"moe-worker, {options.allocator}, {dtype}": phases(done, WARM_UP_STEPS) for dtype, done in runs.items()}
    phase_table("recipe", profiles)
    return {"case": dataclasses.asdict(case), "interval": interval, "target": cases.NANOGPT_LOSS,
            "peer_seconds": dense_seconds,
            "peer_validation_loss": {name: [run.validation_loss for run in done] for name, done in dense.items()},
            "reached": {dtype: [{"steps": steps, "seconds": seconds} for steps, seconds in values]
                        for dtype, values in reached.items()},
            "validation_losses": {dtype: [[line["validation_loss"] for line in run.metrics if "validation_loss" in line]
                                          for run in done] for dtype, done in runs.items()},
            "peers": rivals, "ratio": figures, "phase_milliseconds": profiles,
            "goals": [goal(f"recipe in {dtype} to nanoGPT's loss, to nanoGPT{' in its faster type' * (dtype == 'bf16')}",
                           figure, 3.0) for dtype, figure in figures.items()]}, facts


def to_target(run):
    """Steps and seconds until a run has the loss that nanoGPT's model ends with."""
    steps = next((line["step"] for line in run.metrics
                  if line.get("validation_loss", math.inf) <= cases.NANOGPT_LOSS), None)
    if steps is None:
        raise Failed(f"moe-worker does not reach {cases.NANOGPT_LOSS} in {len(run.metrics):,} steps")
    return steps, sum(run.step_seconds[:steps])


def measure_precision(options, folder):
    """Losses in bf16 beside those in fp32, on the recipe's data; means of 50 steps, for a step's loss is that of its batch."""
    steps, window = 500, 50
    case = dataclasses.replace(
        cases.recipe(write_characters(options.tinyshakespeare, folder)), name="precision", steps=steps)
    if not trains_in_bf16(options, case, folder):
        return None, {}
    workers = types(options)
    losses, validations, facts = {}, {}, {}
    for seed in range(1, options.seeds + 1):
        for worker in workers:
            run = worker.run(case, folder, seed, True)
            facts |= run.facts
            means = [statistics.mean(run.losses[start:start + window]) for start in range(0, steps, window)]
            losses.setdefault(worker.name, []).append(means)
            validations.setdefault(worker.name, []).append(run.validation_loss)
    exact, rounded = (sum(losses[worker.name], []) for worker in workers)
    farthest = spread([1 + abs(b / a - 1) for a, b in zip(exact, rounded)])
    farthest["value"] = farthest["high"]
    print_table(
        ["recipe", f"loss, mean of {steps} steps", f"last {window}", "validation loss, mean", "each seed"],
        [[name, f"{statistics.mean(statistics.mean(means) for means in rows):.4f}",
          f"{statistics.mean(means[-1] for means in rows):.4f}", f"{statistics.mean(validations[name]):.4f}",
          ", ".join(f"{loss:.4f}" for loss in validations[name])] for name, rows in losses.items()])
    return {"case": dataclasses.asdict(case), "window": window, "losses": losses, "validation_loss": validations,
            "goals": [goal(f"loss in bf16 to fp32, farthest of {window} steps", farthest, 1.01, at_most=True)]}, facts
