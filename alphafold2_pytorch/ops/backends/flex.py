"""PyTorch's `flex_attention` on a GPU: with a pair bias, or within blocks of positions."""

from functools import cache

import torch

from alphafold2_pytorch.ops.backends.base import (
    BACKENDS,
    HALF,
    lowest,
    no_cuda_kernel,
    zero_empty,
)
from alphafold2_pytorch.ops.choice import wants_gradients
from alphafold2_pytorch.typing import Bool, Float, Tensor

WIDTHS = range(16, 257)  # of a head: its matrix products begin at 16


@BACKENDS.register("flex")
class Flex:
    """Bias and mask are read where a logit is made, so both stay as small as they came.

    Not part of "auto": no page of benchmarks/results shows it on a GPU yet.
    """

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        if refusal := no_cuda_kernel(q, dropout, (*HALF, torch.float32)):
            return refusal
        if q.shape[-1] not in WIDTHS:
            return f"heads must be {WIDTHS[0]} to {WIDTHS[-1]} wide, got {q.shape[-1]}"
        return None

    @staticmethod
    def run(q, k, v, bias, mask, dropout, compiled: bool = True):
        """`compiled=False` computes it densely, without gradients, on any device: for tests."""
        b, r = q.shape[:2]
        attend = compiled_attention() if compiled else eager_attention()
        flat = (x.flatten(0, 1) for x in (q, k, v))
        out = attend(*flat, score_mod=score(bias, mask, r))
        return zero_empty(out.unflatten(0, (b, r)), mask)


def score(bias: Tensor | None, mask: Tensor | None, rows: int):
    """The function that adds the bias to one logit and hides the keys that the mask does not keep.

    `rows` of each batch element share a bias. Logits are float32 there.
    """

    def modified(logit, row, head, i, j):
        if bias is not None:
            logit = logit + bias[row // rows, head, i, j]
        if mask is not None:
            logit = torch.where(mask[row // rows, row % rows, j], logit, lowest(torch.float32))
        return logit

    return None if bias is None and mask is None else modified


def refuses_blocks(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float) -> str | None:
    """Why `run_blocks` cannot run, in words, or None."""
    if refusal := Flex.refuses(q, k, v, None, mask, dropout):
        return refusal
    if q.dtype in HALF and wants_gradients(q, k, v):
        return "its backward pass in half precision has no tiles as small as our blocks"
    return None


def run_blocks(
    q: Float[Tensor, "b r h n d"],
    k: Float[Tensor, "b r h n d"],
    v: Float[Tensor, "b r h n d"],
    mask: Bool[Tensor, "b r n"],
    table: Bool[Tensor, "blocks blocks"],
    block: int,
    compiled: bool = True,
) -> Float[Tensor, "b r h n d"]:
    """Attention where `table` (by blocks of positions) and `mask` (of keys) both allow it.

    `compiled` as in `Flex.run`.
    """
    b, r = q.shape[:2]
    block_mask = make_block_mask(mask.flatten(0, 1), table.to(q.device), block)
    tiles = {"fwd_BLOCK_M": block, "fwd_BLOCK_N": block, "FORCE_USE_FLEX_ATTENTION": True}
    attend = compiled_attention() if compiled else eager_attention()
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    out = attend(q, k, v, block_mask=block_mask, kernel_options=tiles)
    return out.unflatten(0, (b, r))


def make_block_mask(keep: Bool[Tensor, "rows n"], table: Bool[Tensor, "blocks blocks"], block: int):
    """The `BlockMask`: `table` says which blocks are computed, `keep` which of their keys count.

    Its `mask_mod` says all of that once more, entry by entry, as its contract asks.
    """
    from torch.nn.attention.flex_attention import BlockMask

    n = keep.shape[1]
    counts = table.sum(-1, dtype=torch.int32)
    # each row lists its blocks first, in order; what follows is not read
    listed = table.int().argsort(dim=-1, descending=True, stable=True).int()
    return BlockMask.from_kv_blocks(
        counts[None, None],
        listed[None, None],
        BLOCK_SIZE=block,
        mask_mod=lambda row, head, i, j: table[i // block, j // block] & keep[row, j],
        seq_lengths=(n, n),
    )


def eager_attention():
    """The definition that `compiled_attention` is made of."""
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention


@cache
def compiled_attention():
    """`flex_attention` is a fused kernel only when compiled."""
    return torch.compile(eager_attention())
