"""Loads a checkpoint with transformers, and fails unless it fits the model exactly and the model runs.

python3 check_checkpoint.py DIRECTORY [--equal-to OTHER]    (needs torch and transformers)
"""
import argparse
import sys

import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("directory")
parser.add_argument("--equal-to", metavar="OTHER", help="another one, whose weights and logits must be the same bits")
arguments = parser.parse_args()


def load(directory: str):
    # The product over all experts at once takes no sizes that are as odd as those of the golden models.
    model, information = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, experts_implementation="eager", output_loading_info=True)
    problems = {key: value for key, value in information.items() if value}
    if problems:
        sys.exit(f"{directory} does not fit the model: {problems}")
    return model


model = load(arguments.directory)
other = load(arguments.equal_to) if arguments.equal_to else None
if other:
    weights, others = model.state_dict(), other.state_dict()
    different = [name for name in others if name not in weights or not torch.equal(weights[name], others[name])]
    if different or len(weights) != len(others):
        sys.exit(f"{arguments.directory} and {arguments.equal_to} differ in {different}")
length = min(16, model.config.max_position_embeddings)
tokens = torch.arange(length)[None] % model.config.vocab_size
with torch.no_grad():
    output = model(input_ids=tokens, labels=tokens)
if not output.loss.isfinite():
    sys.exit(f"{arguments.directory}: the loss is {output.loss.item()}")
if other:
    with torch.no_grad():
        if not torch.equal(output.logits, other(input_ids=tokens).logits):
            sys.exit(f"{arguments.directory} and {arguments.equal_to} have other logits")
parameters = sum(parameter.numel() for parameter in model.parameters())
print(f"{arguments.directory}: {type(model).__name__} of {parameters} parameters, loss {output.loss.item():.6f}")
