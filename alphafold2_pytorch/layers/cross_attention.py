"""Attention between grids or their means, exact or linear, with or without compressed keys."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import nn

from alphafold2_pytorch.layers.compression import Compression
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.kronecker import row_means
from alphafold2_pytorch.layers.linear_attention import LinearAttend
from alphafold2_pytorch.layers.rotary import Rotary
from alphafold2_pytorch.ops import Attend
from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor


class Entries(NamedTuple):
    """What takes part in attention: a grid, or the means along one axis as a grid of one row."""

    x: Float[Tensor, "b r m d"]
    mask: Bool[Tensor, "b r m"]
    positions: Int[Tensor, " m"]  # where the entries of each row stand, for rotary embedding


def grid_entries(x: Float[Tensor, "b i j d"], mask: Bool[Tensor, "b i j"]) -> list[Entries]:
    """Every entry of a grid, standing at its column."""
    return [Entries(x, mask, torch.arange(x.shape[2], device=x.device))]


def mean_entries(
    x: Float[Tensor, "b i j d"], mask: Bool[Tensor, "b i j"], rows_stand: bool
) -> list[Entries]:
    """The means of the rows, then of the columns, of a grid; each axis is counted from 0.

    Where rows are no positions (those of an alignment) they all stand at 0, which turns nothing.
    """
    parts = []
    for grid, keep, stand in (
        (x, mask, rows_stand),
        (x.transpose(1, 2), mask.transpose(1, 2), True),
    ):
        mean, any_there = row_means(grid, keep)
        positions = torch.arange(mean.shape[1], device=x.device) * stand
        parts.append(Entries(mean[:, None], any_there[:, None], positions))
    return parts


def join(parts: Sequence[Entries]) -> Entries:
    """All entries as one row, grid after grid."""
    return Entries(
        torch.cat([rearrange(part.x, "b r m d -> b 1 (r m) d") for part in parts], 2),
        torch.cat([rearrange(part.mask, "b r m -> b 1 (r m)") for part in parts], 2),
        torch.cat([part.positions.repeat(part.mask.shape[1]) for part in parts]),
    )


class CrossGatedAttention(nn.Module):
    """Gated attention of some entries to others; both normed before and `dim` wide.

    `linear_features`: attention by as many random features (`LinearAttend`), None for exact.
    `compress_ratio`: so many neighbours within a row of a grid share a key; it stands where the
    first of them stands. `rotary`: queries and keys are turned by where they stand. A query without
    a key reads zero. `ValueError` for compressed keys of linear attention, which has no use of it.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dim_head: int,
        dropout: float = 0.0,
        linear_features: int | None = None,
        redraw_every: int = 1000,
        compress_ratio: int = 1,
        rotary: bool = False,
    ):
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.q = linear(dim, inner, bias=False)
        self.kv = linear(dim, 2 * inner, bias=False)
        self.gate = linear(dim, inner, role="gate")
        self.out = linear(inner, dim, role="final")
        self.attend: Attend | LinearAttend = Attend(dropout)
        if linear_features is not None:
            if compress_ratio != 1:
                raise ValueError(
                    "linear cross attention has no keys to compress: got "
                    f"linear_features={linear_features} and compress_ratio={compress_ratio}"
                )
            self.attend = LinearAttend(dim_head, linear_features, redraw_every, dropout)
        self.compression = None
        if compress_ratio != 1:
            self.compression = Compression(heads, dim_head, compress_ratio)
        self.rotary = Rotary(dim_head) if rotary else None

    def forward(
        self, queries: Sequence[Entries], context: Sequence[Entries]
    ) -> Float[Tensor, "b n d"]:
        """One update for each query, in the order of `join`."""
        asking = join(queries)
        keys = join([self._keys(part) for part in context])
        q = rearrange(self.q(asking.x), "b r n (h d) -> b r h n d", h=self.heads)
        k, v = rearrange(keys.x, "b r m (two h d) -> two b r h m d", two=2, h=self.heads)
        if self.rotary is not None:
            q, k = self.rotary(q, asking.positions), self.rotary(k, keys.positions)
        out = rearrange(self.attend(q, k, v, mask=keys.mask), "b r h n d -> b r n (h d)")
        return self.out(sigmoid_gate(out, self.gate(asking.x)))[:, 0]

    def _keys(self, part: Entries) -> Entries:
        """Keys and values, joined. Within rows: padding a row must not shift those after it."""
        both = part._replace(x=self.kv(part.x))
        if self.compression is None:
            return both
        x, mask = self.compression(both.x, both.mask)
        return Entries(x, mask, both.positions[:: self.compression.ratio])
