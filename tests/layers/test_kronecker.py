"""Means of the rows of a grid under masks, and the grid that they give back."""

import torch

from alphafold2_pytorch.layers.kronecker import outer_sum, row_means


def test_means_count_only_what_is_there():
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    mask = torch.rand(2, 4, 5) > 0.4
    mask[0, 1] = False
    x[~mask] = float("nan")
    means, there = row_means(x, mask)
    for b in range(2):
        for i in range(4):
            kept = x[b, i, mask[b, i]]
            slow = kept.mean(0) if len(kept) else torch.zeros(3).double()
            torch.testing.assert_close(means[b, i], slow)
            assert bool(there[b, i]) == bool(len(kept))
    assert not there[0, 1]


def test_the_outer_sum_adds_row_and_column():
    rows, columns = torch.randn(2, 4, 3), torch.randn(2, 5, 3)
    grid = outer_sum(rows, columns)
    assert grid.shape == (2, 4, 5, 3)
    assert torch.equal(grid[1, 2, 4], rows[1, 2] + columns[1, 4])
