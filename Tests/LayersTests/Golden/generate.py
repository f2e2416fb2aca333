"""Golden values of routers from Hugging Face's transformers: writes routers.json beside itself.

Run by hand: python3 generate.py (needs torch and transformers).
"""
import json
import pathlib
from types import SimpleNamespace

import torch
import transformers
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2TopkRouter
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3TopkRouter
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssTopKRouter
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter
from transformers.models.switch_transformers.modeling_switch_transformers import router_z_loss_func

TOKENS, WIDTH, EXPERTS = 17, 10, 12
# What a wrong choice would have to be closer than.
LEAST_LEAD = 1e-4

CASES = {
    "qwen3, not renormalised": (Qwen3MoeTopKRouter, dict(num_experts_per_tok=3, norm_topk_prob=False)),
    "qwen3, renormalised": (Qwen3MoeTopKRouter, dict(num_experts_per_tok=3, norm_topk_prob=True)),
    "gpt-oss": (GptOssTopKRouter, dict(num_experts_per_tok=4)),
    "deepseek-v2": (DeepseekV2TopkRouter, dict(
        num_experts_per_tok=3, routed_scaling_factor=1.5, topk_method="group_limited_greedy", n_group=4, topk_group=2)),
    "deepseek-v3": (DeepseekV3TopkRouter, dict(
        num_experts_per_tok=3, routed_scaling_factor=2.5, n_group=4, topk_group=2, norm_topk_prob=True)),
    "deepseek-v3, not renormalised": (DeepseekV3TopkRouter, dict(
        num_experts_per_tok=4, routed_scaling_factor=1.0, n_group=3, topk_group=3, norm_topk_prob=False)),
}


def case(name: str, router_class, options: dict, seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    config = SimpleNamespace(hidden_size=WIDTH, num_experts=EXPERTS, num_local_experts=EXPERTS, **options)
    router = router_class(config)
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.zero_()
        router.weight.copy_(0.7 * normal(EXPERTS, WIDTH))
        bias = 0.1 * normal(EXPERTS)
        if hasattr(router, "e_score_correction_bias"):
            router.e_score_correction_bias.copy_(bias)
    x = normal(TOKENS, WIDTH).requires_grad_()
    # Weights of the loss by (token, expert), so that the order of a token's experts does not matter.
    factors = normal(TOKENS, EXPERTS)
    logits, weights, experts = router(x)
    (weights * factors.gather(1, experts)).sum().backward()
    order = experts.argsort(dim=1)
    result = {
        **options, "x": x.flatten().tolist(), "weight": router.weight.flatten().tolist(), "factors": factors.flatten().tolist(),
        "experts": experts.gather(1, order).flatten().tolist(), "weights": weights.gather(1, order).flatten().tolist(),
        "inputGradient": x.grad.flatten().tolist(), "weightGradient": router.weight.grad.flatten().tolist(),
        "zLoss": router_z_loss_func(logits[None]).item(),
    }
    if hasattr(router, "e_score_correction_bias"):
        result["bias"] = bias.tolist()
    # A change of the scores by rounding must not change the choice.
    for _ in range(20):
        noisy = x.detach() * (1 + LEAST_LEAD * torch.randn(x.shape, generator=generator))
        assert torch.equal(router(noisy)[2].sort(dim=1).values, experts.sort(dim=1).values), f"{name}: take another seed"
    return result


def main() -> None:
    torch.set_num_threads(1)
    golden = {
        "tokens": TOKENS, "width": WIDTH, "experts": EXPERTS,
        "cases": {name: case(name, *value, seed=3 + index) for index, (name, value) in enumerate(CASES.items())},
        "madeBy": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    path = pathlib.Path(__file__).parent / "routers.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
