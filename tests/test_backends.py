"""Every backend against its definition in float64, no further from it than plain PyTorch is.

A new backend is covered by being registered.
On a GPU: pytest -o addopts= -m gpu tests/test_backends.py
"""

import re
from importlib.util import find_spec
from itertools import chain

import pytest
import torch
from backend_kit import (
    ATTENTION,
    DEVICES,
    TRIANGLE,
    attention_call,
    distances,
    moved,
    run,
    skip_if_refused,
    triangle_call,
)
from torch._subclasses.fake_tensor import FakeTensorMode

from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.triangles import TRIANGLES
from alphafold2_pytorch.ops.triangles.base import computed_in

LENGTHS = [17, 64, 128, 199]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def assert_as_near_as_plain(registry, name: str, call: tuple) -> None:
    """Output and all gradients: at most twice as far from float64 as `reference` in that dtype."""
    out = registry["reference"].run(*call, *([None] if registry is TRIANGLES else []))
    direction = torch.randn_like(out.double()).to(call[0].dtype)
    exact = run(registry, "reference", moved(call, torch.float64), direction)
    plain = distances(run(registry, "reference", call, direction), exact)
    found = distances(run(registry, name, call, direction), exact)
    room = 1e-12  # in float64, where there is nothing better to compare with
    far = {i: (x, y) for i, (x, y) in enumerate(zip(found, plain, strict=True)) if x > 2 * y + room}
    assert not far, f"further than twice plain PyTorch (of output, gradients: found, plain): {far}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_as_near_to_float64_as_plain_pytorch(name, dtype, length, device):
    call = moved(attention_call(length, dtype), device)
    skip_if_refused(BACKENDS, name, call)
    assert_as_near_as_plain(BACKENDS, name, call)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("name", ATTENTION)
def test_attention_with_and_without_bias_and_mask_of_any_length(name, bias, mask, device):
    for n, m in ((20, 20), (1, 33), (33, 5)):
        call = moved(attention_call(n, torch.float32, bias, mask, m), device)
        skip_if_refused(BACKENDS, name, call)
        assert_as_near_as_plain(BACKENDS, name, call)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["reference", *ATTENTION])
def test_a_row_without_keys_yields_zero_and_gets_no_gradient(name, device):
    call = moved(attention_call(32, torch.float32), device)
    skip_if_refused(BACKENDS, name, call)
    out, *gradients = run(BACKENDS, name, call)
    assert not out[0, 0].any() and out[0, 1].any()
    for gradient in gradients[:3]:
        assert not gradient[0, 0].any() and gradient[0, 1].any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("outgoing", [True, False])
@pytest.mark.parametrize("name", TRIANGLE)
def test_triangles_are_as_near_to_float64_as_plain_pytorch(name, outgoing, dtype, length, device):
    call = moved(triangle_call(length, dtype, outgoing), device)
    skip_if_refused(TRIANGLES, name, call)
    assert_as_near_as_plain(TRIANGLES, name, call)


def test_a_backend_that_is_too_far_is_found_out():
    class Sloppy:
        @staticmethod
        def run(q, k, v, bias, mask, dropout):
            return BACKENDS["reference"].run(q, k, v, bias * 0.999, mask, dropout)

    registry = {"reference": BACKENDS["reference"], "sloppy": Sloppy}
    with pytest.raises(AssertionError, match="further than twice"):
        assert_as_near_as_plain(registry, "sloppy", attention_call(17, torch.float32))


@pytest.mark.parametrize("outgoing", [True, False])
def test_a_triangle_update_equals_loops(outgoing):
    """Jumper et al. (2021) Suppl. Alg. 11 and 12, entry by entry."""
    pair, mask, _, w = call = triangle_call(4, torch.float64, outgoing, 8, 6)
    out = TRIANGLES["reference"].run(*call, None)
    norm = torch.nn.functional.layer_norm
    x = norm(pair, (8,), w.norm_weight, w.norm_bias)[0]

    def edge(i: int, j: int, side: slice):
        edges, gates = w.edges_weight @ x[i, j] + w.edges_bias, w.gates_weight @ x[i, j]
        return (mask[0, i, j] * edges * (gates + w.gates_bias).sigmoid())[side]

    left, right = slice(0, 6), slice(6, 12)
    for i in range(4):
        for j in range(4):
            if outgoing:
                terms = [edge(i, k, left) * edge(j, k, right) for k in range(4)]
            else:
                terms = [edge(k, i, left) * edge(k, j, right) for k in range(4)]
            found = norm(sum(terms), (6,), w.norm_out_weight, w.norm_out_bias)
            gate = (w.gate_weight @ x[i, j] + w.gate_bias).sigmoid()
            torch.testing.assert_close(out[0, i, j], (w.out_weight @ found + w.out_bias) * gate)


@pytest.mark.compile
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_the_definition_of_flex_attention_agrees_on_a_cpu(bias, mask):
    *call, dropout = moved(attention_call(37, torch.float32, bias, mask), "cpu")
    call = [each if each is None else each.detach() for each in call]
    with torch.no_grad():
        found = BACKENDS["flex"].run(*call, dropout, compiled=False)
        wanted = BACKENDS["reference"].run(*call, dropout)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def on_gpu(n=64, dtype=torch.bfloat16, d=32, m=None, dropout=0.0) -> tuple:
    """Tensors of a GPU without a GPU."""
    with FakeTensorMode():
        q, k = (torch.empty(1, 2, 2, x, d, dtype=dtype, device="cuda") for x in (n, m or n))
        return q, k, k, None, None, dropout


@pytest.mark.parametrize("name", ["cuequivariance", "deepspeed", "flex", "triton"])
def test_kernels_for_a_gpu_say_why_they_refuse(name, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    refuses = BACKENDS[name].refuses
    assert refuses(*attention_call(17, torch.float32)) == "it runs on CUDA only"
    packages = {"cuequivariance": "cuequivariance_torch", "deepspeed": "deepspeed"}
    if name in packages and find_spec(packages[name]) is None:
        install = {
            "cuequivariance": r"pip install .*\[cuequivariance\]",
            "deepspeed": r"_deepspeed.sh",
        }
        assert re.search(
            rf"{packages[name]} is not installed: .*{install[name]}", refuses(*on_gpu())
        )
    if name != "triton" or find_spec("triton"):
        assert refuses(*on_gpu(dropout=0.1)) == "it has no dropout"
        assert "float64" in refuses(*on_gpu(dtype=torch.float64))


def test_constraints_of_kernels_are_told():
    cuequivariance, deepspeed = BACKENDS["cuequivariance"].refuses, BACKENDS["deepspeed"].refuses
    assert "at most 32 wide, got 64" in cuequivariance(*on_gpu(dtype=torch.float32, d=64))
    assert "multiple of 8 and at most 128 wide, got 12" in cuequivariance(*on_gpu(d=12))
    assert deepspeed(*on_gpu(dtype=torch.float32)) == "it has no torch.float32"
    assert "at most 64 wide, got 128" in deepspeed(*on_gpu(d=128))
    assert "as many keys as queries, got 20 and 30" in deepspeed(*on_gpu(30, m=20))
    assert "at least 17 positions, got 16" in deepspeed(*on_gpu(16))
    assert "16 to 256 wide, got 8" in BACKENDS["flex"].refuses(*on_gpu(d=8))


def test_constraints_of_the_triangle_kernel_are_told():
    def refusal(dtype=torch.float32, dim=32, hidden=32) -> str:
        with FakeTensorMode():
            _, mask, outgoing, weights = triangle_call(9, dtype, True, dim, hidden)
            pair = torch.empty(1, 9, 9, dim, dtype=dtype, device="cuda")
        return TRIANGLES["cuequivariance"].refuses(pair, mask, outgoing, weights)

    assert "multiples of 32, got 16 and 48 inside" in refusal(dim=16, hidden=48)
    assert "no torch.float16 with room for the sum" in refusal(torch.float16)
    with torch.autocast("cpu", torch.float16):  # which decides what products are computed in
        assert computed_in(torch.empty(1)) == torch.float16
    assert computed_in(torch.empty(1)) == torch.float32


def test_nothing_that_was_never_measured_on_a_gpu_is_in_auto():
    from alphafold2_pytorch.ops import attention, triangle

    never = {"cuequivariance", "deepspeed", "triton"}
    assert not never & {*chain(*attention.AUTO.values()), *attention.AUTO_ELSEWHERE, *triangle.AUTO}
