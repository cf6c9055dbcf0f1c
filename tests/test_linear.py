"""Linear layers: every product gives the numbers and gradients of the definition."""

from pathlib import Path

import pytest
import torch
from kit import random_features
from torch import nn

from alphafold2_pytorch import Alphafold2, Runtime, explain
from alphafold2_pytorch.ops import linear as module
from alphafold2_pytorch.ops import set_runtime
from alphafold2_pytorch.ops.batched import exact, faster, products
from alphafold2_pytorch.ops.linear import (
    BACKENDS,
    LEAST,
    Linear,
    Together,
    choose,
    intel,
    linear,
    linear_first,
    reasons,
    refuses,
)

ROUNDING = 2  # times the error of PyTorch's own product in the same dtype


def skip_if_refused(name: str, x: torch.Tensor, weight: torch.Tensor) -> None:
    if name == "onednn" and (refusal := refuses(x, weight)):
        pytest.skip(f"onednn: {refusal}")


def gradients(x, weight, bias, relu, name, slope):
    leaves = [each.detach().clone().requires_grad_() for each in (x, weight, bias)]
    out = linear(*leaves, relu, name)
    return [out.detach(), *torch.autograd.grad(out, leaves, slope)]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(5, 17), (2, 33, 64), (1, 4500, 48)])
def test_a_backend_gives_the_outputs_and_gradients_of_the_definition(name, relu, shape):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(40, shape[-1]), torch.randn(40)
    slope = torch.randn(*shape[:-1], 40)
    skip_if_refused(name, x, weight)
    exact = gradients(*(each.double() for each in (x, weight, bias)), relu, "torch", slope.double())
    usual = gradients(x, weight, bias, relu, "torch", slope)
    found = gradients(x, weight, bias, relu, name, slope)
    for true, plain, mine in zip(exact, usual, found, strict=True):
        allowed = ROUNDING * (plain - true).abs().max() + 1e-5 * true.abs().max()
        assert (mine - true).abs().max() <= allowed


@pytest.mark.parametrize("name", BACKENDS)
def test_views_and_missing_biases_are_read_as_they_are(name):
    x, weight = torch.randn(7, 6, 5).transpose(0, 1), torch.randn(5, 9).t()
    skip_if_refused(name, x, weight)
    expected = torch.einsum("...d,od->...o", x.double(), weight.double())
    with torch.no_grad():
        assert torch.allclose(linear(x, weight, named=name).double(), expected, atol=1e-5)
    leaf = x.contiguous().requires_grad_()
    linear(leaf, weight, named=name).sum().backward()  # whose gradient is an expanded view
    assert torch.allclose(leaf.grad, weight.sum(0).expand_as(leaf), atol=1e-5)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_layers_together_give_what_each_gives_alone_in_parts(replaced, training):
    one, two = Linear(6, 8), Linear(6, 4)
    double = (nn.Linear if replaced else Linear)(6, 8, bias=False)
    x = torch.randn(2, 3, 6)
    alone = torch.cat([one(x), double(x), two(x)], -1)
    with torch.set_grad_enabled(training):
        layers = Together(4, one, double, two)
        parts = layers(x, *layers.tensors)
    assert [part.shape[-1] for part in parts] == [4] * 5
    assert layers.count == (0 if replaced else 5 if training else 1)
    assert torch.allclose(torch.cat(parts, -1), alone, atol=1e-6)
    if training:
        weights = [*one.parameters(), *double.parameters(), *two.parameters()]
        expected = torch.autograd.grad(alone.square().sum(), weights)
        found = torch.autograd.grad(torch.cat(parts, -1).square().sum(), weights)
        assert all(torch.allclose(x, y, atol=1e-4) for x, y in zip(expected, found, strict=True))
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
        assert {part.dtype for part in layers(x, *layers.tensors)} == {torch.bfloat16}


@pytest.mark.parametrize("name", BACKENDS)
def test_features_first_are_the_transposed(name):
    torch.manual_seed(0)
    leaves = [torch.randn(shape, requires_grad=True) for shape in ((600, 48), (40, 48), (40,))]
    skip_if_refused(name, *leaves[:2])
    slope = torch.randn(40, 600)
    expected, found = linear(*leaves).t(), linear_first(*leaves, name)
    assert found.is_contiguous() and torch.allclose(found, expected, atol=1e-5)
    pairs = zip(*(torch.autograd.grad(x, leaves, slope) for x in (expected, found)), strict=True)
    assert all(torch.allclose(x, y, atol=1e-4) for x, y in pairs)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", [5, 170])
@pytest.mark.parametrize("batch", [1, 2])
def test_products_of_stacks_of_matrices(turned, size, batch):
    torch.manual_seed(0)
    both = torch.randn(batch, 6, size, size)

    def call(both):
        left, right = both.chunk(2, 1)
        pattern = "bdki,bdkj->bdij" if turned else "bdik,bdjk->bdij"
        return torch.einsum(pattern, left, right)

    leaf, slope = both.clone().requires_grad_(), torch.randn(batch, 3, size, size)
    true = both.double().requires_grad_()
    out = products(leaf, turned, "auto")
    assert torch.allclose(out.double(), call(true), atol=1e-4)
    found, expected = (
        torch.autograd.grad(y, x, slope.to(x)) for x, y in ((leaf, out), (true, call(true)))
    )
    assert torch.allclose(found[0].double(), expected[0], atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        low = products(leaf, turned, "auto")
    assert low.dtype == torch.bfloat16 and low.requires_grad
    [rough] = torch.autograd.grad(low, leaf, slope.bfloat16())
    assert (rough - found[0]).norm() < 0.02 * found[0].norm()
    with torch.no_grad():
        assert torch.allclose(products(both, turned, "auto").double(), call(true), atol=1e-4)


def test_float16_sums_have_room():
    both = torch.full((1, 2, 300, 300), 20.0, dtype=torch.float16)
    with torch.no_grad():
        assert products(both, False, "auto").eq(120_000).all()


@pytest.fixture(params=["AuthenticAMD", "GenuineIntel"])
def maker(request, monkeypatch):
    """Whose processor it is taken for."""
    monkeypatch.setattr(module, "intel", lambda: request.param == "GenuineIntel")
    return request.param


def test_auto_leaves_small_products_alone_and_says_why():
    x = torch.randn(3, 8)
    weight = torch.randn(4, 8)
    assert choose(x, weight, "auto") == "torch"
    told = reasons(x, weight, "auto", "torch")
    assert told == {"onednn": refuses(x, weight) or "too small to be worth it"}


def test_auto_leaves_products_to_mkl_on_intels_processors(maker):
    x, weight = torch.randn(LEAST // 64, 8), torch.randn(8, 8)
    skip_if_refused("onednn", x, weight)
    mkl = maker == "GenuineIntel"
    assert choose(x, weight, "auto") == ("torch" if mkl else "onednn")
    assert choose(x, weight, "onednn") == "onednn"
    assert reasons(x, weight, "auto", "torch") == {"onednn": "slower here"}
    left, right = torch.randn(40, 199, 32), torch.randn(40, 32, 199)
    assert faster(left, right) == (exact() and not mkl)
    assert faster(left, right, "onednn") == exact()


@pytest.mark.parametrize("text", ["vendor_id\t: GenuineIntel\n", "vendor_id\t: AuthenticAMD\n"])
def test_the_maker_of_the_processor_is_read(text, monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda path: text)
    assert intel.__wrapped__() == ("Intel" in text)

    def missing(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(module.platform, "processor", lambda: f"Family 6, {text.split()[-1]}")
    assert intel.__wrapped__() == ("Intel" in text)


def test_a_named_backend_that_refuses_is_an_error():
    x = torch.randn(3, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="float32"):
        linear(x, torch.randn(4, 8, dtype=torch.float64), named="onednn")
    with pytest.raises(ValueError, match="choose from auto, onednn, torch"):
        set_runtime(nn.Linear(2, 2), Runtime(linear="mkl"))


def test_a_model_tells_which_product_ran():
    features, x = random_features(), torch.zeros(1, 1)
    model = Alphafold2(dim=16, heads=2, dim_head=8, custom_block_types=("evoformer",)).eval()
    calls = explain(model, features, Runtime(linear="torch")).calls
    mine = [call for call in calls if call.operation == "Linear"]
    assert mine and all(call.ran == "torch" for call in mine)
    told = "'torch' is asked for by name"
    assert all(dict(call.why)["onednn"] in (told, refuses(x, x)) for call in mine)


def test_saved_weights_are_those_of_a_plain_linear_layer():
    plain, ours = nn.Linear(4, 3), Linear(4, 3)
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(ours(x), plain(x))
