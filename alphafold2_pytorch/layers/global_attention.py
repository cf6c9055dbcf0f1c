"""Attention of one mean query, for very many rows."""

import torch
from einops import rearrange
from torch import nn

from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops import Attend
from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.typing import Bool, Float, Tensor


class GlobalAttention(nn.Module):
    """The mean entry of each row of axis 1 asks; all entries get the answer, each through its gate.

    Heads share keys and values. Expects normed input, or a `norm`. Jumper et al. (2021) Suppl.
    Alg. 19.
    """

    def __init__(self, dim: int, heads: int, dim_head: int, dropout: float = 0.0):
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.q = linear(dim, inner, bias=False)
        self.kv = linear(dim, 2 * dim_head, bias=False)
        self.gate = linear(dim, inner, role="gate")
        self.out = linear(inner, dim, role="final")
        self.attend, self.rows, self.growth = Attend(dropout), Rows(), 3 + 2 * inner / dim

    def forward(
        self,
        x: Float[Tensor, "b r n d"],
        mask: Bool[Tensor, "b r n"],
        norm: nn.Module | None = None,
    ) -> Float[Tensor, "b r n d"]:
        """`norm` is applied to `x` first."""

        def run(x: Tensor, mask: Tensor) -> Tensor:
            return self._attended(x if norm is None else norm(x), mask)

        read = (self,) if norm is None else (self, norm)
        return self.rows(run, x, self.growth, mask, reads=read)

    def _attended(self, x: Tensor, mask: Tensor) -> Tensor:
        keep = mask[..., None].to(x.dtype)
        # a count of zero divides zeros
        mean = torch.sum(x * keep, 2) / keep.sum(2).clamp(min=1)
        q = rearrange(self.q(mean), "b r (h d) -> b r h 1 d", h=self.heads)
        k, v = self.kv(x)[:, :, None].expand(-1, -1, self.heads, -1, -1).chunk(2, dim=-1)
        found = rearrange(self.attend(q, k, v, None, mask), "b r h 1 d -> b r 1 (h d)")
        gate = self.gate(x)
        return self.out(sigmoid_gate(found.expand_as(gate), gate))
