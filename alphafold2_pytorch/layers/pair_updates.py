"""Residual updates of the pair representation."""

from itertools import chain

import torch
from einops import rearrange
from torch import nn

from alphafold2_pytorch.layers.attention import GatedAttention
from alphafold2_pytorch.layers.dropout import SharedDropout
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.msa_updates import require_aligned
from alphafold2_pytorch.layers.transition import Transition
from alphafold2_pytorch.ops import OuterProduct, TriangleUpdate, TriangleWeights
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Float, Tensor


class OuterProductMean(nn.Module):
    """Tell each pair of residues how its two MSA columns vary together, averaged over the rows.

    Jumper et al. (2021) Suppl. Alg. 10. Masked entries do not count. `ValueError` if the MSA is
    not as long as the sequence.
    """

    writes = "pair"

    def __init__(self, dim_msa: int, dim_pair: int, dim_hidden: int = 32):
        super().__init__()
        self.norm = nn.LayerNorm(dim_msa)
        self.left, self.right = linear(dim_msa, dim_hidden), linear(dim_msa, dim_hidden)
        self.out = linear(dim_hidden**2, dim_pair, role="final")
        self.outer, self.rows = OuterProduct(), Rows()
        self.growth = 1 + 3 * 2 * dim_hidden / dim_msa

    def forward(self, x: Streams) -> Float[Tensor, "b n n d"] | None:
        require_aligned(x)

        def sides(msa: Tensor, mask: Tensor) -> Tensor:
            msa = self.norm(msa)
            return torch.cat([self.left(msa), self.right(msa)], -1) * mask[..., None]

        both = self.rows(sides, x.msa, self.growth, x.msa_mask, reads=(self,))
        left, right = both.chunk(2, -1)
        into = x.mine("pair", self)
        return self.outer(left, right, x.msa_mask, self.out.weight, self.out.bias, into=into)


class TriangleMultiplication(nn.Module):
    """Update an edge from the two other edges of every triangle it is part of.

    `outgoing=True`: edges that leave both residues (Jumper et al. (2021) Suppl. Alg. 11), else
    edges that enter them (Alg. 12).
    """

    writes = "pair"

    def __init__(self, dim: int, dim_hidden: int, outgoing: bool, dropout: float = 0.0):
        super().__init__()
        self.outgoing = outgoing
        self.norm = nn.LayerNorm(dim)
        self.edges = linear(dim, 2 * dim_hidden)  # left, right
        self.edge_gates = linear(dim, 2 * dim_hidden, role="gate")
        self.norm_out = nn.LayerNorm(dim_hidden)
        self.out = linear(dim_hidden, dim, role="final")
        self.gate = linear(dim, dim, role="gate")
        self.update, self.dropout = TriangleUpdate(), SharedDropout(dropout, "rows")

    def forward(self, x: Streams) -> Float[Tensor, "b n n d"] | None:
        layers = (self.norm, self.edges, self.edge_gates, self.norm_out, self.out, self.gate)
        weights = TriangleWeights(*chain.from_iterable((each.weight, each.bias) for each in layers))
        into = x.mine("pair", self)
        return self.dropout(self.update(x.pair, x.pair_mask, self.outgoing, weights, into))


class TriangleAttention(nn.Module):
    """Update an edge from the edges that share one of its residues, biased by the third edge.

    `starting=True`: around the starting residue (Jumper et al. (2021) Suppl. Alg. 13), else around
    the ending residue (Alg. 14), which is the same on the transposed pair representation. Without
    `biased` the third edge has no say: plain attention along one axis.
    """

    writes = "pair"

    def __init__(
        self,
        dim: int,
        heads: int,
        dim_head: int,
        starting: bool,
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        biased: bool = True,
    ):
        super().__init__()
        self.starting = starting
        self.norm = nn.LayerNorm(dim)
        self.bias = linear(dim, heads, bias=False) if biased else None
        self.attention, self.rows = GatedAttention(dim, heads, dim_head, attn_dropout), Rows()
        self.dropout = SharedDropout(dropout, "rows" if starting else "columns")

    def forward(self, x: Streams) -> Float[Tensor, "b n n d"] | None:
        pair, mask, into = x.pair, x.pair_mask, x.mine("pair", self)
        if not self.starting:
            pair, mask = pair.transpose(1, 2), mask.transpose(1, 2)
            into = into if into is None else into.transpose(1, 2)
        bias = None
        if self.bias is not None:
            read = (self.norm, self.bias)
            bias = self.rows(lambda pair: self.bias(self.norm(pair)), pair, reads=read)
            bias = rearrange(bias, "b i j h -> b h i j").contiguous()
        update = self.attention(pair, mask, bias, norm=self.norm, into=into)
        if update is None or self.starting:
            return self.dropout(update)
        return self.dropout(update.transpose(1, 2))


class PairTransition(nn.Module):
    """A feed-forward update of every pair; Jumper et al. (2021) Suppl. Alg. 15."""

    writes = "pair"

    def __init__(self, dim: int, widen: int = 4, dropout: float = 0.0):
        super().__init__()
        self.transition = Transition(dim, widen, dropout)

    def forward(self, x: Streams) -> Float[Tensor, "b n n d"] | None:
        return self.transition(x.pair, x.mine("pair", self))
