"""Harmonics, Wigner matrices and couplings against formulas and against each other, in float64."""

from math import sqrt

import numpy as np
import pytest
import torch
from kit import random_rigid

from alphafold2_pytorch.geometry import so3

TOP = 4
COUPLINGS = [
    (a, b, c)
    for a in range(TOP + 1)
    for b in range(TOP + 1)
    for c in range(abs(a - b), min(a + b, TOP) + 1)
]


def points(count=20):
    return torch.randn(count, 3, dtype=torch.float64)


def rotations(count=5):
    return random_rigid(count).rot


def close(got, expected, atol=1e-10):
    torch.testing.assert_close(got, expected, rtol=0, atol=atol)


def test_harmonics_equal_their_formulas_to_degree_3():
    v = points()
    x, y, z = (v / v.norm(dim=-1, keepdim=True)).unbind(-1)
    expected = [
        [torch.ones_like(x)],
        [sqrt(3) * each for each in (x, y, z)],
        [
            sqrt(15) * x * z,
            sqrt(15) * x * y,
            sqrt(5) / 2 * (3 * y * y - 1),
            sqrt(15) * y * z,
            sqrt(15) / 2 * (z * z - x * x),
        ],
        [
            sqrt(35 / 8) * x * (3 * z * z - x * x),
            sqrt(105) * x * y * z,
            sqrt(21 / 8) * x * (5 * y * y - 1),
            sqrt(7) / 2 * y * (5 * y * y - 3),
            sqrt(21 / 8) * z * (5 * y * y - 1),
            sqrt(105) / 2 * y * (z * z - x * x),
            sqrt(35 / 8) * z * (z * z - 3 * x * x),
        ],
    ]
    for got, rows in zip(so3.spherical_harmonics(v, 3), expected, strict=True):
        close(got, torch.stack(rows, -1))


def test_harmonics_have_components_of_unit_mean_square_that_are_orthogonal():
    # products of two harmonics to degree 4 are integrated exactly by these nodes
    height, weight = np.polynomial.legendre.leggauss(5)
    turn = 2 * np.pi * np.arange(10) / 10
    ring = np.sqrt(1 - height**2)
    grid = np.stack(
        np.broadcast_arrays(
            ring[:, None] * np.sin(turn), height[:, None], ring[:, None] * np.cos(turn)
        ),
        -1,
    )
    y = torch.cat(so3.spherical_harmonics(torch.tensor(grid), TOP), -1)
    mean = torch.einsum("ija,ijb,i->ab", y, y, torch.tensor(weight / 20))
    close(mean, torch.eye((TOP + 1) ** 2, dtype=torch.float64))


def test_turned_harmonics_are_harmonics_of_turned_points():
    v, rot = points(), rotations()[:1]
    matrices = so3.wigner(rot, TOP)
    here, there = (so3.spherical_harmonics(each, TOP) for each in (v, v @ rot[0].T))
    for ell in range(TOP + 1):
        close(here[ell] @ matrices[ell][0].T, there[ell])
        close(there[ell].square().sum(-1), torch.full((20,), 2.0 * ell + 1).double())


def test_wigner_matrices_are_an_orthogonal_representation():
    left, right = rotations(), rotations()
    for ell, (a, b, both) in enumerate(
        zip(*(so3.wigner(r, TOP) for r in (left, right, left @ right)), strict=True)
    ):
        close(a @ b, both)
        close(a @ a.mT, torch.eye(2 * ell + 1).double().expand_as(a))
    close(so3.wigner(left, 1)[1], left)


@pytest.mark.parametrize("degrees", COUPLINGS)
def test_couplings_turn_with_what_they_couple(degrees):
    table = so3.coupling_tensor(*degrees, like=points())
    matrices = so3.wigner(rotations(2), TOP)
    a, b, c = (matrices[ell] for ell in degrees)
    before = torch.einsum("abk,nia,njb->nijk", table, a.mT, b.mT)  # D(a) x, D(b) y, then coupled
    close(before, torch.einsum("ijk,nlk->nijl", table, c))  # coupled, then D(c)
    close(table.square().sum(), torch.tensor(1.0).double())


def test_couplings_to_one_degree_are_orthogonal():
    for a, b in [(1, 1), (2, 1), (3, 2), (4, 4)]:
        rows = [
            sqrt(2 * c + 1) * so3.coupling(a, b, c).reshape(-1, 2 * c + 1)
            for c in range(abs(a - b), a + b + 1)
        ]
        joined = np.concatenate(rows, 1)
        np.testing.assert_allclose(joined.T @ joined, np.eye(joined.shape[0]), atol=1e-10)


def test_couplings_of_two_points_are_their_dot_and_cross_product():
    v, w = points(), points()
    dot, cross = (
        torch.einsum("na,nb,abc->nc", v, w, so3.coupling_tensor(1, 1, ell, v)) for ell in (0, 1)
    )
    close(dot[:, 0] * sqrt(3), (v * w).sum(-1))
    close(cross * sqrt(6), torch.linalg.cross(v, w))


def test_couplings_first_used_without_gradients_serve_training_later():
    with torch.inference_mode():
        so3.coupling.cache_clear()
        so3.wigner(rotations(1), 1)
    rot = rotations(1).requires_grad_()
    so3.wigner(rot, 2)[2].sum().backward()
    assert rot.grad.isfinite().all()


def test_couplings_are_kept_in_memory_and_cannot_be_changed():
    assert so3.coupling(2, 1, 2) is so3.coupling(2, 1, 2)
    with pytest.raises(ValueError, match="read-only"):
        so3.coupling(2, 1, 2)[0] = 1


@pytest.mark.parametrize("degrees", [(1, 1, 3), (2, 0, 1), (-1, 1, 0)])
def test_degrees_that_do_not_couple_are_refused(degrees):
    with pytest.raises(ValueError, match="do not couple"):
        so3.coupling(*degrees)


def test_the_zero_vector_has_no_direction_and_a_finite_gradient():
    v = torch.zeros(2, 3, dtype=torch.float64)
    v[1, 0] = 2.0
    v.requires_grad_()
    y = torch.cat(so3.spherical_harmonics(v, TOP), -1)
    assert y[0, 0] == 1 and not y[0, 1:].any() and y[1, 1:].any()
    y.sum().backward()
    assert v.grad.isfinite().all() and not v.grad[0].any() and v.grad[1].any()


def test_smooth_directions_do_not_jump_where_points_meet():
    v = torch.tensor([[0.0, 0, 0], [1e-9, 0, 0], [10.0, 0, 0]]).double().requires_grad_()
    unit = so3.directions(v, smooth=1e-2)
    close(unit[:2], torch.zeros(2, 3).double(), atol=1e-6)
    close(unit[2].norm(), torch.tensor(1.0).double(), atol=1e-6)
    unit.sum().backward()
    assert v.grad.abs().max() <= 100


def test_gradients_are_those_of_finite_differences():
    v = points(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: tuple(so3.spherical_harmonics(v, TOP)), v)


def test_edge_kernels_turn_and_keep_unit_variance():
    v, rot = torch.randn(20000, 3).double(), rotations()[:1]
    turned = v[:20] @ rot[0].T
    matrices = so3.wigner(rot, 2)
    for l_in, l_out in [(0, 1), (1, 1), (2, 1), (1, 2), (2, 2)]:
        degree = l_in + l_out
        here = so3.edge_kernels(so3.spherical_harmonics(v, degree), l_in, l_out)
        there = so3.edge_kernels(so3.spherical_harmonics(turned, degree), l_in, l_out)
        assert here.shape[1:] == (2 * min(l_in, l_out) + 1, 2 * l_out + 1, 2 * l_in + 1)
        close(matrices[l_out][0] @ here[:20], there @ matrices[l_in][0])
        out = here @ torch.randn(20000, 1, 2 * l_in + 1, 1).double()
        close(out.square().mean((0, 3)), torch.ones(out.shape[1:3]).double(), atol=0.1)


def test_single_precision_stays_single():
    v = points().float()
    assert {y.dtype for y in so3.spherical_harmonics(v, 2)} == {torch.float32}
    assert {d.dtype for d in so3.wigner(rotations().float(), 2)} == {torch.float32}


def test_every_direction_is_turned_to_the_axis():
    v = so3.directions(points(50))
    v[:6] = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    rot = so3.turn_to_axis(v)
    close(torch.einsum("nij,nj->ni", rot, v), torch.tensor([0.0, 1, 0]).double().expand(50, 3))
    close(rot @ rot.mT, torch.eye(3).double().expand(50, 3, 3))
    close(torch.linalg.det(rot), torch.ones(50).double())
    v = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    so3.turn_to_axis(v).sum().backward()
    assert v.grad.isfinite().all()


@pytest.mark.parametrize(("l_in", "l_out"), [(0, 2), (1, 1), (2, 1), (2, 3)])
def test_axial_products_are_the_tensor_products_with_harmonics(l_in, l_out):
    """Any mix of couplings, in the frame of an edge, is an axial product, and is not less."""
    v = points(6)
    kernels = so3.edge_kernels(so3.spherical_harmonics(v, l_in + l_out), l_in, l_out)
    turns = so3.wigner(so3.turn_to_axis(so3.directions(v)), max(l_in, l_out))
    count = so3.axial_weights(l_in + 1, l_out + 1)
    features = [torch.zeros(6, 2 * ell + 1, 1).double() for ell in range(l_in + 1)]
    features[l_in] = torch.randn(6, 2 * l_in + 1, 1).double()
    turned = [turn @ each for turn, each in zip(turns, features, strict=False)]
    columns = []
    for weight in torch.eye(count).double()[:, :, None].expand(-1, -1, 6).mT[..., None]:
        out = so3.axial_product(turned, weight, l_out + 1)[l_out]
        columns.append((turns[l_out].mT @ out)[..., 0])
    spanned = torch.stack(columns, -1)  # n m p
    expected = (kernels @ features[l_in][:, None])[..., 0].mT
    assert torch.linalg.matrix_rank(spanned.flatten(0, 1)) == kernels.shape[1]
    fit = torch.linalg.lstsq(spanned.flatten(0, 1), expected.flatten(0, 1), driver="gelsd").solution
    close(spanned.flatten(0, 1) @ fit, expected.flatten(0, 1))
