"""Loads a dense model and what was made of it with transformers, and fails unless both compute the same.

python3 check_upcycled.py DENSE MIXTURE    (needs torch and transformers)
"""
import sys

import torch
from transformers import AutoModelForCausalLM


def load(directory: str):
    model, information = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True, experts_implementation="eager")
    problems = {key: value for key, value in information.items() if value}
    if problems:
        sys.exit(f"{directory} does not fit the model: {problems}")
    return model


dense, mixture = load(sys.argv[1]), load(sys.argv[2])
tokens = (torch.arange(30) * torch.arange(30) % dense.config.vocab_size).reshape(2, 15)
with torch.no_grad():
    expected, found = dense(input_ids=tokens).logits, mixture(input_ids=tokens).logits
difference, largest = (expected - found).abs().max().item(), expected.abs().max().item()
print(f"{sys.argv[2]}: {type(mixture).__name__}, logits up to {largest:.3f} differ by at most {difference:.1e}")
if not difference < 1e-5 * largest:
    sys.exit("the logits are not those of the dense model")
for field in ["dtype", "max_position_embeddings", "rms_norm_eps", "rope_parameters", "bos_token_id", "eos_token_id"]:
    if getattr(dense.config, field) != getattr(mixture.config, field):
        sys.exit(f"{field} is {getattr(mixture.config, field)} instead of {getattr(dense.config, field)}")
