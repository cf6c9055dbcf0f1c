"""Calls of the operations that have backends, and how far one backend is from another."""

import pytest
import torch

from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.ops.triangles import TRIANGLES, TriangleWeights
from alphafold2_pytorch.typing import Tensor

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def numbers(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    """Normal numbers that `dtype` can hold."""
    return (scale * torch.randn(*shape)).to(dtype).requires_grad_()


def attention_call(n, dtype, bias=True, mask=True, m=None, b=2, r=3, h=2, d=16) -> tuple:
    """What `Attend` hands a backend; of the mask one row keeps nothing."""
    m = m or n
    keep = torch.rand(b, r, m) > 0.3
    keep[0, 0], keep[0, 1] = False, True
    q, k, v = (numbers(b, r, h, length, d, dtype=dtype) for length in (n, m, m))
    added = numbers(b, h, n, m, dtype=dtype) if bias else None
    return q, k, v, added, keep if mask else None, 0.0


def triangle_call(n, dtype, outgoing=True, dim=32, hidden=32, b=1) -> tuple:
    """What `TriangleUpdate` hands a backend; some residues are not there at all."""
    keep = torch.rand(b, n) > 0.2
    keep[:, 0] = False
    mask = keep[:, :, None] & keep[:, None] & (torch.rand(b, n, n) > 0.1)
    linear = ((2 * hidden, dim), (2 * hidden, dim), (dim, hidden), (dim, dim))
    edges, gates, out, gate = (
        (numbers(o, i, dtype=dtype, scale=i**-0.5), numbers(o, dtype=dtype)) for o, i in linear
    )
    norm, norm_out = ((numbers(w, dtype=dtype), numbers(w, dtype=dtype)) for w in (dim, hidden))
    weights = TriangleWeights(*norm, *edges, *gates, *norm_out, *out, *gate)
    return numbers(b, n, n, dim, dtype=dtype), mask, outgoing, weights


def moved(call: tuple, *where) -> tuple:
    """The same call on another device, or its numbers in another dtype."""

    def move(x):
        if isinstance(x, TriangleWeights):
            return TriangleWeights(*map(move, x))
        if not isinstance(x, Tensor) or not (x.is_floating_point() or torch.float64 not in where):
            return x
        return x.detach().to(*where).requires_grad_(x.requires_grad)

    return tuple(map(move, call))


def skip_if_refused(registry, name: str, call: tuple) -> None:
    """Nothing refuses "auto"."""
    if name != "auto" and (refusal := registry[name].refuses(*call)) is not None:
        pytest.skip(f"{name}: {refusal}")


def run(registry, name: str, call: tuple, direction: Tensor | None = None) -> list[Tensor]:
    """The output, and the gradient of everything that wants one along `direction`."""
    rows = (Rows(),) if registry is TRIANGLES else ()
    out = registry[name].run(*call, *rows)
    leaves = [each for each in flat(call) if each is not None and each.requires_grad]
    direction = torch.ones_like(out) if direction is None else direction
    return [out, *torch.autograd.grad(out, leaves, direction.to(out.dtype))]


def flat(call: tuple) -> list[Tensor | None]:
    parts = (each if isinstance(each, TriangleWeights) else (each,) for each in call)
    return [x for part in parts for x in part if x is None or isinstance(x, Tensor)]


def distances(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    """Of each pair of tensors, the norm of the difference by that of the second."""
    pairs = zip(found, exact, strict=True)
    return [((x.double() - y).norm() / y.norm()).item() for x, y in pairs]


ATTENTION = sorted(set(BACKENDS.entries) - {"reference"})
TRIANGLE = sorted(set(TRIANGLES.entries) - {"reference"})
