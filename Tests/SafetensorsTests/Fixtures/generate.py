"""Writes mixed.safetensors beside this file with Python's safetensors package, for the reader's tests.

Run by hand, in this folder: python3 generate.py    (needs torch and safetensors)
"""
import pathlib

import torch
from safetensors.torch import save_file

# Multiples of 1/8 up to 16, so that bf16 and fp16 hold them exactly.
matrix = torch.arange(5 * 7, dtype=torch.float32).reshape(5, 7) / 8 - 2
tensors = {
    "float32": matrix,
    "bfloat16": matrix.to(torch.bfloat16),
    "float16": matrix.to(torch.float16),
    "int64": torch.arange(3),
    "boolean": torch.tensor([True, False, True]),
    "cube": (torch.arange(24, dtype=torch.float32) / 8).reshape(2, 3, 4),
    "scalar": torch.tensor(1.5),
    "empty": torch.zeros(0, 4),
    'quoted "é" \\ name': torch.tensor([0.25, -0.5]),
}
save_file(tensors, pathlib.Path(__file__).parent / "mixed.safetensors", metadata={"format": "pt", "made by": "Python"})
