"""Layers on features that turn with the world: a tensor a degree, 2l + 1 components, channels last.

Degree 0 does not turn, degree 1 turns like points (x, y, z); see `geometry/so3.py`. Mirror images
are told apart, as chains of amino acids need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce
from math import sqrt

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from alphafold2_pytorch.geometry.so3 import coupling, directions, solid_harmonics
from alphafold2_pytorch.graphs import constant_in_graphs
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.typing import Float, Tensor

Degrees = list[Float[Tensor, "... _ _"]]  # 2l + 1 components, d channels, for l = 0, 1, ...
SMOOTH = 0.1  # angstrom; below it the direction of an edge fades, so that nothing jumps at 0


class DegreeLinear(nn.Module):
    """Mix the channels of each degree; only degree 0 has a bias. Degrees without output end here.

    `role` as in `layers/init.py`.
    """

    def __init__(self, dim: Sequence[int], dim_out: Sequence[int], role: str = "plain"):
        super().__init__()
        self.layers = nn.ModuleList(
            linear(d, out, bias=degree == 0, role=role)
            for degree, (d, out) in enumerate(zip(dim, dim_out, strict=False))
        )

    def forward(self, x: Degrees) -> Degrees:
        return [layer(each) for layer, each in zip(self.layers, x, strict=False)]


class DegreeNorm(nn.Module):
    """Layer norm of degree 0; other degrees to a mean square of 1 over components and channels.

    Liao and Smidt (2022) Sec. 4.1.
    """

    def __init__(self, dim: Sequence[int], eps: float = 1e-5):
        super().__init__()
        self.scalars = nn.LayerNorm(dim[0])
        self.scales = nn.ParameterList(torch.ones(d) for d in dim[1:])
        self.eps = eps

    def forward(self, x: Degrees) -> Degrees:
        normed = [self.scalars(x[0])]
        for each, scale in zip(x[1:], self.scales, strict=True):
            square = each.square().mean((-2, -1), keepdim=True)
            normed.append(each * torch.rsqrt(square + self.eps) * scale)
        return normed


class Gate(nn.Module):
    """SiLU of degree 0; each channel of the others by the sigmoid of a scalar of its own.

    Reads `dim_in` channels: behind those of degree 0 come the scalars that gate.
    Weiler et al. (2018).
    """

    def __init__(self, dim: Sequence[int]):
        super().__init__()
        self.dim = tuple(dim)
        self.dim_in = (sum(dim), *dim[1:])

    def forward(self, x: Degrees) -> Degrees:
        scalars, *gates = x[0].split(self.dim, dim=-1)
        gated = [each * gate.sigmoid() for each, gate in zip(x[1:], gates, strict=True)]
        return [F.silu(scalars), *gated]


def paths(degree: int, out: int, degrees: int) -> range:
    """The degrees of harmonics, below `degrees`, that couple `degree` to `out`."""
    return range(abs(degree - out), min(degree + out, degrees - 1) + 1)


def product_widths(dim: Sequence[int], degrees: int) -> list[int]:
    """How many channels of each degree the products of `dim` channels with harmonics have."""
    return [
        sum(d * len(paths(degree, out, degrees)) for degree, d in enumerate(dim))
        for out in range(degrees)
    ]


@dataclass(frozen=True)
class Couplings:
    """The depthwise tensor product with the harmonics of edges, as one matrix an edge and degree.

    Each channel of degree l is multiplied with the harmonics and coupled to every degree, on every
    path there is; the rows of a matrix are the products' degree, component and path. `joined` are
    the matrices of `apart` with the neighbours side by side. They depend on coordinates only, so
    all layers share them. Liao and Smidt (2022) Sec. 4.2.
    """

    apart: tuple[Float[Tensor, "b n k _ _"], ...]
    joined: tuple[Float[Tensor, "b n _ k _"], ...]

    @classmethod
    def of(cls, vectors: Float[Tensor, "b n k 3"], degrees: int) -> "Couplings":
        """`vectors` in angstrom; an edge of length zero has harmonics of degree 0 only."""
        harmonics = torch.cat(solid_harmonics(directions(vectors, SMOOTH), degrees - 1), dim=-1)
        apart = []
        for degree in range(degrees):
            table = _table(degree, degrees, vectors)
            apart.append((harmonics @ table.flatten(1)).unflatten(-1, table.shape[1:]))
        return cls(tuple(apart), tuple(each.transpose(2, 3).contiguous() for each in apart))

    def _rows(self, degree: int) -> list[int]:
        degrees = len(self.apart)
        return [(2 * out + 1) * len(paths(degree, out, degrees)) for out in range(degrees)]

    def products(self, x: Degrees) -> Degrees:
        """`b n k m d` on edges -> `b n k m c`; c as `product_widths` says."""
        found: list[list[Tensor]] = [[] for _ in self.apart]
        for degree, each in enumerate(x):
            rows = self.apart[degree] @ each
            for out, some in enumerate(rows.split(self._rows(degree), dim=-2)):
                found[out].append(some.unflatten(-2, (2 * out + 1, -1)).flatten(-2))
        return [torch.cat(each, dim=-1) for each in found]

    def summed_products(
        self,
        x: Degrees,
        weights: list[Float[Tensor, "b n k _"]],
        layers: Sequence[Float[Tensor, "_ _ _"]],
    ) -> Degrees:
        """The sums over neighbours of the products by `weights`, through a linear layer a head.

        For each degree that comes out `weights` are `b n k h`, `layers` are `h c d`, and what comes
        is `b n m (h d)`. No product of an edge is ever in memory.
        """
        found: list[list[Tensor]] = [[] for _ in weights]
        first = [0] * len(weights)  # channel that the next sum begins with
        for degree, each in enumerate(x):
            side_by_side = each.flatten(2, 3)
            rows = self.joined[degree].split(self._rows(degree), dim=2)
            for out, (some, weight) in enumerate(zip(rows, weights, strict=False)):
                weighted = weight.mT[:, :, :, None, :, None] * some[:, :, None]
                total = weighted.flatten(4, 5).flatten(2, 3) @ side_by_side
                total = total.unflatten(2, (weight.shape[-1], 2 * out + 1, -1)).flatten(4)
                layer = layers[out].narrow(1, first[out], total.shape[-1])
                first[out] += total.shape[-1]
                found[out].append(torch.einsum("bnhmc,hcd->hbnmd", total, layer))
        return [rearrange(reduce(torch.add, each), "h b n m d -> b n m (h d)") for each in found]


def _table(degree: int, degrees: int, like: Tensor) -> Float[Tensor, "harmonics rows _"]:
    """Harmonics (all degrees in a row) to the matrix of one degree, with 2l+1 columns."""
    table = torch.tensor(_constants(degree, degrees), dtype=like.dtype, device=like.device)
    return table.view(degrees**2, -1, 2 * degree + 1)


@constant_in_graphs
def _constants(degree: int, degrees: int) -> tuple[float, ...]:
    """As plain numbers, which a compiled function takes as they are."""
    return _numbers(degree, degrees)


@cache
def _numbers(degree: int, degrees: int) -> tuple[float, ...]:
    """Couplings on all paths, scaled so that components of unit variance stay so."""
    blocks = []
    for out in range(degrees):
        ways = paths(degree, out, degrees)
        block = np.zeros((degrees**2, 2 * out + 1, len(ways), 2 * degree + 1))
        for path, ell in enumerate(ways):
            joins = sqrt(2 * out + 1) * coupling(degree, ell, out)
            block[ell**2 : (ell + 1) ** 2, :, path] = joins.transpose(1, 2, 0)
        blocks.append(block.reshape(degrees**2, -1, 2 * degree + 1))
    return tuple(np.concatenate(blocks, axis=1).ravel().tolist())
