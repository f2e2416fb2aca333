"""Checks with Python's safetensors package a file that SafetensorsWriter wrote.

Run by hand: SAFETENSORS_TEST_OUTPUT=FILE swift test -c release --filter SafetensorsWriterTests; python3 check.py FILE
"""
import sys

import torch
from safetensors import safe_open

with safe_open(sys.argv[1], "pt") as file:
    assert file.metadata() == {"format": "pt"}, file.metadata()
    tensors = {name: file.get_tensor(name) for name in file.keys()}
assert list(sorted(tensors)) == ["a.matrix", "empty", 'quoted "é" \\ name', "vector"], sorted(tensors)
assert torch.equal(tensors["a.matrix"], torch.arange(15, dtype=torch.float32).reshape(3, 5) / 3)
assert torch.equal(tensors["vector"], torch.tensor([1.5, float("inf"), -0.0]))
assert tensors["empty"].shape == (0, 4)
assert torch.equal(tensors['quoted "é" \\ name'], torch.tensor([[0.25], [-0.5]]))
print(sys.argv[1], "is what SafetensorsWriterTests wrote")
