"""Products of stacks of matrices, by oneDNN where that is faster and just as exact.

In float32 PyTorch gives them to MKL, which has no AVX-512 for AMD's processors, and to oneDNN only
where less than float32 is allowed. A processor without AMX has no use for that permission: oneDNN
computes in float32 all the same, twice as fast. `exact` makes sure of it before it is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch

from alphafold2_pytorch.ops import linear
from alphafold2_pytorch.ops.pieces import MOST
from alphafold2_pytorch.ops.runtime import stack
from alphafold2_pytorch.typing import Float, Tensor

# Inner size, rows and columns of the products that `exact` tries.
TRIED = ((32, 256, 256), (32, 128, 128), (256, 256, 32), (128, 100, 32), (512, 64, 80), (3, 17, 9))
WORSE = 10  # times PyTorch's own error is still a matter of order; bfloat16 would be 1,000 times


def batched(
    left: Float[Tensor, "b i k"], right: Float[Tensor, "b k j"], named: str = "auto"
) -> Float[Tensor, "b i j"]:
    """left right, matrix by matrix; `named` as `Runtime.linear`, of which "torch" is obeyed.

    With gradients by PyTorch's own choice: oneDNN adds up in another order, and over a backward
    pass too its rounding came to more than twice MKL's.
    """
    if named == "torch" or torch.is_grad_enabled() or not faster(left, right, named):
        return torch.bmm(left, right)
    return by_onednn(left, right)


def products(
    left: Float[Tensor, "b d i k"], right: Float[Tensor, "b d j k"], turned: bool, named: str
) -> Float[Tensor, "b d i j"]:
    """left right^T of each matrix, or left^T right if they are `turned` (k i and k j).

    In float32 where they came in float16, which has no room for the sum. Without gradients what is
    found is written over `left`.
    """
    if left.dtype == torch.float16:
        with torch.autocast(left.device.type, enabled=False):
            return products(left.float(), right.float(), turned, named)
    bytes_each = left.element_size() * left[0, 0].numel()
    size = max(1, MOST.get(left.device.type, MOST["cpu"]) // max(bytes_each, 1))
    whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
    found = []
    for lefts, rights in zip(left, right, strict=True):
        pairs = zip(lefts.split(size), rights.split(size), strict=True)
        for mine, theirs in [(lefts, rights)] if whole else pairs:
            product = batched(*((mine.mT, theirs) if turned else (mine, theirs.mT)), named)
            found.append(product if whole else mine.copy_(product))
    return stack(found) if whole else left


def faster(left: Tensor, right: Tensor, named: str = "auto") -> bool:
    """Whether oneDNN is the better choice, or asked for by name; and exact."""
    if left.numel() * right.shape[-1] < linear.LEAST or linear.refuses(left, right):
        return False
    return (named == "onednn" or not linear.intel()) and exact()


def by_onednn(left: Tensor, right: Tensor) -> Tensor:
    """The product with the permission that sends it to oneDNN."""
    with permission():
        return torch.bmm(left, right)


@contextmanager
def permission() -> Iterator[None]:
    """PyTorch may let oneDNN compute products of float32 in bfloat16."""
    settings: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


@lru_cache(maxsize=1)
def exact() -> bool:
    """Whether this processor makes no use of the permission: its products are compared."""
    if not torch.backends.mkldnn.is_available() or torch.cpu._is_amx_tile_supported():
        return False
    random = torch.Generator().manual_seed(0)
    for inner, rows, columns in TRIED:
        left = torch.randn(4, rows, inner, generator=random)
        right = torch.randn(4, inner, columns, generator=random)
        true = torch.bmm(left.double(), right.double())
        usual, found = (
            (x - true).abs().max() for x in (torch.bmm(left, right), by_onednn(left, right))
        )
        if not found <= WORSE * usual:
            return False
    return True
