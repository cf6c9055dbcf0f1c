"""Distances become points again, with the right hand."""

from pathlib import Path

import pytest
import torch

from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.geometry.align import rmsd
from alphafold2_pytorch.geometry.mds import (
    classical_mds,
    refine_mds,
    right_handed,
    shortest_paths,
)
from alphafold2_pytorch.structure.start import frames_from_distogram

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
    frames = frames_from_distogram(logits, EDGES, number(trace), all_of(trace))
    assert rmsd(frames.trans, trace, all_of(trace)) < 1.0
    identity = torch.eye(3).expand(1, trace.shape[1], 3, 3)
    torch.testing.assert_close(frames.rot.mT @ frames.rot, identity, rtol=0, atol=1e-4)


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
    frames = frames_from_distogram(
        torch.randn(1, n, n, 37),
        EDGES,
        torch.arange(n)[None],
        torch.ones(1, n, dtype=torch.bool),
    )
    assert torch.isfinite(frames.rot).all() and torch.isfinite(frames.trans).all()
