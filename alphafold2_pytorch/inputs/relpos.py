"""Relative positions along the chain."""

import torch
import torch.nn.functional as F
from torch import nn

from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.typing import Float, Int, Tensor


class RelativePosition(nn.Module):
    """Embed residue_index[i] - residue_index[j], clipped to +-`reach`.

    Jumper et al. (2021) Suppl. Alg. 4 and 5.
    """

    def __init__(self, dim: int, reach: int = 32):
        super().__init__()
        self.reach = reach
        self.embed = linear(2 * reach + 1, dim)

    def forward(
        self, residue_index: Int[Tensor, "b n"], rows: slice = slice(None)
    ) -> Float[Tensor, "b r n d"]:
        """Of all pairs, or of those in some rows."""
        offset = residue_index[:, rows, None] - residue_index[:, None]
        offset = torch.clamp(offset + self.reach, 0, 2 * self.reach)
        return F.embedding(offset, self.embed.weight.T + self.embed.bias)
