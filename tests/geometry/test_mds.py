"""Distances become points again, with the right hand."""

from pathlib import Path

import pytest
import torch

from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.geometry.align import rmsd
from alphafold2_pytorch.geometry.distances import BinnedDistances, NormalDistances
from alphafold2_pytorch.geometry.mds import (
    all_distances,
    classical_mds,
    refine_mds,
    right_handed,
    shortest_paths,
)
from alphafold2_pytorch.structure.start import frames_from_distances

CHAIN = Path(__file__).parents[2] / "examples/data/1a3a_C.pdb"
EDGES = 2 + 0.5 * torch.arange(36)


@pytest.fixture(scope="module")
def trace():
    """CA atoms of a real protein, b n 3."""
    return torch.from_numpy(read_structure(CHAIN).positions[None, :, 1])


def all_of(points):
    return torch.ones(points.shape[:2], dtype=torch.bool)


def number(points):
    return torch.arange(points.shape[1])[None]


def test_exact_distances_give_the_structure_back(trace):
    points = classical_mds(torch.cdist(trace, trace), all_of(trace))
    points = right_handed(points, number(trace), all_of(trace))
    assert rmsd(points, trace, all_of(trace)) < 0.01


def test_the_mirror_image_is_turned_round(trace):
    mirrored = trace * torch.tensor([1.0, 1.0, -1.0])
    mended = right_handed(mirrored, number(trace), all_of(trace))
    torch.testing.assert_close(mended, trace)
    torch.testing.assert_close(right_handed(trace, number(trace), all_of(trace)), trace)


def test_a_distogram_of_the_truth_gives_its_fold(trace):
    bins = torch.bucketize(torch.cdist(trace, trace), EDGES)
    logits = 12.0 * torch.nn.functional.one_hot(bins, 37).float()
    frames = frames_from_distances(BinnedDistances(logits, EDGES), number(trace), all_of(trace))
    assert rmsd(frames.trans, trace, all_of(trace)) < 1.0
    identity = torch.eye(3).expand(1, trace.shape[1], 3, 3)
    torch.testing.assert_close(frames.rot.mT @ frames.rot, identity, rtol=0, atol=1e-4)


def test_real_values_of_the_truth_give_its_fold_and_more_steps_come_nearer(trace):
    distance = torch.cdist(trace, trace)
    noisy = distance + 3 * torch.randn_like(distance).triu(1) * (distance > 15)
    noisy = torch.triu(noisy, 1) + torch.triu(noisy, 1).mT
    std = torch.where(distance > 15, 3.0, 0.3)
    believed = NormalDistances(torch.stack([noisy, std], dim=-1))
    few, more = (
        frames_from_distances(believed, number(trace), all_of(trace), steps).trans
        for steps in (1, 60)
    )
    assert rmsd(more, trace, all_of(trace)) < 1.3 < rmsd(few, trace, all_of(trace))


def test_what_is_masked_and_padding_change_nothing(trace):
    short = trace[:, :20]
    distances = torch.cdist(short, short)
    padded = torch.nn.functional.pad(distances, (0, 3, 0, 3), value=99.0)
    mask = torch.nn.functional.pad(all_of(short), (0, 3))
    torch.testing.assert_close(
        classical_mds(padded, mask)[:, :20],
        classical_mds(distances, all_of(short)),
        rtol=0,
        atol=1e-3,
    )
    assert not classical_mds(padded, mask)[:, 20:].any()


def test_refining_lowers_the_error_and_ignores_pairs_without_weight(trace):
    short = trace[:, :12].double()
    distances = torch.cdist(short, short)
    wrong = distances.clone()
    wrong[:, 0, 11] = wrong[:, 11, 0] = 60.0
    weights = (wrong == distances).double() - torch.eye(12).double()
    start = short + torch.randn_like(short)
    found = refine_mds(start, wrong, weights, steps=300)
    error = ((torch.cdist(found, found) - distances).abs() * weights).max()
    assert error < 0.1 < ((torch.cdist(start, start) - distances).abs() * weights).max()


def test_shortest_paths_equal_a_loop():
    distances = torch.rand(1, 6, 6)
    distances = distances + distances.mT
    distances[distances > 1.3] = torch.inf
    distances[0].fill_diagonal_(0)
    slow = distances[0].clone()
    for k in range(6):
        for i in range(6):
            for j in range(6):
                slow[i, j] = min(slow[i, j], slow[i, k] + slow[k, j])
    torch.testing.assert_close(shortest_paths(distances)[0], slow)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_residues_give_finite_frames(n):
    frames = frames_from_distances(
        BinnedDistances(torch.randn(1, n, n, 37), EDGES),
        torch.arange(n)[None],
        torch.ones(1, n, dtype=torch.bool),
    )
    assert torch.isfinite(frames.rot).all() and torch.isfinite(frames.trans).all()


def shape_of(distances):
    """The distances that classical scaling gives back."""
    distances = (distances + distances.mT) / 2
    known = torch.ones(distances.shape[:2], dtype=torch.bool)
    return all_distances(classical_mds(distances, known))


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_gradient_of_classical_scaling_is_that_of_finite_differences(noise):
    points = torch.randn(2, 7, 3, dtype=torch.float64)
    distances = all_distances(points)
    distances = (distances + noise * torch.rand_like(distances)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: shape_of(d)[:, :2, 2:], distances)


def test_the_gradient_of_refining_is_that_of_finite_differences():
    points = torch.randn(2, 5, 3, dtype=torch.float64)
    weights = torch.rand(2, 5, 5, dtype=torch.float64, requires_grad=True)
    distances = (all_distances(points) + 0.5).requires_grad_()

    def refined(weights, distances):
        weights = (weights + weights.mT) * (1 - torch.eye(5, dtype=torch.float64))
        return refine_mds(points, (distances + distances.mT) / 2, weights, steps=3)

    assert torch.autograd.gradcheck(refined, (weights, distances))


@pytest.mark.parametrize("points", [torch.zeros(1, 6, 3), torch.eye(4, 3).repeat(2, 1)[None]])
def test_the_gradient_is_finite_where_points_coincide_and_axes_are_equal(points):
    distances = all_distances(points).requires_grad_()
    shape_of(distances).sum().backward()
    assert distances.grad.isfinite().all()
