#!/usr/bin/env python3
"""Writes eplb-cases.json: what DeepSeek's own EPLB decides on seeded random loads, with many ties.

    python make_eplb_cases.py PATH/TO/eplb.py > eplb-cases.json

PyTorch's vectorised sort on AVX-512 processors leaves the order of equal loads open, so the same program decides
differently on different machines. Here its sort is asked to be stable, as it is elsewhere; nothing else is changed.
"""
import importlib.util
import json
import random
import sys

import torch

spec = importlib.util.spec_from_file_location("eplb", sys.argv[1])
eplb = importlib.util.module_from_spec(spec)
spec.loader.exec_module(eplb)

unstable = torch.Tensor.sort
torch.Tensor.sort = lambda tensor, dim, descending: unstable(tensor, dim=dim, descending=descending, stable=True)

random.seed(20260)
shapes = [  # experts, replicas, groups, nodes, ranks
    (12, 16, 4, 2, 8), (12, 16, 3, 2, 8), (8, 8, 1, 1, 8), (8, 8, 2, 2, 4), (32, 64, 1, 1, 16), (32, 64, 8, 4, 16),
    (64, 72, 8, 4, 24), (64, 96, 6, 4, 32), (256, 288, 8, 4, 32), (16, 64, 4, 2, 16), (6, 6, 1, 1, 2), (4, 8, 4, 2, 2),
]
cases = []
for experts, replicas, groups, nodes, ranks in shapes:
    if experts % groups:
        groups = 1
    for kind in ("uniform", "ties", "skewed", "idle", "equal"):
        loads = {
            "uniform": lambda: random.randrange(1000),
            "ties": lambda: random.randrange(4),
            "skewed": lambda: int(1000 * random.random() ** 8),
            "idle": lambda: random.choice((0, 0, 0, 700)),
            "equal": lambda: 5,
        }[kind]
        loads = [loads() for _ in range(experts)]
        slots, _, counts = eplb.rebalance_experts(torch.tensor([loads]), replicas, groups, nodes, ranks)
        cases.append({"loads": loads, "replicas": replicas, "groups": groups, "nodes": nodes, "ranks": ranks,
                      "experts": slots[0].tolist(), "counts": counts[0].tolist()})
print("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]")
