"""Block-sparse attention: which blocks of keys a block of queries sees, and nothing else read."""

import torch
from torch.utils.checkpoint import checkpoint

from alphafold2_pytorch.ops.attention import Attend
from alphafold2_pytorch.ops.backends import flex
from alphafold2_pytorch.ops.runtime import Operation
from alphafold2_pytorch.typing import Bool, Float, Tensor

BLOCK = 16  # positions


def block_table(length: int) -> Bool[Tensor, "blocks blocks"]:
    """Which blocks of 16 keys each block of 16 queries sees, over `length` positions.

    Block i sees block j if they are the same or neighbours (local window), if either is the first
    (global: it sees all and all see it), or if they are 4, 8, 16, ... blocks apart (strided, in
    strides that double). That depends on i and j alone, so padding the end changes no other entry.
    Of B blocks a block after the first sees at most 2 + 2 log2(B): the work of all together grows
    as B log B, 14 of 16 entries for 64 positions, 40 of 64 for 128, 698 of 4096 for 1024.
    Global, local and strided parts: Child et al. (2019), Zaheer et al. (2020).
    """
    place = torch.arange(-(-length // BLOCK))
    apart = (place[:, None] - place).abs()
    local = apart <= 1
    first = (place[:, None] == 0) | (place == 0)
    strided = (apart >= 4) & (apart & (apart - 1) == 0)  # a power of two has one bit
    return local | first | strided


class SparseAttend(Operation):
    """`Attend` within the blocks of `block_table`; queries and keys are the same positions.

    On a GPU the table is the block mask of `flex_attention`. Where that refuses, and where
    `Runtime(attention=...)` names another kernel, each block of queries runs a dense kernel on the
    keys that it sees, gathered. The backward pass gathers and computes them again: kept, they would
    take more memory than dense attention. `ValueError` for a pair bias, and where
    `flex_attention` is asked for by name and refuses.
    """

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.attend = Attend(dropout)

    def forward(
        self,
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h n d"],
        v: Float[Tensor, "b r h n d"],
        bias: Float[Tensor, "b h n n"] | None = None,
        mask: Bool[Tensor, "b r n"] | None = None,
    ) -> Float[Tensor, "b r h n d"]:
        if bias is not None:
            raise ValueError("block-sparse attention takes no pair bias; use Attend")
        b, r, h, n, d = q.shape
        if mask is None:
            mask = q.new_ones(b, r, n, dtype=torch.bool)
        table = block_table(n)
        dropout = self.attend.dropout if self.training else 0.0
        if self._in_blocks(q, k, v, mask, dropout):
            return flex.run_blocks(q, k, v, mask, table, BLOCK)

        def run(start: int, stop: int) -> Tensor:
            rows = slice(start, stop)
            return self._gathered(q[:, rows], k[:, rows], v[:, rows], mask[:, rows], table)

        # the first block gathers all keys and values; its logits are written twice
        return self.chunked(run, r, 2 * b * h * n * (d + BLOCK) * q.element_size(), 1)

    def weights(
        self,
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h n d"],
        bias: None = None,
        mask: Bool[Tensor, "b r n"] | None = None,
    ) -> Float[Tensor, "b r h n n"]:
        """As `Attend.weights`; zero for keys in blocks that a query does not see."""
        n = q.shape[3]
        mask = q.new_ones(*q.shape[:2], n, dtype=torch.bool) if mask is None else mask
        table = block_table(n).repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)[:n, :n]
        out = q.new_zeros(*q.shape[:-1], n)
        for start in range(0, n, BLOCK):
            rows = slice(start, start + BLOCK)
            seen = table[start].to(q.device)
            keys, keep = k[..., seen, :], mask[..., seen]
            out[..., rows, seen] = self.attend.weights(q[..., rows, :], keys, None, keep)
        return out

    def _in_blocks(self, q: Tensor, *rest) -> bool:
        """Whether `flex_attention` runs, else keys are gathered."""
        named, refusal = self.runtime.attention, flex.refuses_blocks(q, *rest)
        if named == "flex" and refusal is not None:
            raise ValueError(f"attention backend 'flex' refuses these blocks: {refusal}")
        if refusal is None and named in ("auto", "flex"):
            why = "slower here" if named == "auto" else "'flex' is asked for by name"
            self.ran("flex blocks", q, lambda: {"gathered": why})
            return True
        why = refusal or f"{named!r} is asked for by name"
        self.ran("gathered", q, lambda: {"flex blocks": why})
        return False

    def _gathered(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, table: Tensor) -> Tensor:
        queries, keys, values = (x.split(BLOCK, dim=-2) for x in (q, k, v))
        keep = mask.split(BLOCK, dim=-1)

        def block(i: int) -> Tensor:
            seen = table[i].nonzero()[:, 0].tolist()
            return self.attend(
                queries[i],
                torch.cat([keys[j] for j in seen], dim=-2),
                torch.cat([values[j] for j in seen], dim=-2),
                mask=torch.cat([keep[j] for j in seen], dim=-1),
            )

        if torch.is_grad_enabled():
            out = [checkpoint(block, i, use_reentrant=False) for i in range(len(table))]
        else:
            out = [block(i) for i in range(len(table))]
        return torch.cat(out, dim=-2)
