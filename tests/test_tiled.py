"""Attention whose rows are too long for one tile: queries are cut, keys are not."""

import pytest
import torch
from backend_kit import attention_call, distances, moved, run
from torch.profiler import ProfilerActivity, profile

from alphafold2_pytorch.ops.backends import BACKENDS, tiled
from alphafold2_pytorch.ops.batched import by_onednn


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_cut_queries_give_what_the_reference_gives(monkeypatch, bias, mask):
    monkeypatch.setattr(tiled, "TILE_BYTES", 2**10)
    call = attention_call(75, torch.float32, bias, mask, m=90)  # tiles of 32, 32 and 11 queries
    direction = torch.randn_like(call[0])
    exact = run(BACKENDS, "reference", moved(call, torch.float64), direction)
    plain = distances(run(BACKENDS, "reference", call, direction), exact)
    found = distances(run(BACKENDS, "tiled", call, direction), exact)
    assert all(x <= 2 * y for x, y in zip(found, plain, strict=True)), (found, plain)
    with torch.no_grad():
        alone = tiled.attended(*call, 0)
    assert distances([alone], exact[:1])[0] <= 2 * plain[0]


def test_long_keys_are_copied_once_for_all_tiles():
    """As projections give them, heads beside features: what products would copy each time."""
    heads, keys, width = 4, 2**15, 32
    q, k, v = (
        torch.randn(1, 1, n, heads, width).transpose(2, 3).detach() for n in (256, keys, keys)
    )
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        for tile in tiled.Tile.all(q, k, v, None, None, 0.0, 0):
            by_onednn(tile.weights(), tile.v)
            by_onednn(tile.q, tile.k.mT)
    sizes = (
        torch.Size(x.input_shapes[0]).numel() for x in seen.events() if x.name == "aten::copy_"
    )
    assert 0 < sum(size >= heads * keys * width for size in sizes) <= 2


def test_a_bias_with_gradients_does_not_keep_the_fused_kernel_away(monkeypatch):
    """As on Intel's processors, whose tiles are PyTorch's own."""
    monkeypatch.setattr(tiled, "faster", lambda left, right: False)
    call = attention_call(40, torch.float32, bias=True, mask=False)
    for each in call[:4]:
        each.requires_grad_()
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        BACKENDS["tiled"].run(*call)
    assert any("flash_attention" in x.name for x in seen.events())
