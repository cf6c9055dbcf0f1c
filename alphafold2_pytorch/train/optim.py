"""AdamW with warm-up, cosine decay and clipping chain by chain."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from alphafold2_pytorch.train.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with DeepMind's epsilon; only matrices decay, no biases and norms.

    Jumper et al. (2021) Suppl. Sec. 1.11.3 (Adam, epsilon 1e-6).
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-6)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine that reaches `floor` at `total_steps` and stays there.

    `step` counts finished steps, so the first step is not of rate zero.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    left = max(config.total_steps - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / left, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.floor + (1 - config.floor) * cosine)


class ClippedSum:
    """The mean of the parts' gradients, each scaled down to a norm of at most `clip`.

    Clipping each chain before the mean keeps one odd chain from ruling the step: Jumper et al.
    (2021) Suppl. Sec. 1.11.3. It starts by clearing the `.grad` of the step before; `add` reads
    and clears it; `write` leaves the mean there.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], clip: float, parts: int):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.clip, self.parts = clip, parts
        self.sums = [torch.zeros_like(p) for p in self.parameters]
        self._clear()

    def _clear(self) -> None:
        for p in self.parameters:
            p.grad = None

    def add(self, norm_is_wrong: Callable[[float], Exception]) -> float:
        """Take in one part's gradient and return its norm; raises what the caller makes of NaN."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        norm = float(torch.nn.utils.get_total_norm(grads))
        if not math.isfinite(norm):
            raise norm_is_wrong(norm)
        scale = min(1.0, self.clip / norm) if norm > 0 else 1.0
        torch._foreach_add_(self.sums, grads, alpha=scale / self.parts)
        self._clear()
        return norm

    def write(self) -> None:
        """Put the mean where the optimizer looks for it."""
        for p, mean in zip(self.parameters, self.sums, strict=True):
            p.grad = mean
