"""Draws what was measured beside the goals."""

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 (after the choice of what draws)

MET, SHORT = "#2a7f62", "#c8553d"


def draw(goals, facts, path):
    """A bar for each row of the table of goals, its range over the rounds, and a mark at its goal."""
    figure, axes = pyplot.subplots(figsize=(10, 1.3 + 0.42 * len(goals)), layout="constrained")
    for place, row in enumerate(goals):
        axes.barh(place, row["value"], height=0.6, color=SHORT if row["short"] else MET)
        axes.plot([row["low"], row["high"]], [place, place], color="black", linewidth=1)
        axes.plot([row["goal"]] * 2, [place - 0.42, place + 0.42], color="black", linewidth=2.5)
        text = f"{row['value']:.3f}, goal {'≤' if row['at_most'] else '≥'} {row['goal']:g}"
        axes.annotate(text, (max(row["high"], row["goal"]), place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(goals)), [row["name"] for row in goals])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max([1.0, *(max(row["high"], row["goal"]) for row in goals)]))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("ratio; green: goal met, red: short of it; thick line: goal, thin line: range")
    axes.set_title(
        f"moe-worker beside its peers: {facts['processor']}, {facts['cores']} cores, {facts['date'][:10]}, {facts['commit']}",
        fontsize=10, loc="left")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
