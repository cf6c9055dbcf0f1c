"""Products of stacks of matrices: exact whoever computes them, with gradients."""

import pytest
import torch

from alphafold2_pytorch.ops import batched as module
from alphafold2_pytorch.ops.batched import batched, by_onednn, exact, faster, permission


@pytest.fixture
def fresh():
    exact.cache_clear()
    yield
    exact.cache_clear()


@pytest.mark.parametrize("named", ["auto", "torch"])
@pytest.mark.parametrize("shape", [(5, 7, 3, 4), (40, 199, 32, 199), (40, 130, 257, 33)])
def test_products_are_those_of_float64(named, shape):
    torch.manual_seed(0)
    count, rows, inner, columns = shape
    left = torch.randn(count, inner, rows).mT  # a view, as of keys
    right = torch.randn(count, inner, columns)
    true = torch.bmm(left.double(), right.double())
    with torch.no_grad():
        assert (batched(left, right, named) - true).abs().max() <= 2e-6 * true.abs().max()


def test_a_processor_that_would_round_to_bfloat16_is_found_out(monkeypatch, fresh):
    """The check that guards float32, on a product that is as inexact as it may not be."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    rounded = lambda left, right: torch.bmm(left.bfloat16().float(), right.bfloat16().float())  # noqa: E731
    monkeypatch.setattr(module, "by_onednn", rounded)
    assert not exact()


def test_a_processor_with_amx_is_not_asked(monkeypatch, fresh):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert not exact()


def test_half_precision_and_small_products_stay_with_torch():
    left, right = torch.randn(40, 199, 32), torch.randn(40, 32, 199)
    assert not faster(left.bfloat16(), right.bfloat16())
    assert not faster(left[:1, :4], right[:1])
    with torch.autocast("cpu", torch.bfloat16):
        assert batched(left, right).dtype == torch.bfloat16


def test_the_permission_ends_with_the_product():
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    with pytest.raises(RuntimeError), permission():
        assert settings.fp32_precision == "bf16"
        by_onednn(torch.ones(2, 3, 4), torch.ones(2, 3, 4))  # which do not fit
    assert settings.fp32_precision == before
