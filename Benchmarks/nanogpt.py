"""Trains a dense GPT as nanoGPT has it (learned positions, LayerNorm without biases, GELU, tied embeddings, no dropout) on the
batches of a case, and prints a JSON line.

Started by bench.py, one process a run.
"""

import argparse
import json
import math
import os
import time

import numpy
import torch
import torch.nn.functional as F
from torch import nn

import cases
import philox
from peer import batch, cross_entropy, make_optimizer, update, use_processor, validation_loss


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_output = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        sequences, length, width = x.shape
        query, key, value = (
            part.view(sequences, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.query_key_value(self.attention_norm(x)).split(width, dim=2))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention_output(attended.transpose(1, 2).reshape(sequences, length, width))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))


class GPT(nn.Module):
    def __init__(self, case):
        super().__init__()
        width = case.hidden_size
        self.tokens = nn.Embedding(case.vocab_size, width)
        self.positions = nn.Embedding(case.sequence_length, width)
        self.blocks = nn.ModuleList(Block(width, case.num_attention_heads) for _ in range(case.num_hidden_layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, case.vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                scaled = name.endswith(("attention_output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * case.num_hidden_layers) if scaled else 0.02)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True, help="a case as JSON")
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "autocast"], help="autocast: products in bf16")
    options = parser.parse_args()
    use_processor(options.threads)
    torch.manual_seed(options.seed)
    case = cases.Case(**json.loads(options.case))
    tokens = numpy.memmap(os.path.join(options.data, "train.bin"), dtype="<u2", mode="r")
    model = GPT(case)
    optimizer = make_optimizer(model, case)
    seconds, losses = [], []
    for step in range(case.steps):
        starts = philox.starts(options.seed, step, case.batch_size, len(tokens), case.sequence_length)
        start = time.perf_counter()
        inputs, targets = batch(tokens, starts, case.sequence_length)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "autocast"):
            logits = model(inputs)
        loss = cross_entropy(logits.float(), targets)
        loss.backward()
        update(model, optimizer, case, step)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    split = numpy.memmap(os.path.join(options.data, "val.bin"), dtype="<u2", mode="r")
    print(json.dumps({"step_seconds": seconds, "losses": losses, "validation_loss": validation_loss(model, case, split),
                      "versions": {"torch": torch.__version__, "numpy": numpy.__version__}}))


if __name__ == "__main__":
    main()
