"""Block-sparse attention on a GPU: PyTorch's `flex_attention` with a block mask.

No entry of `BACKENDS`, since it skips keys: `ops/sparse.py` calls it.
"""

from functools import cache

import torch

from alphafold2_pytorch.typing import Bool, Float, Tensor

HALF = (torch.float16, torch.bfloat16)
WIDTHS = range(16, 257)  # of a head: its matrix products begin at 16


def refuses(q: Tensor, dropout: float) -> str | None:
    """Why the kernel cannot run, in words, or None."""
    if q.device.type != "cuda":
        return "it runs on CUDA only"
    if dropout:
        return "it has no dropout"
    if q.shape[-1] not in WIDTHS:
        return f"heads must be {WIDTHS[0]} to {WIDTHS[-1]} wide, got {q.shape[-1]}"
    if q.dtype in HALF and torch.is_grad_enabled():
        return "its backward pass in half precision has no tiles as small as our blocks"
    if q.dtype not in (*HALF, torch.float32):
        return f"it has no {q.dtype}"
    return None


def run(
    q: Float[Tensor, "b r h n d"],
    k: Float[Tensor, "b r h n d"],
    v: Float[Tensor, "b r h n d"],
    mask: Bool[Tensor, "b r n"],
    table: Bool[Tensor, "blocks blocks"],
    block: int,
    compiled: bool = True,
) -> Float[Tensor, "b r h n d"]:
    """Attention where `table` (by blocks of positions) and `mask` (of keys) both allow it.

    `compiled=False` computes it densely, without gradients, on any device: for tests.
    """
    from torch.nn.attention.flex_attention import flex_attention

    b, r = q.shape[:2]
    block_mask = make_block_mask(mask.flatten(0, 1), table.to(q.device), block)
    tiles = {"fwd_BLOCK_M": block, "fwd_BLOCK_N": block, "FORCE_USE_FLEX_ATTENTION": True}
    attend = compiled_attention() if compiled else flex_attention
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


@cache
def compiled_attention():
    """`flex_attention` is a fused kernel only when compiled."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
