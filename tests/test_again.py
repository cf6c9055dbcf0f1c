"""Pieces that the backward pass computes again, or of which graphs are kept: the numbers and
gradients of the whole."""

import pytest
import torch
import torch.nn.functional as F
from kit import random_features, random_streams, scrambled, tiny_config
from torch import nn
from torch.utils.checkpoint import checkpoint

from alphafold2_pytorch import Alphafold2, Runtime
from alphafold2_pytorch.blocks import BLOCKS
from alphafold2_pytorch.ops import runtime, set_runtime
from alphafold2_pytorch.ops.again import Graph
from alphafold2_pytorch.ops.linear import Linear
from alphafold2_pytorch.ops.runtime import Rows


@pytest.fixture(params=[0, 100, None], ids=["no graph kept", "of some", "of all"])
def kept(request):
    """`Runtime.kept_bytes`; nothing is held when a test is over."""
    before = Graph.held
    yield request.param
    assert Graph.held == before


@pytest.fixture
def rows(monkeypatch, kept):
    """What applies functions to one row at a time."""
    monkeypatch.setattr(runtime, "AGAIN_BYTES", 1)
    rows = Rows()
    set_runtime(rows, Runtime(kept_bytes=kept))
    return rows


def results(call, *leaves):
    """Outputs, and gradients of their squares; None where there is none."""
    outputs = call()
    total = sum(each.double().square().sum() for each in outputs)
    return [*outputs, *torch.autograd.grad(total, leaves, allow_unused=True)]


def require_close(found, expected):
    """Where a gradient is zero, as of a bias before a softmax, there is only rounding."""
    most = max(float(each.detach().abs().max()) for each in expected if each is not None)
    for mine, true in zip(found, expected, strict=True):
        assert (mine is None) == (true is None)
        if true is not None:
            torch.testing.assert_close(mine, true, rtol=1e-4, atol=1e-6 * max(most, 1.0))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", sorted(BLOCKS.entries))
def test_a_block_in_pieces_has_the_gradients_of_the_whole(monkeypatch, name, batch, kept):
    torch.manual_seed(0)
    block = scrambled(BLOCKS[name].from_config(tiny_config(name), name, 0))
    set_runtime(block, Runtime(kept_bytes=kept))
    x = random_streams(batch=batch)
    leaves = x.pair.requires_grad_(), x.msa.requires_grad_(), *block.parameters()

    def call():
        out = block(x)
        return out.pair, out.msa

    whole = results(call, *leaves)
    monkeypatch.setattr(runtime, "AGAIN_BYTES", 1)
    require_close(results(call, *leaves), whole)


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("linear", ["torch", "auto"])
def test_a_model_in_pieces_has_the_gradients_of_the_whole(monkeypatch, checkpoint, linear, kept):
    """Heads and recycling too, and pieces of blocks that are computed again themselves."""
    torch.manual_seed(0)
    more = {"predict_angles": True, "predict_pae": True, "predict_coords": True}
    model = scrambled(Alphafold2(tiny_config("evoformer", "self", **more)))
    set_runtime(model, Runtime(checkpoint=checkpoint, linear=linear, kept_bytes=kept))
    features, leaves = random_features(), list(model.parameters())

    def call():
        out = model.predict(features, recycles=1)
        return [*out.outputs.values(), out.structure.atoms]

    whole = results(call, *leaves)
    monkeypatch.setattr(runtime, "AGAIN_BYTES", 1)
    require_close(results(call, *leaves), whole)


@pytest.mark.parametrize("last", [None, nn.Dropout(0.1)], ids=["", "and by the last layer"])
def test_what_a_piece_drops_is_dropped_in_its_backward_pass(rows, last):
    x, drop = torch.randn(1, 6, 50, 3, requires_grad=True), nn.Dropout()
    out = rows(drop, x, last=last)
    state, scale = torch.get_rng_state(), 2.0 if last is None else 2 / 0.9
    for retain in (True, False):  # of the first, graphs were kept for the first time only
        [slope] = torch.autograd.grad(out.sum(), x, retain_graph=retain)
        torch.testing.assert_close(slope, torch.where(out == 0, 0.0, scale))
    assert 0.3 < float((out == 0).float().mean()) < 0.7
    assert torch.equal(torch.get_rng_state(), state)


def test_graphs_are_kept_as_far_as_there_is_room(monkeypatch):
    """Of five pieces of 24 bytes, for all of the process; given back when they are used or lost."""
    monkeypatch.setattr(runtime, "AGAIN_BYTES", 1)
    rows, seen, before = Rows(), [], Graph.held
    set_runtime(rows, Runtime(kept_bytes=before + 80))
    x = torch.randn(1, 5, 3, 2, requires_grad=True)

    def run(x):
        seen.append(torch.is_grad_enabled())
        return x.sin()

    out = rows(run, x)
    assert seen == [True] * 3 + [False] * 2 and Graph.held == before + 72
    lost = rows(run, x)
    assert not any(seen[5:]) and Graph.held == before + 72
    del lost
    out.sum().backward()
    assert seen[10:] == [True] * 2 and Graph.held == before
    torch.testing.assert_close(x.grad, x.detach().cos())
    out = rows(run, x)
    assert Graph.held == before + 72
    del out
    assert Graph.held == before


def test_a_checkpoint_around_pieces_may_find_no_room_at_its_second_call(rows):
    x, layer = torch.randn(1, 5, 3, 2, requires_grad=True), nn.Linear(2, 2)
    leaves = x, *layer.parameters()

    def call(x):
        return rows(lambda x: layer(x).tanh(), x, reads=(layer,), last=layer)

    expected = results(lambda: [layer(layer(x).tanh())], *leaves)
    require_close(results(lambda: [checkpoint(call, x, use_reentrant=False)], *leaves), expected)


def test_tensors_that_a_piece_reads_whole_have_gradients_of_all_pieces(rows):
    x, y, scale = (torch.randn(1, 5, 3, 2, requires_grad=True) for _ in range(3))
    scale = (2 * scale[0, 0, 0]).detach().requires_grad_()
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)

    def run(x, none, y, scale):
        assert none is None
        return layer(x * y + scale).tanh()

    leaves = x, y, scale, layer.weight
    expected = results(lambda: [run(x, None, y, scale)], *leaves)
    reads = {"whole": (scale,), "reads": (layer, layer)}
    require_close(results(lambda: [rows(run, x, 1, None, y, **reads)], *leaves), expected)
    # one that is made of a parameter, and one input that wants nothing
    weight = layer.weight * 2
    found = rows(lambda x, w: F.linear(x, w), x.detach(), whole=(weight,))
    true = torch.autograd.grad(F.linear(x.detach(), layer.weight * 2).sum(), layer.weight)
    require_close(torch.autograd.grad(found.sum(), layer.weight), true)


@pytest.mark.parametrize("made", [False, True])
def test_a_gradient_that_would_be_lost_is_an_error(rows, made):
    x, layer = torch.randn(1, 5, 3, 2, requires_grad=True), nn.Linear(2, 2)
    weight = 2 * layer.weight if made else layer.weight
    out = rows(lambda x: F.linear(x, weight), x)
    with pytest.raises(RuntimeError, match="`reads`"):
        out.sum().backward()


def test_parameters_that_deepspeed_has_taken_apart_are_read_in_one_piece(rows):
    x, layer, seen = torch.randn(1, 5, 3, 2), nn.Linear(2, 2), []
    layer.weight.ds_id = 0
    out = rows(lambda x: seen.append(len(x[0])) or layer(x), x, reads=(layer,))
    assert seen == [5] and out.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_reaches_the_backward_pass(rows, dtype):
    torch.manual_seed(0)
    x, layer = torch.randn(1, 5, 30, 8, requires_grad=True), Linear(8, 4)
    leaves = x, *layer.parameters()
    seen = []

    def run(x):
        seen.append(layer(x).dtype)
        return x

    with torch.autocast("cpu", dtype=dtype):
        out = rows(run, x, reads=(layer,), last=layer)
    found = torch.autograd.grad(out.sum(), leaves)
    assert out.dtype == dtype and set(seen) == {dtype}
    assert len(seen) == {0: 10, 100: 10, None: 5}[rows.runtime.kept_bytes]  # 960 bytes a piece
    assert [each.dtype for each in found] == [torch.float32] * 3
    true = torch.autograd.grad(layer(x).sum(), leaves)
    for mine, other in zip(found, true, strict=True):
        torch.testing.assert_close(mine, other, rtol=2e-2, atol=2e-2)


class Doubled(Linear):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("change", ["class", "hook", "method"])
def test_a_last_layer_that_somebody_has_changed_is_called(rows, change):
    x = torch.randn(1, 5, 3, 2, requires_grad=True)
    layer = Doubled(2, 4) if change == "class" else Linear(2, 4)
    if change == "hook":
        layer.register_forward_hook(lambda module, inputs, out: 2 * out)
    elif change == "method":
        layer.forward = lambda x: 2 * Linear.forward(layer, x)
    leaves = x, *layer.parameters()
    expected = results(lambda: [2 * F.linear(x.sin(), layer.weight, layer.bias)], *leaves)
    found = results(lambda: [rows(torch.sin, x, reads=(layer,), last=layer)], *leaves)
    require_close(found, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_that_nobody_reads_has_its_gradients(bias):
    x, layer = torch.randn(2, 5, 3, requires_grad=True), Linear(3, 4, bias=bias)
    leaves, slope = (x, *layer.parameters()), torch.randn(2, 5, 4)
    out = layer.unread(x)
    assert out.shape == slope.shape and not out.any()
    require_close(
        torch.autograd.grad(out, leaves, slope), torch.autograd.grad(layer(x), leaves, slope)
    )
