"""Random features of the softmax kernel: how near they come, what they see, their draws."""

import copy
import math

import pytest
import torch
from torch import nn

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.layers.linear_attention import (
    LinearAttend,
    default_features,
    orthogonal_rows,
    redraw_projections,
)
from alphafold2_pytorch.ops import Attend, set_runtime


def random_input(b=2, r=3, h=2, n=5, m=7, d=4, dtype=torch.float64):
    q, k, v = (torch.randn(b, r, h, length, d, dtype=dtype) for length in (n, m, m))
    mask = torch.rand(b, r, m) > 0.3
    mask[..., 0], mask[0, 0] = True, False  # one row without keys
    return q, k, v, mask


def slow_attention(q, k, v, mask, projection):
    """The definition, entry by entry, without any care for large numbers."""
    out = torch.zeros_like(q)
    d = q.shape[-1]

    def features(x):
        x = x / d**0.25
        return (projection @ x - x @ x / 2).exp()

    for where in torch.cartesian_prod(*(torch.arange(size) for size in q.shape[:4])):
        row, i = tuple(where[:3].tolist()), int(where[3])
        kept = [j for j in range(k.shape[3]) if mask[row[0], row[1], j]]
        weights = [features(q[row][i]) @ features(k[row][j]) for j in kept]
        if kept:
            parts = [w * v[row][j] for w, j in zip(weights, kept, strict=True)]
            out[row][i] = sum(parts) / sum(weights)
    return out


def test_equals_its_definition_and_a_query_without_keys_reads_zero():
    attend = LinearAttend(4, 9).double()
    q, k, v, mask = random_input()
    out = attend(q, k, v, mask)
    torch.testing.assert_close(out, slow_attention(q, k, v, mask, attend.projection))
    assert torch.equal(out[0, 0], torch.zeros_like(out[0, 0])) and out[0, 1].all()


@pytest.mark.parametrize("seed", range(4))
def test_error_falls_as_features_grow(seed):
    """By about the square root of their number, which grows 16-fold from one to the next."""
    torch.manual_seed(seed)
    q, k, v, mask = random_input(d=8, m=20)
    q, k = 0.5 * q, 0.5 * k  # the variance grows exponentially with their squared length
    exact = Attend()(q, k, v, mask=mask)

    def error(features: int) -> float:
        draws = [LinearAttend(8, features).double()(q, k, v, mask) for _ in range(8)]
        return float(torch.stack([(each - exact).square().mean() for each in draws]).mean().sqrt())

    errors = [error(features) for features in (16, 256, 4096)]
    assert errors[1] < errors[0] / 2.5 and errors[2] < errors[1] / 2.5
    assert errors[2] < 0.05 * exact.std()


def test_features_are_an_unbiased_estimate_of_the_kernel():
    q, k = 0.3 * torch.randn(2, 6, dtype=torch.float64)
    w = torch.cat([orthogonal_rows(9, 6) for _ in range(5000)])
    found = ((w @ q - q @ q / 2) + (w @ k - k @ k / 2)).exp().mean()
    torch.testing.assert_close(found, (q @ k).exp(), rtol=0.02, atol=0)


def test_rows_are_orthogonal_in_blocks_and_as_long_as_normal_ones():
    w = orthogonal_rows(10, 4)
    gram = w @ w.T
    for block in (slice(0, 4), slice(4, 8), slice(8, 10)):
        part = gram[block, block]
        torch.testing.assert_close(part, part.diagonal().diag(), rtol=0, atol=1e-12)
    many = torch.cat([orthogonal_rows(4, 4) for _ in range(2000)])
    torch.testing.assert_close(
        many.square().sum(1).mean(), torch.tensor(4.0).double(), rtol=0.05, atol=0
    )
    torch.testing.assert_close(many.mean(0), torch.zeros(4).double(), rtol=0, atol=0.05)


@pytest.mark.parametrize("size", [1e3, 1e10])
def test_masked_keys_and_other_batch_elements_are_not_seen(size):
    """Not even through the numbers that keep the exponentials small."""
    attend = LinearAttend(4, 9)
    q, k, v, mask = random_input(dtype=torch.float32)
    dirty_k, dirty_v = (x + size * ~mask[:, :, None, :, None] * torch.randn_like(x) for x in (k, v))
    clean = attend(q, k, v, mask)
    assert torch.equal(attend(q, dirty_k, dirty_v, mask), clean)
    dirty_k[1] = size * torch.randn_like(dirty_k[1])
    torch.testing.assert_close(attend(q, dirty_k, v, mask)[0], clean[0])


@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_large_queries_and_keys_stay_finite(scale):
    q, k, v, mask = (x.requires_grad_() if x.is_floating_point() else x
                     for x in random_input(dtype=torch.float32))  # fmt: skip
    out = LinearAttend(4, 9)(scale * q, scale * k, v, mask)
    out.square().sum().backward()
    assert all(torch.isfinite(x).all() for x in (out, q.grad, k.grad, v.grad))
    inside = v.detach().abs().amax()
    assert out.abs().max() <= inside * (1 + 1e-5)  # a mean of values with positive weights


def test_gradients_equal_finite_differences():
    attend = LinearAttend(3, 5).double()
    q, k, v, mask = random_input(b=1, r=2, h=1, n=2, m=3, d=3)
    inputs = [x.requires_grad_() for x in (q, k, v)]
    assert torch.autograd.gradcheck(lambda q, k, v: attend(q, k, v, mask), inputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_are_computed_in_float32(dtype):
    attend = LinearAttend(4, 9)
    q, k, v, mask = random_input(dtype=torch.float32)
    q, k, v = (x.to(dtype) for x in (6 * q, 6 * k, v))
    wide = attend(q.float(), k.float(), v.float(), mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = attend(q, k, v, mask)
    assert out.dtype == dtype
    assert torch.equal(out, wide.to(dtype))


def test_pieces_of_the_queries_give_the_same_numbers():
    attend = LinearAttend(4, 9)
    inputs = random_input(dtype=torch.float32)
    with torch.no_grad():
        whole = attend(*inputs)
        set_runtime(attend, Runtime(chunk_bytes=1))
        torch.testing.assert_close(attend(*inputs), whole)


def test_dropout_drops_keys_in_training_only_and_keeps_the_mean():
    attend = LinearAttend(4, 9, dropout=0.5)
    q, k, v, mask = random_input(dtype=torch.float32)
    q, k, v, mask = q[:, 1:], k[:, 1:], v[:, 1:], mask[:, 1:]
    calm = attend.eval()(q, k, v, mask)
    assert torch.equal(attend(q, k, v, mask), calm)
    attend.train()
    assert not torch.allclose(attend(q, k, v, mask), calm)
    mean = torch.stack([attend(q, k, v, mask) for _ in range(400)]).mean(0)
    torch.testing.assert_close(mean, calm, rtol=0, atol=0.3)


def test_the_projection_is_saved_and_drawn_from_torchs_generator():
    torch.manual_seed(3)
    one = LinearAttend(4, 9)
    torch.manual_seed(3)
    two = LinearAttend(4, 9)
    assert torch.equal(one.projection, two.projection)
    assert set(one.state_dict()) == {"projection", "steps"}
    two.redraw()
    assert not torch.equal(one.projection, two.projection)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.projection, two.projection)


def test_projections_are_redrawn_on_schedule_in_training_only():
    model = nn.ModuleList([LinearAttend(4, 9, redraw_every=3), LinearAttend(4, 9, redraw_every=2)])
    before = copy.deepcopy(model)
    for _ in range(5):
        redraw_projections(model.eval())
    assert all(torch.equal(a.projection, b.projection) for a, b in zip(model, before, strict=True))
    model.train()
    changed = []
    for _ in range(6):
        last = [each.projection.clone() for each in model]
        redraw_projections(model)
        changed.append([not torch.equal(a.projection, b) for a, b in zip(model, last, strict=True)])
    assert [each[0] for each in changed] == [False, False, True] * 2
    assert [each[1] for each in changed] == [False, True] * 3


def test_a_saved_schedule_goes_on_where_it_stopped():
    one = LinearAttend(4, 9, redraw_every=5).train()
    for _ in range(3):
        redraw_projections(one)
    two = LinearAttend(4, 9, redraw_every=5).train()
    two.load_state_dict(one.state_dict())
    for each in (one, two):
        torch.manual_seed(7)
        for _ in range(3):
            redraw_projections(each)
    assert torch.equal(one.projection, two.projection) and int(two.steps) == 1


def test_a_redraw_between_forward_and_backward_is_refused_by_autograd():
    attend = LinearAttend(4, 9)
    q, k, v, mask = random_input(dtype=torch.float32)
    out = attend(q.requires_grad_(), k, v, mask)
    attend.redraw()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_default_number_of_features():
    assert [default_features(d) for d in (1, 8, 64)] == [1, 17, round(64 * math.log(64))]


@pytest.mark.parametrize("numbers", [{"features": 0}, {"features": 4, "redraw_every": 0}])
def test_numbers_below_one_are_refused(numbers):
    with pytest.raises(ValueError, match="at least 1 feature, and 1 step"):
        LinearAttend(4, **numbers)
