"""AdamW with warm-up, cosine decay and clipping chain by chain."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alphafold2_pytorch.train.config import TrainConfig
from alphafold2_pytorch.train.distributed import as_sharded


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, in one kernel, with DeepMind's epsilon; only matrices decay, no biases and norms.

    Frozen parameters are none of its business. Its moments are there from the start, as zeros, so
    that a checkpoint can be read into them. Jumper et al. (2021) Suppl. Sec. 1.11.3 (Adam, epsilon
    1e-6).
    """
    trained = trained_of(model.parameters())
    matrices = [p for p in trained if p.ndim >= 2]
    others = [p for p in trained if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(0.9, 0.999), eps=1e-6, fused=True
    )
    for p in trained:
        zeros = {name: torch.zeros_like(p).detach() for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[p] = {"step": torch.zeros((), device=p.device), **zeros}
    return optimizer


def trained_of(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those that are not frozen."""
    return [p for p in parameters if p.requires_grad]


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine that reaches `floor` at `total_steps` and stays there.

    With `drop_after` the rate stays for so many steps, counted from the first, and is that of the
    floor from then on, as in Jumper et al. (2021) Suppl. Sec. 1.11.3. `step` counts finished steps,
    so the first step is not of rate zero.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.drop_after is not None:
        return config.learning_rate * (1.0 if step < config.drop_after else config.floor)
    left = max(config.total_steps - config.warmup_steps, 1)
    done = min((step - config.warmup_steps) / left, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.floor + (1 - config.floor) * cosine)


class ClippedSum:
    """The mean of the parts' gradients, each scaled down to a norm of at most `clip`.

    Clipping each chain before the mean keeps one odd chain from ruling the step: Jumper et al.
    (2021) Suppl. Sec. 1.11.3. It starts by clearing the `.grad` of the step before; `add` reads
    and clears it; `write` leaves the mean there. Of the `parts` some may be taken in by other
    processes: their `sums` have to be added up before `write`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], clip: float, parts: int):
        self.parameters = trained_of(parameters)
        self.clip, self.parts = clip, parts
        self.sums = [torch.zeros_like(p) for p in self.parameters]
        self._clear()

    def _clear(self) -> None:
        for p in self.parameters:
            p.grad = None

    def norm(self) -> Tensor:
        """Of the gradient that is there, on its device."""
        return torch.nn.utils.get_total_norm(self._gradient()).float()

    def _gradient(self) -> list[Tensor]:
        return [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]

    def add(self, norm: float, loss_scale: float = 1.0) -> float:
        """Take in one part's gradient, of its loss times `loss_scale`; the norm without the scale.

        `norm` is the value of `norm()`, which only the caller knows when to wait for. A gradient
        whose norm is not finite is left out.
        """
        grads, norm = self._gradient(), norm / loss_scale
        if math.isfinite(norm):
            scale = min(1.0, self.clip / norm) if norm > 0 else 1.0
            torch._foreach_add_(self.sums, grads, alpha=scale / self.parts / loss_scale)
        self._clear()
        return norm

    def write(self, parameters: Iterable[nn.Parameter] | None = None) -> None:
        """Put the mean where the optimizer looks for it.

        `parameters`: the same ones as they are now, if they have gone back into shards meanwhile.
        """
        into = self.parameters if parameters is None else trained_of(parameters)
        for p, mean in zip(into, self.sums, strict=True):
            p.grad = as_sharded(mean, p)


@dataclass
class LossScale:
    """What a loss in float16 is multiplied with, so that small gradients do not vanish.

    Halved when a gradient overflows, and the step is left out; doubled after `patience` good steps:
    Micikevicius et al. (2018). The schedule of `torch.amp.GradScaler`, which knows of no gradients
    of single chains.
    """

    value: float = 2.0**16
    good_steps: int = 0
    patience: int = 2000

    def update(self, overflow: bool) -> None:
        """After a step."""
        self.good_steps = 0 if overflow else self.good_steps + 1
        if overflow:
            self.value = max(self.value / 2, 1.0)
        elif self.good_steps == self.patience:
            self.value, self.good_steps = self.value * 2, 0


def gradient_of(parameters: Iterable[nn.Parameter], loss: Tensor) -> list[Tensor | None]:
    """The loss's gradient, None where it does not reach; `.grad` is left alone."""
    return list(torch.autograd.grad(loss, trained_of(parameters), allow_unused=True))
