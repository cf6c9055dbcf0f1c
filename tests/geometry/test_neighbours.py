import pytest
import torch

from alphafold2_pytorch.geometry import neighbours
from alphafold2_pytorch.geometry.neighbours import bond_steps, nearest


def test_nearest_are_the_nearest_and_masked_points_take_no_place():
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2.5, 0, 0], [2, 0, 0]]])
    mask = torch.tensor([[True, True, True, False]])
    found = nearest(points, mask, 2)
    assert found.index[0, :3].tolist() == [[1, 2], [0, 2], [1, 0]]
    assert found.mask[0].tolist() == [[True, True]] * 3 + [[False, False]]
    assert nearest(points, mask).index.shape == (1, 4, 3)


def test_bonded_points_come_first_and_far_ones_stay_out():
    points = torch.arange(5.0)[None, :, None] * torch.tensor([1.0, 0, 0])
    bonds = torch.zeros(1, 5, 5, dtype=torch.bool)
    bonds[0, 0, 4] = True
    found = nearest(points, torch.ones(1, 5, dtype=torch.bool), 3, bonds, radius=1.5)
    assert found.index[0, 0, :2].tolist() == [4, 1]
    assert found.mask[0, 0].tolist() == [True, True, False]


def test_distances_row_by_row_give_the_same_lists(monkeypatch):
    points, mask = torch.randn(2, 9, 3), torch.rand(2, 9) < 0.8
    bonds = torch.rand(2, 9, 9) < 0.2
    among = torch.rand(2, 9, 9) < 0.7
    whole = nearest(points, mask, 4, bonds, 1.5, among)
    assert whole.gather_pairs(among)[whole.mask].all()
    monkeypatch.setattr(neighbours, "TABLE", 20)
    rows = nearest(points, mask, 4, bonds, 1.5, among)
    assert torch.equal(rows.mask, whole.mask)
    assert torch.equal(rows.index[rows.mask], whole.index[whole.mask])


def test_steps_over_bonds():
    chain = torch.zeros(1, 5, 5, dtype=torch.bool)
    for i in range(4):
        chain[0, i, i + 1] = chain[0, i + 1, i] = True
    apart = (torch.arange(5)[:, None] - torch.arange(5)).abs()
    expected = torch.where(apart <= 3, apart, 0)
    assert torch.equal(bond_steps(chain, 3)[0], expected)


def test_gathering():
    points, mask = torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)
    found = nearest(points, mask, 3)
    table = torch.cdist(points, points)
    apart = (found.gather(points) - points[:, :, None]).norm(dim=-1)
    torch.testing.assert_close(found.gather_pairs(table), apart, rtol=1e-4, atol=1e-4)
    assert (apart.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("n", [1, 2])
def test_few_points(n):
    found = nearest(torch.randn(1, n, 3), torch.ones(1, n, dtype=torch.bool), 8)
    assert found.index.shape == (1, n, n - 1)
    with pytest.raises(ValueError, match="at least 1"):
        nearest(torch.randn(1, n, 3), torch.ones(1, n, dtype=torch.bool), 0)
