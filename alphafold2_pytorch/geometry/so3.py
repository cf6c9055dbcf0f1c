"""Real irreducible representations of rotations: harmonics, Wigner matrices, couplings.

A feature of degree l has 2l + 1 components, in the order m = -l ... l about the polar axis y; so
degree 1 is (x, y, z), and turns like a point. Everything comes in the dtype of its input. The
constants are computed once a process, in float64, and kept in memory only.

Harmonics are component-normalised: over random directions each component has a mean square of 1,
so the 2l + 1 squares of one direction add up to 2l + 1; the phase of Condon and Shortley is left
out. Both choices are those of Geiger and Smidt (2022).
"""

from functools import cache
from math import factorial, sqrt

import numpy as np
import torch

from alphafold2_pytorch.graphs import constant_in_graphs
from alphafold2_pytorch.typing import Float, Tensor


def directions(vectors: Float[Tensor, "*n 3"], smooth: float = 0.0) -> Float[Tensor, "*n 3"]:
    """Unit vectors; the zero vector stays zero, and its gradient is zero.

    With `smooth`, vectors not much longer than it become shorter than 1, so that nothing jumps
    where two points meet: v / sqrt(v^2 + smooth^2).
    """
    square = (vectors * vectors).sum(-1, keepdim=True)
    if smooth:
        return vectors * (square + smooth**2).rsqrt()
    there = square > 0
    return vectors * torch.where(there, torch.where(there, square, 1.0).rsqrt(), 0.0)


def solid_harmonics(vectors: Float[Tensor, "*n 3"], degree: int) -> list[Tensor]:
    """r^l times the harmonics of degree l, as `(*n, 2l + 1)` for each l from 0 to `degree`.

    Polynomials of x, y and z, so smooth everywhere; those above degree 0 vanish at zero.
    """
    x, y, z = vectors.unbind(-1)
    square = x * x + y * y + z * z
    # cos[m] + i sin[m] = (z + i x)^m; along[ell][m] is the rest of the polynomial, in y and r^2
    cos, sin = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(degree):
        cos, sin = [*cos, z * cos[-1] - x * sin[-1]], [*sin, z * sin[-1] + x * cos[-1]]
    along: list[list[Tensor]] = []
    for ell in range(degree + 1):
        row = []
        for m in range(ell - 1):
            turn = (2 * ell - 1) * y * along[ell - 1][m] - (ell + m - 1) * square * along[ell - 2][
                m
            ]
            row.append(turn / (ell - m))
        if ell:
            row.append((2 * ell - 1) * y * along[ell - 1][ell - 1])
        row.append(torch.full_like(x, float(factorial(2 * ell) // (2**ell * factorial(ell)))))
        along.append(row)
    found = []
    for ell, row in enumerate(along):
        size = [sqrt(2 * ell + 1)]
        for m in range(1, ell + 1):
            size.append(size[0] * sqrt(2 * factorial(ell - m) / factorial(ell + m)))
        parts = [size[m] * row[m] * sin[m] for m in range(ell, 0, -1)]
        parts += [size[m] * row[m] * cos[m] for m in range(ell + 1)]
        found.append(torch.stack(parts, -1))
    return found


def spherical_harmonics(vectors: Float[Tensor, "*n 3"], degree: int) -> list[Tensor]:
    """Harmonics of the directions of `vectors`, as `(*n, 2l + 1)` for each l from 0 to `degree`.

    The zero vector has no direction: there all above degree 0 are zero, and so are their gradients.
    """
    return solid_harmonics(directions(vectors), degree)


def wigner(rotation: Float[Tensor, "*n 3 3"], degree: int) -> list[Tensor]:
    """What a rotation does to each degree, as `(*n, 2l + 1, 2l + 1)` for each l up to `degree`.

    Y(R v) = D(R) Y(v), and D(R S) = D(R) D(S); degree 1 is the rotation itself.
    """
    found = [torch.ones_like(rotation[..., :1, :1])]
    for ell in range(1, degree + 1):
        into = coupling_tensor(1, ell - 1, ell, rotation)
        both = torch.einsum("...ac,...bd,cdn->...abn", rotation, found[-1], into)
        found.append((2 * ell + 1) * torch.einsum("abm,...abn->...mn", into, both))
    return found


@cache
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """The one tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) that joins degrees l1 and l2 to degree l3.

    Real Clebsch-Gordan coefficients in float64, scaled so that the sum of all squares is 1, with
    the sign that makes the first entry that is not zero positive: (1, 1, 0) is the dot product over
    sqrt(3), (1, 1, 1) the cross product over sqrt(6). `ValueError` for degrees that do not couple.
    """
    if min(l1, l2) < 0 or not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(
            f"degrees {l1} and {l2} do not couple to {l3}: it must be from |l1 - l2| to l1 + l2"
        )
    table = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1), dtype=complex)
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            table[l1 + m1, l2 + m2, l3 + m1 + m2] = _clebsch_gordan(l1, m1, l2, m2, l3)
    left, right, out = (_complex_to_real(ell) for ell in (l1, l2, l3))
    table = np.einsum("ai,bj,ck,ijk->abc", left.conj(), right.conj(), out, table)
    # all entries share a phase, 1 or i
    real = table.real if (l1 + l2 + l3) % 2 == 0 else table.imag
    real = real / np.linalg.norm(real)
    real[np.abs(real) < 1e-12] = 0.0
    real *= np.sign(real[np.nonzero(real)][0])
    real.flags.writeable = False
    return real


def coupling_tensor(l1: int, l2: int, l3: int, like: Tensor) -> Tensor:
    """`coupling` with the dtype and device of another tensor."""
    return torch.tensor(_numbers(l1, l2, l3), dtype=like.dtype, device=like.device)


@constant_in_graphs
def _numbers(l1: int, l2: int, l3: int) -> tuple:
    """As plain numbers, which a compiled function takes as they are."""
    return tuple(tuple(map(tuple, plane)) for plane in coupling(l1, l2, l3).tolist())


def _clebsch_gordan(l1: int, m1: int, l2: int, m2: int, l3: int) -> float:
    """<l1 m1 l2 m2 | l3 m1+m2>: Racah (1942) eq. 16, in whole numbers up to the last roots."""
    m3 = m1 + m2
    f = factorial
    total = 0.0
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        below = f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k) * f(l2 + m2 - k)
        below *= f(l3 - l2 + m1 + k) * f(l3 - l1 - m2 + k)
        total += (-1) ** k / below
    triangle = f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(l2 - l1 + l3) / f(l1 + l2 + l3 + 1)
    moments = f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3) * f(l3 - m3)
    return total * sqrt((2 * l3 + 1) * triangle * moments)


def _complex_to_real(ell: int) -> np.ndarray:
    """The unitary matrix that takes complex harmonics (with Condon-Shortley phase) to real ones."""
    q = np.zeros((2 * ell + 1, 2 * ell + 1), dtype=complex)
    q[ell, ell] = 1
    for m in range(1, ell + 1):
        q[ell + m, ell + m], q[ell + m, ell - m] = (-1) ** m / sqrt(2), 1 / sqrt(2)
        q[ell - m, ell - m], q[ell - m, ell + m] = 1j / sqrt(2), -1j * (-1) ** m / sqrt(2)
    return q


def edge_kernels(
    harmonics: list[Tensor], l_in: int, l_out: int
) -> Float[Tensor, "*n p m_out m_in"]:
    """The maps from degree `l_in` to `l_out` that a direction offers, one for each l between.

    `harmonics` of degree 0 to at least l_in + l_out; map number p couples with degree
    |l_in - l_out| + p. Thomas et al. (2018) eq. 6 without the radial part, scaled so that
    components of unit variance stay so.
    """
    return torch.stack(
        [
            sqrt(2 * l_out + 1)
            * torch.einsum(
                "...j,ijo->...oi", harmonics[ell], coupling_tensor(l_in, ell, l_out, harmonics[ell])
            )
            for ell in range(abs(l_in - l_out), l_in + l_out + 1)
        ],
        dim=-3,
    )


def turn_to_axis(units: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """A rotation that takes each unit vector to the polar axis y; no rotation for zero.

    Half a turn about the line between the vector and the nearer end of the axis, then, if that is
    -y, half a turn about x: well-conditioned for every vector. It jumps where y = 0, by a turn
    about the axis, which `axial_product` does not see.
    """
    x, y, z = units.unbind(-1)
    up = y >= 0
    middle = torch.stack([x, y + torch.where(up, 1.0, -1.0), z], -1)
    square = (middle * middle).sum(-1)[..., None, None]
    outer = middle[..., :, None] * middle[..., None, :]
    half = 2 * outer / square - torch.eye(3, dtype=units.dtype, device=units.device)
    sign = torch.where(up[..., None], 1.0, units.new_tensor([1.0, -1.0, -1.0]))
    return sign[..., None] * half


def axial_weights(degrees_in: int, degrees_out: int) -> int:
    """How many weights `axial_product` reads for each channel."""
    pairs = [(i, o) for o in range(degrees_out) for i in range(degrees_in)]
    return sum(2 * min(pair) + 1 for pair in pairs)


def axial_product(
    features: list[Tensor], weights: Float[Tensor, "*n p c"], degrees_out: int
) -> list[Tensor]:
    """Every linear map of features `(*n, 2l + 1, c)` that turns about the axis y leave as it is.

    In the frame in which an edge lies along y, this is the tensor product with its harmonics, each
    coupling and channel with a weight of its own: components m and -m only see one another, as
    Passaro and Zitnick (2023) found. Takes far less time and memory than `edge_kernels`.
    """
    weight = iter(weights.unbind(-2))
    found = []
    for out in range(degrees_out):
        parts: list[Tensor | None] = [None] * (2 * out + 1)
        for inner, feature in enumerate(features):
            rows = feature.unbind(-2)
            for m in range(min(inner, out) + 1):
                same = next(weight)
                if m == 0:
                    parts[out] = _add(parts[out], same, rows[inner])
                    continue
                cross, low, high = next(weight), rows[inner - m], rows[inner + m]
                parts[out + m] = _add(_add(parts[out + m], same, high), -cross, low)
                parts[out - m] = _add(_add(parts[out - m], same, low), cross, high)
        zero = torch.zeros_like(features[0][..., 0, :])
        found.append(torch.stack([zero if part is None else part for part in parts], -2))
    return found


def _add(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    return left * right if total is None else torch.addcmul(total, left, right)
