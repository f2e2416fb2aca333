"""Trains transformers' Mixtral in PyTorch on the batches that moe-worker would train on, and prints a JSON line.

Started by bench.py, one process a run, so that threads and settings are its own.
"""

import argparse
import json
import os
import time

import numpy
import torch
import torch.nn.functional as F
import transformers

import cases
import philox


def batch(tokens, starts, length):
    inputs = numpy.stack([tokens[start:start + length] for start in starts])
    targets = numpy.stack([tokens[start + 1:start + length + 1] for start in starts])
    return torch.from_numpy(inputs.astype(numpy.int64)), torch.from_numpy(targets.astype(numpy.int64))


def cross_entropy(logits, targets, **options):
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), **options)


def validation_loss(logits, case, tokens):
    """Over the whole split, read in order; `logits` makes them of tokens."""
    length = case.sequence_length
    sequences = (len(tokens) - 1) // length
    total = 0.0
    with torch.no_grad():
        for first in range(0, sequences, case.batch_size):
            indices = range(first, min(first + case.batch_size, sequences))
            inputs, targets = batch(tokens, [index * length for index in indices], length)
            total += cross_entropy(logits(inputs), targets, reduction="sum").item()
    return total / (sequences * length)


def make_model(case, attention, experts, dtype, path):
    if path:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, attn_implementation=attention, experts_implementation=experts).train()
    else:
        configuration = transformers.MixtralConfig(**case.configuration())
        model = transformers.AutoModelForCausalLM.from_config(
            configuration, attn_implementation=attention, experts_implementation=experts).train()
    return model.to(torch.bfloat16) if dtype == "bf16" else model


def make_optimizer(model, case):
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": case.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=case.learning_rate, betas=(case.beta1, case.beta2), fused=True)


def update(model, optimizer, case, step):
    """Clips the gradients, changes the weights, and forgets the gradients."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), case.gradient_clip)
    for group in optimizer.param_groups:
        group["lr"] = case.learning_rate_at(step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def use_processor(threads):
    torch.set_num_threads(threads)
    # Denormal numbers slow some steps down, and change no loss that is shown.
    torch.set_flush_denormal(True)


def train(case, data, seed, attention, experts, dtype, compiled, path):
    """Seconds and loss of each step, and the model."""
    tokens = numpy.memmap(os.path.join(data, "train.bin"), dtype="<u2", mode="r")
    starts = [
        philox.starts(seed, step, case.batch_size, len(tokens), case.sequence_length) for step in range(case.steps)
    ]
    torch.manual_seed(seed)
    model = make_model(case, attention, experts, dtype, path)
    optimizer = make_optimizer(model, case)
    forward = torch.compile(model) if compiled else model
    seconds, losses = [], []
    for step in range(case.steps):
        start = time.perf_counter()
        inputs, targets = batch(tokens, starts[step], case.sequence_length)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "autocast"):
            output = forward(input_ids=inputs, use_cache=False, output_router_logits=True)
        loss = cross_entropy(output.logits.float(), targets)
        (loss + case.auxiliary_loss * output.aux_loss).backward()
        update(model, optimizer, case, step)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    return seconds, losses, model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True, help="a case as JSON")
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--attention", required=True, choices=["eager", "sdpa"])
    parser.add_argument("--experts", required=True, choices=["eager", "batched_mm", "grouped_mm"])
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16", "autocast"],
                        help="bf16: weights and all else in it; autocast: fp32 weights, products in bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--model", help="a checkpoint to begin with")
    options = parser.parse_args()
    use_processor(options.threads)
    case = cases.Case(**json.loads(options.case))
    seconds, losses, model = train(
        case, options.data, options.seed, options.attention, options.experts, options.dtype, options.compile,
        options.model)
    result = {"step_seconds": seconds, "losses": losses, "versions": {
        "torch": torch.__version__, "transformers": transformers.__version__, "numpy": numpy.__version__}}
    if options.validate:
        split = numpy.memmap(os.path.join(options.data, "val.bin"), dtype="<u2", mode="r")
        result["validation_loss"] = validation_loss(
            lambda inputs: model(input_ids=inputs, use_cache=False).logits, case, split)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
