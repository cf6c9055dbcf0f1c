import pytest
import torch

from alphafold2_pytorch.layers.rotary import Rotary


def test_products_depend_on_the_distance_of_positions():
    rotary = Rotary(8)
    q, k = torch.randn(2, 1, 8, dtype=torch.float64)

    def product(i: int, j: int) -> torch.Tensor:
        return (rotary(q, torch.tensor([i])) * rotary(k, torch.tensor([j]))).sum()

    torch.testing.assert_close(product(3, 7), product(103, 107))
    assert not torch.allclose(product(3, 7), product(3, 8))


def test_turning_keeps_length_and_leaves_position_zero():
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    turned = Rotary(6)(x)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(turned[:, 0], x[:, 0])


def test_odd_width_is_refused():
    with pytest.raises(ValueError, match="dim_head=5 is odd"):
        Rotary(5)
