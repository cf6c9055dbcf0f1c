"""Dropout whose mask is shared along one axis."""

import torch
import torch.nn.functional as F
from torch import nn

from alphafold2_pytorch.typing import Float, Tensor


class SharedDropout(nn.Module):
    """Zero whole lines of an update: one mask serves all of `axis`.

    `axis="rows"` shares the mask over axis 1, so whole columns vanish, `axis="columns"` over axis
    2. Jumper et al. (2021) Suppl. Sec. 1.11.6.
    """

    def __init__(self, rate: float, axis: str):
        super().__init__()
        if axis not in ("rows", "columns"):
            raise ValueError(f"axis must be 'rows' or 'columns', got {axis!r}")
        self.rate, self.axis = rate, 1 if axis == "rows" else 2

    def forward(self, x: Float[Tensor, "b i j d"] | None) -> Float[Tensor, "b i j d"] | None:
        """None, an update that is where it belongs already, stays None."""
        if x is None or not self.training or self.rate == 0.0:
            return x
        shape = list(x.shape)
        shape[self.axis] = 1
        return x * F.dropout(torch.ones(shape, device=x.device, dtype=x.dtype), self.rate)
