"""Gaussian negative log likelihood of distances."""

import torch

from alphafold2_pytorch.losses.distance import normal_distance_loss


def test_it_is_the_likelihood_of_torchs_normal_distribution():
    points = 5 * torch.randn(2, 6, 3, dtype=torch.float64)
    known = torch.ones(2, 6, dtype=torch.bool)
    known[1, 3] = False
    mean = 10 * torch.rand(2, 6, 6, dtype=torch.float64)
    std = 0.5 + torch.rand(2, 6, 6, dtype=torch.float64)
    terms = []
    best = torch.distributions.Normal(0.0, torch.tensor(0.5, dtype=torch.float64)).log_prob(
        torch.zeros((), dtype=torch.float64)
    )
    for b in range(2):
        for i in range(6):
            for j in range(6):
                if i != j and known[b, i] and known[b, j]:
                    apart = (points[b, i] - points[b, j]).norm()
                    normal = torch.distributions.Normal(mean[b, i, j], std[b, i, j])
                    terms.append(best - normal.log_prob(apart))
    points[1, 3] = torch.nan
    loss = normal_distance_loss(mean, std, points, known, 0.5)
    torch.testing.assert_close(loss, torch.stack(terms).mean())
    assert normal_distance_loss(mean, std, points, known & False, 0.5) == 0


def test_it_is_zero_at_best_and_its_gradient_is_finite():
    points = torch.zeros(1, 3, 3)
    known = torch.ones(1, 3, dtype=torch.bool)
    mean = torch.zeros(1, 3, 3, requires_grad=True)
    loss = normal_distance_loss(mean, torch.full((1, 3, 3), 0.5), points, known, 0.5)
    assert loss == 0
    loss.backward()
    assert mean.grad.isfinite().all()
