"""What measurements print and hand on: tables, ratios, and goals."""

import statistics


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


def ratio(over, under):
    """Of the medians, and its spread: the least and the largest of the rounds, whose runs are pairs."""
    rounds = [a / b for a, b in zip(over, under)]
    return {"value": statistics.median(over) / statistics.median(under), "low": min(rounds), "high": max(rounds)}


def spread(values):
    return {"value": statistics.median(values), "low": min(values), "high": max(values)}


def describe_ratio(figure, digits=2):
    text = f"{figure['value']:.{digits}f}"
    return text if figure["low"] == figure["high"] else f"{text} ({figure['low']:.{digits}f} to {figure['high']:.{digits}f})"


def goal(name, figure, goal, at_most=False):
    """A row of the table of goals."""
    short = figure["value"] / goal - 1 if at_most else 1 - figure["value"] / goal
    return {"name": name, **figure, "goal": goal, "at_most": at_most, "short": max(short, 0)}


def goal_table(goals):
    print_table(
        ["goal", "measured", "goal", ""],
        [[row["name"], describe_ratio(row, 3), f"{'at most' if row['at_most'] else 'at least'} {row['goal']:g}",
          f"short by {100 * row['short']:.1f} %" if row["short"] else "met"] for row in goals])


def phases(runs, first):
    """Milliseconds of moe-worker's step and of its phases on rank 0: medians over the steps from `first` on. "rest" is the
    embedding, the last norm, the head, the loss, and what rank 0 was ahead of the slowest."""
    lines = [line for run in runs for line in run.metrics[first:]]
    names = list(dict.fromkeys(name for line in lines for name in line["phase_seconds"]))
    seconds = {name: statistics.median(line["phase_seconds"].get(name, 0) for line in lines) for name in names}
    step = statistics.median(line["step_seconds"] for line in lines)
    seconds["rest"] = step - sum(seconds.values())
    return {name: 1000 * value for name, value in sorted(seconds.items(), key=lambda item: -item[1])} | {"step": 1000 * step}


def phase_table(name, profiles):
    """`profiles`: {contender: phases}."""
    contenders = list(profiles)
    header = [f"a step of the {name} by phase"]
    for contender in contenders:
        header += [f"{contender}, ms", "share"]
    rows = []
    for phase in profiles[contenders[0]]:
        row = [phase]
        for profile in profiles.values():
            row += [f"{profile[phase]:.2f}", f"{100 * profile[phase] / profile['step']:.1f} %"]
        rows.append(row)
    print_table(header, rows)
