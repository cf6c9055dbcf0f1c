"""Kernels agree with the definition, whatever the runtime."""

import pytest
import torch
from kit import random_features, random_streams, scrambled, tiny_config

from alphafold2_pytorch.blocks import BLOCKS
from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.ops import Attend, OuterProduct, set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS

FASTER = sorted(set(BACKENDS.entries) - {"reference"})


@pytest.mark.parametrize("name", FASTER)
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("with_mask", [True, False])
def test_a_backend_gives_the_references_output_and_gradients(name, with_bias, with_mask):
    b, r, h, n, m, d = 2, 3, 4, 5, 6, 8
    q, k, v, bias = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in ((b, r, h, n, d), (b, r, h, m, d), (b, r, h, m, d), (b, h, n, m))
    )
    mask = torch.rand(b, r, m) > 0.3
    mask[0, 0] = False
    inputs = [q, k, v] + ([bias] if with_bias else [])
    found = {}
    for each in (name, "reference"):
        attend = Attend()
        set_runtime(attend, Runtime(attention=each))
        out = attend(q, k, v, bias if with_bias else None, mask if with_mask else None)
        found[each] = out, torch.autograd.grad(out.square().sum(), inputs)
    torch.testing.assert_close(found[name], found["reference"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", sorted(BACKENDS.entries))
def test_a_row_without_keys_yields_zero(name):
    q = torch.randn(1, 2, 1, 3, 4)
    mask = torch.tensor([[[True, False, True], [False, False, False]]])
    attend = Attend()
    set_runtime(attend, Runtime(attention=name))
    out = attend(q, q, q, None, mask)
    assert torch.equal(out[0, 1], torch.zeros(1, 3, 4)) and out[0, 0].any()


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


@pytest.mark.parametrize(
    "runtime",
    [Runtime(attention=name) for name in sorted(BACKENDS.entries)] + [Runtime(checkpoint=True)],
    ids=lambda r: f"{r.attention}-checkpoint={r.checkpoint}",
)
def test_any_two_runtimes_give_the_same_numbers_and_gradients(runtime):
    model = scrambled(Alphafold2(tiny_config("evoformer", "self", "cross", predict_coords=True)))
    features: Features = random_features()
    found = []
    for each in (Runtime(), runtime):
        set_runtime(model, each)
        model.zero_grad()
        prediction = model.predict(features)
        prediction.structure.atoms.square().mean().backward()
        grads = [p.grad for p in model.trunk.parameters() if p.grad is not None]
        found.append((prediction.outputs["distogram"], prediction.structure.atoms, grads))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)
