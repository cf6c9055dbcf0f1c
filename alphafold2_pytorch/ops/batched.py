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
from torch.autograd.function import once_differentiable

from alphafold2_pytorch.ops import linear
from alphafold2_pytorch.ops.pieces import MOST
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
    both: Float[Tensor, "b two_d i k"], turned: bool, named: str
) -> Float[Tensor, "b d i j"]:
    """left right^T of each matrix of both halves, or left^T right if they are `turned`.

    In float32 where they came in float16, which has no room for the sum. Without gradients what is
    found is written over the left half.
    """
    if both.dtype == torch.float16:
        with torch.autocast(both.device.type, enabled=False):
            return products(both.float(), turned, named)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        plain = torch.compiler.is_compiling() or torch.is_autocast_enabled(both.device.type)
        return halves(both, turned) if plain else Halves.apply(both, turned)
    left, right = both.chunk(2, 1)
    size = max(1, MOST.get(left.device.type, MOST["cpu"]) // max(left[0, 0].nbytes, 1))
    for lefts, rights in zip(left, right, strict=True):
        for mine, theirs in zip(lefts.split(size), rights.split(size), strict=True):
            pair = (mine.mT, theirs) if turned else (mine, theirs.mT)
            mine.copy_(batched(*pair, named))
    return left


def halves(both: Tensor, turned: bool) -> Tensor:
    """The products, by PyTorch's own choice."""
    left, right = both.chunk(2, 1)
    return left.mT @ right if turned else left @ right.mT


class Halves(torch.autograd.Function):
    """Writes the gradients of both halves where they belong: autograd would join them by a copy."""

    @staticmethod
    def forward(ctx: Any, both: Any, turned: Any) -> Any:
        ctx.save_for_backward(both)
        ctx.turned = turned
        return halves(both, turned)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Any) -> Any:
        [both] = ctx.saved_tensors
        found = torch.empty_like(both)
        for each, left, right, of in zip(slope, *both.chunk(2, 1), found, strict=True):
            of_left, of_right = of.chunk(2)
            torch.bmm(*((right, each.mT) if ctx.turned else (each, right)), out=of_left)
            torch.bmm(*((left, each) if ctx.turned else (each.mT, left)), out=of_right)
        return found, None


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
