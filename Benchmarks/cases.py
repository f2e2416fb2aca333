"""What is measured: the models and the training settings, for us and for the peers alike."""

import dataclasses
import json
import math


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and how it is trained. Field names of the model are those of a Mixtral's config.json."""

    name: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    num_local_experts: int
    num_experts_per_tok: int
    vocab_size: int
    max_position_embeddings: int
    batch_size: int
    sequence_length: int
    steps: int
    learning_rate: float
    minimum_learning_rate: float
    warmup_steps: int
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    auxiliary_loss: float = 0.01

    def configuration(self):
        """A config.json."""
        names = [
            "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "num_local_experts", "num_experts_per_tok", "vocab_size", "max_position_embeddings",
        ]
        return {name: getattr(self, name) for name in names} | {
            "architectures": ["MixtralForCausalLM"],
            "model_type": "mixtral",
            "head_dim": self.hidden_size // self.num_attention_heads,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "rms_norm_eps": 1e-5,
            "rope_theta": 10000.0,
            "router_aux_loss_coef": self.auxiliary_loss,
            "sliding_window": None,
            "tie_word_embeddings": False,
        }

    def learning_rate_at(self, step):
        """Linear warm-up, then a cosine down to the minimum; `step` counts from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / (self.warmup_steps + 1)
        progress = (step - self.warmup_steps) / (self.steps - self.warmup_steps)
        scale = 0.5 * (1 + math.cos(math.pi * progress))
        return self.minimum_learning_rate + scale * (self.learning_rate - self.minimum_learning_rate)

    def write_configuration(self, path):
        with open(path, "w") as file:
            json.dump(self.configuration(), file, indent=2)


# Noted for nanoGPT's own code over the whole validation split; its README says 1.88, of random batches. nanogpt.py ends at 1.905.
NANOGPT_LOSS = 1.886


def recipe(vocab_size):
    """nanoGPT's recipe for a CPU (its README: 4 layers, width 128, batch 12 × 64, 2,000 steps), spent on an MoE."""
    return Case(
        name="recipe", hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, num_local_experts=8, num_experts_per_tok=2, vocab_size=vocab_size,
        max_position_embeddings=64, batch_size=12, sequence_length=64, steps=2000, learning_rate=1e-3,
        minimum_learning_rate=1e-4, warmup_steps=100)


def throughput(steps):
    return Case(
        name="throughput", hidden_size=256, intermediate_size=896, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, num_local_experts=8, num_experts_per_tok=2, vocab_size=256,
        max_position_embeddings=256, batch_size=16, sequence_length=256, steps=steps, learning_rate=1e-3,
        minimum_learning_rate=1e-3, warmup_steps=0)


def fine_grained():
    """One layer of many narrow experts, of which a token takes many, as DeepSeekMoE and OLMoE have them; not trained."""
    return dataclasses.replace(
        throughput(1), name="fine-grained", hidden_size=1024, intermediate_size=512, num_hidden_layers=1,
        num_attention_heads=16, num_key_value_heads=16, num_local_experts=32, num_experts_per_tok=8, batch_size=4)


def placement(vocab_size, steps):
    """Routers left alone: without an auxiliary loss they send most tokens to few experts."""
    return Case(
        name="placement", hidden_size=256, intermediate_size=896, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=4, num_local_experts=8, num_experts_per_tok=2, vocab_size=vocab_size,
        max_position_embeddings=128, batch_size=16, sequence_length=128, steps=steps, learning_rate=1e-3,
        minimum_learning_rate=1e-3, warmup_steps=0, auxiliary_loss=0.0)
