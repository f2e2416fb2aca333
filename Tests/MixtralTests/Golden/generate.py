"""Golden values of Mixtral and the other types of model from PyTorch and Hugging Face's transformers.

Writes everything in this folder but itself, README.md and check_checkpoint.py. Run by hand: python3 generate.py
(needs torch, transformers and safetensors). See README.md for what the files hold.
"""
import json
import math
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, MixtralForCausalLM
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe

FOLDER = pathlib.Path(__file__).parent
SEQUENCES, LENGTH = 3, 11
COEFFICIENT = 0.02
STEPS = 10
OPTIMIZER = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8}
DECAY = 0.1
# Below the usual gradient norm of these models, so that clipping always acts.
CLIP = 1.0

BASE = dict(
    model_type="mixtral", vocab_size=53, hidden_size=24, intermediate_size=20, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, num_local_experts=5, num_experts_per_tok=2,
    max_position_embeddings=32,
)
VARIANTS = {
    # One expert a token; heads wider than hidden / heads; one key-value head; other rotary base and epsilon.
    "top-1": dict(
        model_type="mixtral", vocab_size=31, hidden_size=20, intermediate_size=11, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, head_dim=10, num_local_experts=4, num_experts_per_tok=1,
        max_position_embeddings=16, rope_parameters={"rope_theta": 100.0, "rope_type": "default"}, rms_norm_eps=1e-2,
    ),
    # Three experts a token; heads narrower than hidden / heads; as many key-value heads as heads.
    "top-3": dict(
        model_type="mixtral", vocab_size=29, hidden_size=18, intermediate_size=9, num_hidden_layers=3,
        num_attention_heads=3, num_key_value_heads=3, head_dim=4, num_local_experts=7, num_experts_per_tok=3,
        max_position_embeddings=11,
    ),
    "tied": dict(
        model_type="mixtral", vocab_size=37, hidden_size=18, intermediate_size=7, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, num_local_experts=5, num_experts_per_tok=2,
        max_position_embeddings=16, tie_word_embeddings=True,
    ),
    # Norms of all heads' queries and keys; three heads a key-value head.
    "olmoe": dict(
        model_type="olmoe", vocab_size=37, hidden_size=24, intermediate_size=7, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, num_experts=5, num_experts_per_tok=2,
        max_position_embeddings=16, pad_token_id=None,
    ),
    # Biases of queries, keys and values; a shared expert with a gate; the first layer is dense.
    "qwen2-moe": dict(
        model_type="qwen2_moe", vocab_size=41, hidden_size=18, intermediate_size=13, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, moe_intermediate_size=7, shared_expert_intermediate_size=11,
        num_experts=5, num_experts_per_tok=2, decoder_sparse_step=2, max_position_embeddings=16,
    ),
    # Norms of each head's queries and keys; heads wider than hidden / heads; the second layer is dense.
    "qwen3-moe": dict(
        model_type="qwen3_moe", vocab_size=37, hidden_size=20, intermediate_size=13, num_hidden_layers=3,
        num_attention_heads=3, num_key_value_heads=1, head_dim=8, moe_intermediate_size=7, num_experts=6,
        num_experts_per_tok=3, norm_topk_prob=True, mlp_only_layers=[1], max_position_embeddings=16,
    ),
    # Heads narrower than hidden / heads.
    "qwen3-moe-tied": dict(
        model_type="qwen3_moe", vocab_size=41, hidden_size=18, intermediate_size=13, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, head_dim=4, moe_intermediate_size=5, num_experts=5,
        num_experts_per_tok=2, max_position_embeddings=16, tie_word_embeddings=True,
        rope_parameters={"rope_theta": 100.0, "rope_type": "default"},
    ),
    # Sigmoids with biases, two of three groups; two shared experts; the first layer is dense. No auxiliary loss.
    "dots1": dict(
        model_type="dots1", vocab_size=37, hidden_size=18, intermediate_size=13, num_hidden_layers=3,
        num_attention_heads=3, num_key_value_heads=1, moe_intermediate_size=5, n_shared_experts=2, n_routed_experts=6,
        num_experts_per_tok=3, n_group=3, topk_group=2, first_k_dense_replace=1, norm_topk_prob=True,
        routed_scaling_factor=1.5, max_position_embeddings=16,
    ),
}
# transformers has no class for DeepSeekMoE's first models: a Llama with the networks of DeepSeek-V2 in all layers but the first
# is one. Two shared experts; heads as wide as hidden / heads.
DEEPSEEK = dict(
    model_type="deepseek", vocab_size=37, hidden_size=24, intermediate_size=13, num_hidden_layers=3,
    num_attention_heads=4, num_key_value_heads=2, moe_intermediate_size=5, n_shared_experts=2, n_routed_experts=6,
    num_experts_per_tok=3, first_k_dense_replace=1, moe_layer_freq=1, norm_topk_prob=False, scoring_func="softmax",
    max_position_embeddings=16, rms_norm_eps=1e-6, rope_theta=10000.0, hidden_act="silu", aux_loss_alpha=0.001,
    seq_aux=True, tie_word_embeddings=False,
)
# Seeds for which no expert is chosen narrowly; `expected` checks it.
VARIANT_SEEDS = {
    "top-1": 53, "top-3": 46, "tied": 20, "olmoe": 21, "qwen2-moe": 20, "qwen3-moe": 77, "qwen3-moe-tied": 10,
    "dots1": 4, "deepseek": 103}


def make_model(config: dict, seed: int):
    """A model with weights so large that a wrong part anywhere shows in the numbers."""
    torch.manual_seed(seed)
    auxiliary = {} if config["model_type"] == "dots1" else {"router_aux_loss_coef": COEFFICIENT}
    config = AutoConfig.for_model(
        **config, **auxiliary, output_router_logits=True, attn_implementation="eager", experts_implementation="eager",
        bos_token_id=None, eos_token_id=None)
    return fill(AutoModelForCausalLM.from_config(config).float())


def make_deepseek(seed: int):
    torch.manual_seed(seed)
    options = dict(attn_implementation="eager", experts_implementation="eager")
    shapes = {name: value for name, value in DEEPSEEK.items() if name not in ("model_type", "rope_theta")}
    model = LlamaForCausalLM(AutoConfig.for_model("llama", **shapes, **options))
    networks = AutoConfig.for_model("deepseek_v2", **shapes, topk_method="greedy", routed_scaling_factor=1.0, **options)
    for layer in model.model.layers[DEEPSEEK["first_k_dense_replace"]:]:
        layer.mlp = DeepseekV2Moe(networks)
    return fill(model.float())


def fill(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(0.5 * torch.randn_like(parameter))
            elif parameter.dim() == 1:
                parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
            else:
                scale = 0.6 if name.endswith(("mlp.gate.weight", "shared_expert_gate.weight")) else 0.25
                parameter.copy_(scale * torch.randn_like(parameter))
        for name, bias in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                bias.copy_(0.2 * torch.randn_like(bias))
    return model


def draw_tokens(vocabulary: int, seed: int, steps: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocabulary, (steps, SEQUENCES, LENGTH + 1), generator=generator)


def losses(model, batch):
    """Cross-entropy over all tokens, auxiliary loss or None, and the output; row b is a sequence and its targets."""
    output = model(input_ids=batch[:, :-1])
    return cross_entropy(output.logits.flatten(0, 1), batch[:, 1:].flatten()), output.get("aux_loss"), output


def margin(model, batch) -> float:
    """The smallest lead of a chosen expert, or group of them, over the best that was not chosen."""
    leads = []

    def lead(scores, chosen: int):
        ordered = scores.sort(-1, descending=True).values
        if chosen < ordered.shape[-1]:
            leads.append((ordered[:, chosen - 1] - ordered[:, chosen]).min().item())

    def measure(router, _, output):
        if hasattr(router, "e_score_correction_bias"):
            scores = output[0].sigmoid() + router.e_score_correction_bias
            groups = scores.unflatten(-1, (router.num_group, -1))
            sums = groups.topk(2, dim=-1).values.sum(-1)
            lead(sums, router.topk_group)
            best = sums.topk(router.topk_group, dim=-1).indices
            scores = groups.gather(1, best[..., None].expand(-1, -1, groups.shape[-1])).flatten(1)
        else:
            scores = output[0].softmax(-1)
        lead(scores, router.top_k)

    routers = [module for name, module in model.named_modules() if name.endswith("mlp.gate")]
    hooks = [router.register_forward_hook(measure) for router in routers]
    with torch.no_grad():
        model(input_ids=batch[:, :-1])
    for hook in hooks:
        hook.remove()
    return min(leads)


def gradients(model) -> dict[str, torch.Tensor]:
    return published(model.config, {name: parameter.grad for name, parameter in model.named_parameters()})


def published(config, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies under the names of the published checkpoints, which have each expert's matrices apart."""
    is_mixtral = config.model_type == "mixtral"
    gate, up, down = ("w1", "w3", "w2") if is_mixtral else ("gate_proj", "up_proj", "down_proj")
    result = {}
    for name, tensor in tensors.items():
        if is_mixtral:
            name = name.replace(".mlp.", ".block_sparse_moe.")
        if name.endswith("experts.gate_up_proj"):
            experts = name.removesuffix("gate_up_proj")
            width = tensor.shape[1] // 2
            for expert, both in enumerate(tensor):
                result[f"{experts}{expert}.{gate}.weight"] = both[:width].clone()
                result[f"{experts}{expert}.{up}.weight"] = both[width:].clone()
        elif name.endswith("experts.down_proj"):
            for expert, one in enumerate(tensor):
                result[f"{name.removesuffix('down_proj')}{expert}.{down}.weight"] = one.clone()
        else:
            result[name] = tensor.clone()
    return result


def one_pass(model, batch, coefficient: float):
    model.zero_grad()
    loss, auxiliary, output = losses(model, batch)
    (loss + coefficient * auxiliary if coefficient else loss).backward()
    return loss.item(), None if auxiliary is None else auxiliary.item(), output, gradients(model)


def save(model, folder: str, **options) -> None:
    path = FOLDER / folder
    shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(path, **options)
    (path / "generation_config.json").unlink(missing_ok=True)
    for file in path.iterdir():
        file.chmod(0o644)


def save_deepseek(model, folder: str) -> None:
    path = FOLDER / folder
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    (path / "config.json").write_text(
        json.dumps({"architectures": ["DeepseekForCausalLM"], **DEEPSEEK}, indent=2, sort_keys=True) + "\n")
    save_file(published(model.config, model.state_dict()), path / "model.safetensors", metadata={"format": "pt"})
    (path / "model.safetensors").chmod(0o644)


def expected(name: str, model, batch, coefficients: list[float]) -> dict:
    """Writes logits and, for each coefficient of the auxiliary loss, gradients to NAME.safetensors; returns the rest."""
    loss, auxiliary, output, _ = one_pass(model, batch, 0.0)
    tensors = {"logits": output.logits.flatten(0, 1).detach().clone()}
    for coefficient in coefficients:
        for parameter, gradient in one_pass(model, batch, coefficient)[3].items():
            assert gradient.abs().max() > 1e-4, f"{parameter} has no gradient that could be compared"
            tensors[f"gradient.{coefficient}.{parameter}"] = gradient
    lead = margin(model, batch)
    print(f"{name}: loss {loss:.6f}, auxiliary {auxiliary}, smallest lead of an expert {lead:.1e}")
    assert lead > 1e-3, "an expert is chosen so narrowly that rounding could change the choice: try another seed"
    save_file(tensors, FOLDER / f"{name}.safetensors", metadata={"format": "pt"})
    (FOLDER / f"{name}.safetensors").chmod(0o644)
    return {"tokens": batch.tolist(), "loss": loss, "auxiliaryLoss": auxiliary, "coefficients": coefficients}


def curve(config: dict, batches, coefficient: float, clip: float | None) -> dict:
    """Ten steps of AdamW that decays matrices only."""
    model = make_model(config, seed=1)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}], **OPTIMIZER)
    result = {"coefficient": coefficient, "clip": clip, "loss": [], "auxiliaryLoss": [], "gradientNorm": []}
    lead = 1.0
    for batch in batches:
        lead = min(lead, margin(model, batch))
        optimizer.zero_grad()
        loss, auxiliary, _ = losses(model, batch)
        (loss + coefficient * auxiliary).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip if clip is not None else float("inf"))
        assert clip is None or norm > clip, "nothing is clipped"
        optimizer.step()
        result["loss"].append(loss.item())
        result["auxiliaryLoss"].append(auxiliary.item())
        result["gradientNorm"].append(norm.item())
    print(f"curve, coefficient {coefficient}, clip {clip}: {result['loss'][0]:.4f} to {result['loss'][-1]:.4f}, "
          f"norm {result['gradientNorm'][0]:.3f}, smallest lead of an expert {lead:.1e}")
    assert lead > 4e-5, "rounding could change the choice of an expert: try another seed"
    return result


# All that moe-worker has flags for. An epsilon this large lets the size of gradients show, which Adam else divides by.
TRAINING = {
    "steps": 12, "batchSize": 4, "microBatches": 2, "sequenceLength": 11, "learningRate": 6e-3, "minimum": 1e-3,
    "warmupSteps": 3, "beta1": 0.8, "beta2": 0.9, "epsilon": 1e-2, "weightDecay": 0.2, "clip": 4.5,
    "auxiliaryCoefficient": 0.05, "zCoefficient": 0.02}
TRAINING_SEED = 23


def rate(step: int) -> float:
    """nanoGPT's get_lr: linear warm-up, then a cosine."""
    warmup, steps, minimum = TRAINING["warmupSteps"], TRAINING["steps"], TRAINING["minimum"]
    if step < warmup:
        return TRAINING["learningRate"] * (step + 1) / (warmup + 1)
    progress = (step - warmup) / (steps - warmup)
    return minimum + 0.5 * (1 + math.cos(math.pi * progress)) * (TRAINING["learningRate"] - minimum)


def training() -> dict:
    """Batches in order out of a stream, in micro-batches, with schedule, decay, clipping, auxiliary loss and z-loss."""
    model = make_model(BASE, seed=1)
    batch, length, parts = TRAINING["batchSize"], TRAINING["sequenceLength"], TRAINING["microBatches"]
    stream = torch.randint(
        BASE["vocab_size"], (TRAINING["steps"] * batch * length + 1,),
        generator=torch.Generator().manual_seed(TRAINING_SEED))
    matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": TRAINING["weightDecay"]}, {"params": vectors, "weight_decay": 0.0}],
        betas=(TRAINING["beta1"], TRAINING["beta2"]), eps=TRAINING["epsilon"])
    result = {"loss": [], "auxiliaryLoss": [], "zLoss": [], "gradientNorm": [], "rate": []}
    lead = 1.0
    for step in range(TRAINING["steps"]):
        start = step * batch * length
        rows = torch.stack(
            [stream[start + index * length:start + (index + 1) * length + 1] for index in range(batch)])
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        sums = {"loss": 0.0, "auxiliaryLoss": 0.0, "zLoss": 0.0}
        for part in rows.chunk(parts):
            lead = min(lead, margin(model, part))
            loss, auxiliary, output = losses(model, part)
            z = sum(logits.logsumexp(-1).square().mean() for logits in output.router_logits)
            total = loss + TRAINING["auxiliaryCoefficient"] * auxiliary + TRAINING["zCoefficient"] * z
            (total / parts).backward()
            for name, value in ("loss", loss), ("auxiliaryLoss", auxiliary), ("zLoss", z):
                sums[name] += value.item() / parts
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINING["clip"])
        optimizer.step()
        for name, value in sums.items():
            result[name].append(value)
        result["gradientNorm"].append(norm.item())
        result["rate"].append(rate(step))
    norms = result["gradientNorm"]
    print(f"training: {result['loss'][0]:.4f} to {result['loss'][-1]:.4f}, norm {min(norms):.3f} to {max(norms):.3f}, "
          f"smallest lead of an expert {lead:.1e}")
    assert lead > 4e-5, "rounding could change the choice of an expert: try another seed"
    assert min(norms) < TRAINING["clip"] < max(norms), "clipping acts always or never"
    return {**TRAINING, "tokens": stream.tolist(), **result}


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    golden = {"sequences": SEQUENCES, "sequenceLength": LENGTH, "models": {}, "curves": []}

    base = make_model(BASE, seed=1)
    save(base, "base")
    save(base, "sharded", max_shard_size="30KB")
    golden["models"]["base"] = expected("base", base, draw_tokens(BASE["vocab_size"], seed=10)[0], [0.0, COEFFICIENT])

    save(make_model(BASE, seed=1).to(torch.bfloat16), "fused", save_original_format=False)
    # Loaded again: converting a model back would leave its rotary frequencies rounded.
    fused = MixtralForCausalLM.from_pretrained(
        FOLDER / "fused", dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")
    golden["models"]["fused"] = expected("fused", fused, draw_tokens(BASE["vocab_size"], seed=10)[0], [])

    for name, config in VARIANTS.items():
        seed = VARIANT_SEEDS[name]
        model = make_model(config, seed=seed)
        save(model, name)
        # With one expert a token its weight is always 1, and only the auxiliary loss trains the router.
        coefficient = COEFFICIENT if hasattr(model.config, "router_aux_loss_coef") else 0.0
        golden["models"][name] = expected(
            name, model, draw_tokens(config["vocab_size"], seed=seed)[0], [coefficient])

    seed = VARIANT_SEEDS["deepseek"]
    deepseek = make_deepseek(seed)
    save_deepseek(deepseek, "deepseek")
    golden["models"]["deepseek"] = expected(
        "deepseek", deepseek, draw_tokens(DEEPSEEK["vocab_size"], seed=seed)[0], [0.0])

    batches = draw_tokens(BASE["vocab_size"], seed=27, steps=STEPS)
    golden["batches"] = batches.tolist()
    golden["optimizer"] = {
        "learningRate": OPTIMIZER["lr"], "beta1": OPTIMIZER["betas"][0], "beta2": OPTIMIZER["betas"][1],
        "epsilon": OPTIMIZER["eps"], "weightDecay": DECAY}
    for coefficient in [0.0, COEFFICIENT]:
        for clip in [None, CLIP]:
            golden["curves"].append(curve(BASE, batches, coefficient, clip))
    (FOLDER / "training.json").write_text(json.dumps(training(), indent=None, separators=(",", ":")) + "\n")
    golden["madeBy"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
