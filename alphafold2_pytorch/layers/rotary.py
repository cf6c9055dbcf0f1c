"""Rotary position embedding: queries and keys turned by where they stand (Su et al. 2021)."""

import torch
from torch import nn

from alphafold2_pytorch.typing import Float, Int, Tensor

LONGEST_WAVE = 10_000.0


class Rotary(nn.Module):
    """Turn pairs of features by position, so that q k depends on the distance of two positions.

    Feature 2 i and 2 i + 1 form a pair that turns by position / 10000^(2 i / dim_head). Without
    `positions` the last axis but one is counted from 0. `ValueError` for an odd `dim_head`.
    """

    def __init__(self, dim_head: int):
        super().__init__()
        if dim_head % 2:
            raise ValueError(f"rotary turns pairs of features: dim_head={dim_head} is odd")
        rates = LONGEST_WAVE ** -(torch.arange(0, dim_head, 2) / dim_head)
        self.register_buffer("rates", rates, persistent=False)

    def forward(
        self, x: Float[Tensor, "*r n d"], positions: Int[Tensor, " n"] | None = None
    ) -> Float[Tensor, "*r n d"]:
        if positions is None:
            positions = torch.arange(x.shape[-2], device=x.device)
        wide = torch.promote_types(x.dtype, torch.float32)  # far positions need the digits
        angles = positions[:, None] * self.rates.to(wide)  # type: ignore[operator]
        cos, sin = angles.cos(), angles.sin()
        even, odd = x[..., ::2].to(wide), x[..., 1::2].to(wide)
        turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
        return turned.flatten(-2).to(x.dtype)
