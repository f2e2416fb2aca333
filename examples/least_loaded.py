#!/usr/bin/env python3
"""A placement policy for `--allocator exec:ALIAS`: each expert whole on the rank with the least to do.

The coordinator's configuration file names it:

    allocators:
      least-loaded: {command: [python3, examples/least_loaded.py], time_limit_seconds: 5}

It reads a request (schemas/exec_request.json) and writes an answer (schemas/exec_answer.json). What it writes to standard
error is shown when it fails.
"""
import json
import sys


def place(loads, ranks):
    """The rank of each expert: the busiest experts first, each to the rank that has the fewest rows so far."""
    rows = [0.0] * ranks
    homes = [0] * len(loads)
    for expert in sorted(range(len(loads)), key=lambda expert: (-loads[expert], expert)):
        homes[expert] = min(range(ranks), key=lambda rank: (rows[rank], rank))
        rows[homes[expert]] += loads[expert]
    return homes, max(rows)


def busiest(experts, loads, ranks):
    """Rows of the busiest rank in the plan in force. Shards of an expert compute all its rows, on part of its neurons."""
    rows = [0.0] * ranks
    for expert, load in zip(experts, loads):
        mesh = expert["mesh"]
        for rank in mesh["ranks"]:
            rows[rank] += load / len(mesh["ranks"])
    return max(rows)


def main():
    request = json.load(sys.stdin)
    ranks = request["cluster"]["world_size"]
    layers = []
    for layer, loads in zip(request["plan"]["layers"], request.get("loads", [])):
        homes, rows = place(loads, ranks)
        experts = layer["experts"]
        # Moving is not free: a layer that would hardly gain stays as it is.
        if rows < 0.95 * busiest(experts, loads, ranks):
            experts = [
                {"width": expert["width"], "mesh": {"data_parallel": 1, "tensor_parallel": 1, "ranks": [home]}}
                for expert, home in zip(experts, homes)
            ]
        layers.append({"experts": experts})
    json.dump({"layers": layers or None}, sys.stdout)


if __name__ == "__main__":
    main()
