"""Structure modules learn: noised backbones of real chains come back; the task of the benchmark."""

import denoising
import numpy as np
import pytest
import torch
from kit import OWN_STRUCTURES, SAMPLE

from alphafold2_pytorch.geometry.align import rmsd
from alphafold2_pytorch.geometry.atoms import backbone_frames

STEPS = {"equiformer": 60}  # it learns from fewer, which take longer; the others need 150


def held_out():
    """The sample has but four chains to hold out, so these are stretches of them."""
    return denoising.windows(denoising.load_chains(SAMPLE, ("valid", "test", "test_remote")), 24)


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN_STRUCTURES)
def test_a_fifth_of_the_noise_goes_away_on_chains_not_trained_on(name):
    crops = denoising.middles(denoising.load_chains(SAMPLE, ["train"]), 64)
    model, _ = denoising.learn(name, crops, STEPS.get(name, 150))
    score = denoising.Score.of(denoising.held_out(model, held_out(), draws=2))
    assert score.count >= 20
    assert score.gone[1] > 0.2, score  # the lower end of the interval


def test_noise_is_as_great_as_it_should_be():
    crops = denoising.middles(denoising.load_chains(SAMPLE, ["test"]), 48) * 8
    truth, start, known = denoising.batch_of(crops, torch.Generator().manual_seed(0))
    off = (start.trans - truth.positions[..., 1, :]).std(dim=(1, 2))
    assert known.all() and off.min() < 1.5 and off.max() > 2.5
    assert off.min() > 0.8 and off.max() < 3.3
    placed = denoising.ideal_backbone(backbone_frames(truth.positions), truth).flatten(1, 2)
    goal = truth.positions[..., :3, :].flatten(1, 2)
    everything = torch.ones(goal.shape[:2], dtype=torch.bool)
    assert rmsd(placed, goal, everything).max() < 0.1  # without noise there is nothing to do


def test_learning_starts_and_ends_alike_with_one_seed():
    crops = held_out()[:5]
    first, second = (
        denoising.held_out(denoising.learn("ipa", crops, 2, seed=3)[0], crops) for _ in range(2)
    )
    np.testing.assert_allclose(first, second)
    assert first.shape == (5, 2) and np.isfinite(first).all()


def test_the_score_is_of_means_over_chains():
    score = denoising.Score.of(np.array([[4.0, 2.0], [2.0, 1.5]]))
    assert score.before[0] == 3.0 and score.after[0] == 1.75
    assert score.gone == pytest.approx((0.375, 0.25, 0.5))
    assert score.count == 2
