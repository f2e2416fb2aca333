"""Small dense models as Hugging Face's transformers writes them, and their logits.

Writes everything in this folder but itself, README.md and check_upcycled.py. Run by hand: python3 generate.py
(needs torch, transformers and safetensors).
"""
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

FOLDER = pathlib.Path(__file__).parent
# Not every type's own: no beginning, end or padding, so that all tokens are alike.
NONE = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)
SHAPE = dict(
    vocab_size=37, hidden_size=18, intermediate_size=20, num_hidden_layers=2, num_attention_heads=3,
    num_key_value_heads=1, max_position_embeddings=16)
# The type's configuration, that of the weights, and options of save_pretrained.
MODELS = {
    "llama": (dict(model_type="llama", rope_parameters={"rope_theta": 500.0, "rope_type": "default"}), torch.float32, {}),
    # In several files.
    "mistral": (dict(model_type="mistral", head_dim=8, sliding_window=None), torch.bfloat16, {"max_shard_size": "5KB"}),
    "qwen2": (dict(model_type="qwen2", tie_word_embeddings=True), torch.float16, {}),
    "qwen3": (dict(model_type="qwen3", head_dim=4), torch.float32, {}),
}


def main() -> None:
    torch.set_num_threads(1)
    for name, (config, dtype, options) in MODELS.items():
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPE, **NONE, **config))
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                mean, scale = (1, 0.3) if parameter_name.endswith("norm.weight") else (0, 0.25)
                parameter.copy_(mean + scale * torch.randn_like(parameter))
        path = FOLDER / name
        shutil.rmtree(path, ignore_errors=True)
        model.to(dtype).save_pretrained(path, **options)
        (path / "generation_config.json").unlink(missing_ok=True)
        for file in path.iterdir():
            file.chmod(0o644)
        # Loaded again: converting a model leaves its rotary frequencies rounded.
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
        tokens = (torch.arange(22) * torch.arange(22) % SHAPE["vocab_size"]).reshape(2, 11)
        with torch.no_grad():
            logits = model(input_ids=tokens).logits.flatten(0, 1)
        save_file({"logits": logits.contiguous()}, FOLDER / f"{name}.safetensors")
        (FOLDER / f"{name}.safetensors").chmod(0o644)
        print(f"{name}: logits up to {logits.abs().max():.2f}")


if __name__ == "__main__":
    main()
