"""Kernels agree with the definition, whatever the runtime."""

import pytest
import torch
from backend_kit import attention_call, skip_if_refused, triangle_call
from kit import random_features, random_streams, scrambled, tiny_config

from alphafold2_pytorch.blocks import BLOCKS
from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.ops import Attend, OuterProduct, set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.triangles import TRIANGLES


@pytest.mark.parametrize("field", ["attention", "triangle"])
def test_a_named_backend_that_does_not_exist_is_refused(field):
    with pytest.raises(ValueError, match=rf"unknown {field} backend 'warp'.*reference"):
        set_runtime(Attend(), Runtime(**{field: "warp"}))


@pytest.mark.parametrize("width", [2, 6])  # fewer or more features than rows
def test_outer_products_equal_loops(width):
    left, right = torch.randn(1, 5, 4, width).double(), torch.randn(1, 5, 4, 3).double()
    keep = torch.rand(1, 5, 4) > 0.4
    left, right = left * keep[..., None], right * keep[..., None]
    weight, bias = torch.randn(7, 3 * width).double(), torch.randn(7).double()
    out = OuterProduct()(left, right, keep, weight, bias)
    for i in range(4):
        for j in range(4):
            rows = [s for s in range(5) if keep[0, s, i] and keep[0, s, j]]
            outer = sum(torch.outer(left[0, s, i], right[0, s, j]) for s in rows)
            outer = outer.flatten() if rows else torch.zeros(3 * width).double()
            slow = (weight @ outer + bias) / (len(rows) + 1e-3)
            torch.testing.assert_close(out[0, i, j], slow)


@pytest.mark.parametrize("name", sorted(BLOCKS.entries))
def test_cutting_temporaries_into_pieces_changes_no_number(name):
    block = scrambled(BLOCKS[name].from_config(tiny_config(name), name, 0))
    x = random_streams()
    with torch.no_grad():
        whole = block(x)
        set_runtime(block, Runtime(chunk_bytes=1))
        pieces = block(x)
    torch.testing.assert_close(pieces.pair, whole.pair, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pieces.msa, whole.msa, rtol=1e-4, atol=1e-5)


def runtimes():
    """Every backend by name, and recomputed blocks."""
    yield from (Runtime(attention=name) for name in sorted(BACKENDS.entries))
    yield from (Runtime(triangle=name) for name in sorted(TRIANGLES.entries))
    yield Runtime(checkpoint=True)


@pytest.mark.parametrize(
    "runtime",
    list(runtimes()),
    ids=lambda r: f"{r.attention}-{r.triangle}-checkpoint={r.checkpoint}",
)
def test_any_two_runtimes_give_the_same_numbers_and_gradients(runtime):
    model = scrambled(Alphafold2(tiny_config("evoformer", "self", "cross", predict_coords=True)))
    features: Features = random_features()
    skip_if_refused(BACKENDS, runtime.attention, attention_call(17, torch.float32))
    skip_if_refused(TRIANGLES, runtime.triangle, triangle_call(9, torch.float32))
    found = []
    for each in (Runtime(), runtime):
        set_runtime(model, each)
        model.zero_grad()
        prediction = model.predict(features)
        prediction.structure.atoms.square().mean().backward()
        grads = [p.grad for p in model.trunk.parameters() if p.grad is not None]
        found.append((prediction.outputs["distogram"], prediction.structure.atoms, grads))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)
