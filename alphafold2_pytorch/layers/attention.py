"""Gated multi-head attention along one axis, the layer under every attention of the library."""

from einops import rearrange
from torch import nn

from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.rotary import Rotary
from alphafold2_pytorch.ops import Attend, SparseAttend, TiedAttend
from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.ops.linear import Together
from alphafold2_pytorch.ops.runtime import Rows, added
from alphafold2_pytorch.typing import Bool, Float, Tensor


class GatedAttention(nn.Module):
    """Attention over axis 2, each entry of axis 1 on its own, with a sigmoid gate on the result.

    Expects normed input, or a `norm`. Jumper et al. (2021) Suppl. Alg. 7 (and 8, 13, 14: who is a
    row, and which bias is added, is the caller's business). `rotary` turns queries and keys by
    their place on axis 2; `sparse` skips blocks of keys (`ops/sparse.py`; no bias, no context);
    `tied` uses one map for all of axis 1 (no context).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        dim_head: int,
        dropout: float = 0.0,
        rotary: bool = False,
        sparse: bool = False,
        tied: bool = False,
    ):
        super().__init__()
        inner = heads * dim_head
        self.heads = heads
        self.q = linear(dim, inner, bias=False)
        self.kv = linear(dim, 2 * inner, bias=False)
        self.gate = linear(dim, inner, role="gate")
        self.out = linear(inner, dim, role="final")
        self.rotary, self.rows = Rotary(dim_head) if rotary else None, Rows()
        self.tied, self.widths = tied, (dim, inner)
        attend = SparseAttend(dropout) if sparse else Attend(dropout)
        self.attend = TiedAttend(attend) if tied else attend

    def forward(
        self,
        x: Float[Tensor, "b r n d"],
        mask: Bool[Tensor, "b r m"] | None = None,
        bias: Float[Tensor, "b h n m"] | None = None,
        context: Float[Tensor, "b r m d"] | None = None,
        norm: nn.Module | None = None,
        into: Float[Tensor, "b r n d"] | None = None,
    ) -> Float[Tensor, "b r n d"] | None:
        """`norm` is applied to `x` first, of which then nothing as large has to be made.

        With `into`, the result is added to that, which may be `x`.
        """

        dim, inner = self.widths  # of the norm and the result; of q, k, v, the gate and their value
        keys = () if context is not None else (self.kv,)
        project = Together(inner, self.q, self.gate, *keys)

        def run(
            x: Tensor,
            mask: Tensor | None,
            context: Tensor | None,
            bias: Tensor | None,
            *tensors: Tensor | None,
        ) -> Tensor:
            q, gate, *kv = project(x if norm is None else norm(x), *tensors)
            k, v = kv or self.kv(context).split(inner, -1)
            return sigmoid_gate(self._attended(q, k, v, mask, bias), gate)

        whole = (bias, *project.tensors)
        if self.tied:
            return added(self.out(run(x, mask, context, *whole)), into)
        reads = (self,) if norm is None else (self, norm)
        growth = 2 + 5 * inner / dim
        given = {"whole": whole, "reads": reads, "last": self.out, "into": into}
        return self.rows(run, x, growth, mask, context, **given)

    def _attended(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        q, k, v = (rearrange(x, "b r n (h d) -> b r h n d", h=self.heads) for x in (q, k, v))
        if self.rotary is not None:
            q, k = (self.rows(self.rotary, each, 3) for each in (q, k))
        return rearrange(self.attend(q, k, v, bias, mask), "b r h n d -> b r n (h d)")
