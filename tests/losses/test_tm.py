import math
import time

import numpy as np
import pytest
import torch
from tmtools import tm_align

from alphafold2_pytorch.geometry.align import superpose
from alphafold2_pytorch.losses.tm import gdt_ts, tm_d0, tm_score


def helix_bundle(length, seed=0):
    """A compact chain with steps of 3.8 angstrom."""
    g = torch.Generator().manual_seed(seed)
    steps = torch.randn(length, 3, generator=g)
    position, chain = torch.zeros(3), []
    for step in steps:
        step = step - 0.15 * position  # pulled back to the middle
        position = position + 3.8 * step / step.norm()
        chain.append(position)
    return torch.stack(chain)


def noisy(chain, scale, seed=1):
    g = torch.Generator().manual_seed(seed)
    return chain + scale * torch.randn(chain.shape, generator=g)


def everything(length):
    return torch.ones(length, dtype=torch.bool)


def plain_score(predicted, true):
    """TM-score after one superposition on all residues."""
    moved = superpose(predicted, true, everything(len(true))).unsqueeze(-1).apply(predicted)
    return float((1 / (1 + (moved - true).square().sum(-1) / tm_d0(len(true)) ** 2)).mean())


def optimised_score(predicted, true, starts=300, rounds=60):
    """A slow twin that climbs TM itself: each round weighs a residue by its pull on the score."""
    g = torch.Generator().manual_seed(0)
    length, d0 = len(true), tm_d0(len(true))
    size = torch.randint(3, length + 1, (starts, 1), generator=g)
    first = (torch.rand(starts, 1, generator=g) * (length - size + 1)).long()
    place = torch.arange(length)
    weights = ((place >= first) & (place < first + size)).double()
    for _ in range(rounds):
        motion = superpose(predicted.double(), true.double(), weights)
        square = (motion.unsqueeze(-1).apply(predicted.double()) - true.double()).square().sum(-1)
        weights = (1 + square / d0**2) ** -2
    return float((1 / (1 + square / d0**2)).mean(-1).max())


@pytest.mark.parametrize("length", [30, 77, 200])
def test_agrees_with_tmalign_where_its_alignment_is_the_identity(length):
    true = helix_bundle(length)
    predicted = noisy(true, 0.6)
    other = tm_align(predicted.double().numpy(), true.double().numpy(), "A" * length, "A" * length)
    assert "-" not in other.seqxA + other.seqyA
    ours = tm_score(predicted, true, everything(length))
    assert ours == pytest.approx(other.tm_norm_chain2, abs=2e-4)
    assert ours < 0.98


@pytest.mark.parametrize("length", [40, 150])
@pytest.mark.parametrize("kind", ["noise", "hinge", "drift"])
def test_finds_what_a_slow_climb_from_many_starts_finds(length, kind):
    true = helix_bundle(length)
    predicted = noisy(true, 1.0)
    if kind == "hinge":
        far = predicted[length // 3 :]
        predicted[length // 3 :] = far.flip(-1) * torch.tensor([1.0, -1.0, 1.0]) + 9  # a turn
    if kind == "drift":
        predicted = predicted + noisy(torch.zeros_like(true), 0.8, seed=3).cumsum(0)
    ours, slow = tm_score(predicted, true, everything(length)), optimised_score(predicted, true)
    assert ours >= plain_score(predicted, true) - 1e-9
    assert slow - 0.02 <= ours <= slow + 2e-3
    if kind == "hinge":
        assert ours > plain_score(predicted, true) + 0.1


def test_moving_the_prediction_changes_nothing_and_itself_scores_one_but_its_mirror_does_not():
    true = helix_bundle(64)
    predicted = noisy(true, 1.5)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    turn = turn * torch.linalg.det(turn)
    for metric in (tm_score, gdt_ts):
        still = metric(predicted, true, everything(64))
        assert metric(predicted @ turn + 30, true, everything(64)) == pytest.approx(still, abs=2e-3)
        assert metric(true @ turn + 30, true, everything(64)) == pytest.approx(1)
        assert metric(-true, true, everything(64)) < 0.8


def test_unknown_residues_neither_count_nor_are_read():
    true = helix_bundle(50)
    predicted = noisy(true, 1.0)
    mask = everything(50)
    mask[::7] = False
    dirty = true.masked_fill(~mask[:, None], float("nan"))
    for metric in (tm_score, gdt_ts):
        alone = metric(predicted[mask], true[mask], everything(int(mask.sum())))
        assert metric(predicted, dirty, mask) == pytest.approx(alone)
        assert math.isnan(metric(predicted, true, mask & False))


def test_gdt_counts_what_a_hinge_leaves_in_place():
    true = helix_bundle(80)
    predicted = true.clone()
    predicted[:20] += 500.0
    assert gdt_ts(predicted, true, everything(80)) == pytest.approx(0.75)
    # every residue 1.5 angstrom off along its own random direction: in by 2, 4 and 8
    g = torch.Generator().manual_seed(0)
    off = torch.nn.functional.normalize(torch.randn(80, 3, generator=g), dim=-1)
    assert 0.75 <= gdt_ts(true + 1.5 * off, true, everything(80)) <= 0.85


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_the_shortest_chains_have_a_score(length):
    true = helix_bundle(length)
    assert tm_score(true + 1, true, everything(length)) == pytest.approx(1)
    assert gdt_ts(true + 1, true, everything(length)) == pytest.approx(1)


def test_d0_is_the_published_curve_with_a_floor():
    np.testing.assert_allclose(tm_d0(115), 1.24 * 100 ** (1 / 3) - 1.8)
    assert tm_d0(10) == tm_d0(21) == 0.5


def test_a_long_chain_takes_seconds_not_minutes():
    true = helix_bundle(380)
    predicted = noisy(true, 0.8, seed=4).cumsum(0) * 0.2 + true
    start = time.perf_counter()
    assert 0 < tm_score(predicted, true, everything(380)) < 1
    assert time.perf_counter() - start < 5
