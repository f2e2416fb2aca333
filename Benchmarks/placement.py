"""Expert placement under a router left alone: what each placement makes of skewed loads, from moe-worker's metrics."""

import dataclasses
import statistics

from contenders import Worker
from report import goal, ratio, spread

STATIC = ["tensor-parallel", "expert-parallel", "replicated"]
# Steps between two looks at the placement, and those before the first re-placements have settled.
INTERVAL = 10
FIRST_STEP = 30


@dataclasses.dataclass
class Figures:
    """Of one run. Seconds are medians a step, of the slowest rank, over steps from FIRST_STEP."""

    step_seconds: float
    moe_seconds: float
    total_seconds: float  # The whole run's steps added up.
    balance: float  # Mean over the intervals.
    worst_balance: float
    imbalance: float  # max / mean over ranks, mean over the intervals.
    interval_imbalances: list
    interval_moe_seconds: list
    switches: int
    switch_ratio: float | None  # The slowest step that applied a plan, in medians of the steps around it.


def contenders(programs, ranks, cores):
    """The placements, and the ideal: the same run with every expert getting the same number of tokens."""
    launcher = "mpirun --bind-to core" if ranks <= cores else "mpirun --oversubscribe --bind-to none"
    common = (("report-interval", INTERVAL),)
    balanced = common + (("dispatcher", "weighted"),)
    runs = {name: Worker(programs, name, ranks, flags=common, launcher=launcher) for name in STATIC}
    runs["load-balanced"] = Worker(programs, "load-balanced", ranks, flags=balanced, launcher=launcher)
    runs["ideal"] = dataclasses.replace(
        runs["load-balanced"], flags=balanced + (("benchmark-even-routing", None),))
    return runs


def expert_seconds(line, clock):
    """What each rank computed for experts."""
    return line["rank_cpu_seconds" if clock == "cpu" else "rank_expert_seconds"]


def interval_balance(lines, clock):
    """Mean over max of the ranks' seconds, layer by layer: layers run one after the other, so their slowest ranks add up.

    Seconds are realised ones: each rank's rows and neurons of each layer at its measured seconds, plus its rows at the
    exchange seconds a row of the rank that waits least (the others' hold waiting for it).
    """
    ranks = len(lines[0]["rank_expert_seconds"])
    layers = range(len(lines[0]["rank_work"]))
    work = [sum(line["rank_work"][layer][rank] for line in lines for layer in layers) for rank in range(ranks)]
    rows = [sum(line["rank_rows"][layer][rank] for line in lines for layer in layers) for rank in range(ranks)]
    computed = [sum(expert_seconds(line, clock)[rank] for line in lines) for rank in range(ranks)]
    exchanged = [sum(line["rank_exchange_seconds"][rank] for line in lines) for rank in range(ranks)]
    each_work = [seconds / amount if amount else 0 for seconds, amount in zip(computed, work)]
    each_row = min(seconds / amount for seconds, amount in zip(exchanged, rows) if amount)
    mean = longest = 0
    for line in lines:
        for layer in layers:
            seconds = [
                line["rank_work"][layer][rank] * each_work[rank] + line["rank_rows"][layer][rank] * each_row
                for rank in range(ranks)]
            mean += statistics.mean(seconds)
            longest += max(seconds)
    return mean / longest


def moe_seconds(line, clock):
    """Of the slowest rank. In wall-clock time waits make all ranks alike; CPU seconds count no waiting but exchange's."""
    experts = expert_seconds(line, clock)
    return max(experts) if clock == "cpu" else max(a + b for a, b in zip(experts, line["rank_exchange_seconds"]))


def figures(lines, clock):
    later = lines[FIRST_STEP:]
    intervals = [later[start:start + INTERVAL] for start in range(0, len(later) - INTERVAL + 1, INTERVAL)]
    balances = [interval_balance(interval, clock) for interval in intervals]
    imbalances = [1 / balance for balance in balances]
    revisions = [line["plan_revision"] for line in lines]
    switched = [index for index, line in enumerate(lines) if line.get("migration_bytes", 0) > 0]
    ratios = []
    for index in switched:
        around = [line["step_seconds"] for place, line in enumerate(lines)
                  if place not in switched and 0 < abs(place - index) <= INTERVAL]
        if around:
            ratios.append(lines[index]["step_seconds"] / statistics.median(around))
    return Figures(
        step_seconds=statistics.median(line["step_seconds"] for line in later),
        moe_seconds=statistics.median(moe_seconds(line, clock) for line in later),
        total_seconds=sum(line["step_seconds"] for line in lines[1:]),
        balance=statistics.mean(balances), worst_balance=min(balances), imbalance=statistics.mean(imbalances),
        interval_imbalances=imbalances,
        interval_moe_seconds=[statistics.median(moe_seconds(line, clock) for line in interval) for interval in intervals],
        switches=len(set(revisions)) - 1, switch_ratio=max(ratios, default=None))


def measure(case, folder, options, ranks, cores, say):
    """Runs every contender in turn, `options.rounds` times. Returns {name: [Figures]} and facts."""
    clock = "wall" if ranks <= cores else "cpu"
    results, facts = {}, {}
    for index in range(options.rounds):
        for name, worker in contenders(options.programs, ranks, cores).items():
            run = worker.run(case, folder, 1, False)
            facts |= run.facts
            result = figures(run.metrics, clock)
            results.setdefault(name, []).append(result)
            say(f"  round {index + 1}/{options.rounds}, {ranks} ranks, {name}: {1000 * result.step_seconds:.0f} ms a step, "
                f"MoE {1000 * result.moe_seconds:.0f} ms, balance {result.balance:.3f} (worst {result.worst_balance:.3f}), "
                f"{result.switches} re-placements"
                + (f", slowest switching step {result.switch_ratio:.2f} x" if result.switch_ratio else ""))
    return results, facts


def table(results):
    """Header and rows; ratios above 1 are faster than static expert parallelism."""
    def median(name, field):
        return statistics.median(getattr(result, field) for result in results[name])

    header = ["", "balance", "worst interval", "MoE ms", "MoE ratio", "step ms", "step ratio", "run s", "of ideal",
              "re-placements", "slowest switching step"]
    rows = []
    for name in results:
        slowest = [result.switch_ratio for result in results[name] if result.switch_ratio]
        rows.append([
            name, f"{median(name, 'balance'):.3f}", f"{min(r.worst_balance for r in results[name]):.3f}",
            f"{1000 * median(name, 'moe_seconds'):.0f}",
            f"{median('expert-parallel', 'moe_seconds') / median(name, 'moe_seconds'):.2f}",
            f"{1000 * median(name, 'step_seconds'):.0f}",
            f"{median('expert-parallel', 'step_seconds') / median(name, 'step_seconds'):.2f}",
            f"{median(name, 'total_seconds'):.1f}",
            f"{100 * median('ideal', 'total_seconds') / median(name, 'total_seconds'):.1f} %",
            f"{median(name, 'switches'):.0f}", f"{max(slowest):.2f} x" if slowest else "-"])
    return header, rows


def skewed_ratios(results):
    """Of the intervals in which static expert parallelism's max / mean is 1.4 or more: how many there are, and how much
    faster the MoE part is with load-balanced placement, the least of them and the median."""
    ratios = []
    for static, balanced in zip(results["expert-parallel"], results["load-balanced"]):
        for imbalance, before, after in zip(
                static.interval_imbalances, static.interval_moe_seconds, balanced.interval_moe_seconds):
            if imbalance >= 1.4:
                ratios.append(before / after)
    return len(ratios), min(ratios, default=None), statistics.median(ratios) if ratios else None


def goals(results, ranks, cores):
    """What load-balanced placement is held to; speeds where each rank has a core."""
    def each(name, field):
        return [getattr(result, field) for result in results[name]]

    at = f"placement on {ranks} ranks"
    worst = each("load-balanced", "worst_balance")
    rows = [
        goal(f"{at}: balance", spread(each("load-balanced", "balance")), 0.95),
        goal(f"{at}: balance, worst interval", spread(worst) | {"value": min(worst)}, 0.9)]
    if ranks <= cores:
        best = min(STATIC, key=lambda name: statistics.median(each(name, "step_seconds")))
        rows += [
            goal(f"{at}: step to the best static one's",
                 ratio(each("load-balanced", "step_seconds"), each(best, "step_seconds")), 1.03, at_most=True),
            goal(f"{at}: run to the ideal one", ratio(each("ideal", "total_seconds"), each("load-balanced", "total_seconds")),
                 0.95)]
        count, _, median = skewed_ratios(results)
        if count:
            rows.append(goal(f"{at}: MoE part where expert-parallel's max / mean is 1.4", spread([median]), 1.25))
    slowest = [times for times in each("load-balanced", "switch_ratio") if times]
    if slowest:
        rows.append(goal(f"{at}: slowest switching step", spread(slowest) | {"value": max(slowest)}, 2.0, at_most=True))
    return rows
