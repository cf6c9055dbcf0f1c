"""Compressed keys and values: every remainder of the length, masks, padding."""

import pytest
import torch

from alphafold2_pytorch.layers.compression import Compression


def build(heads=2, dim_head=3, ratio=3) -> Compression:
    compression = Compression(heads, dim_head, ratio).double()
    with torch.no_grad():
        compression.conv.weight.add_(torch.randn_like(compression.conv.weight))
    return compression


def slow(compression, x, mask, heads, dim_head):
    b, r, m, _ = x.shape
    ratio, weight = compression.ratio, compression.conv.weight
    groups = -(-m // ratio)
    out = torch.zeros(b, r, groups, x.shape[3], dtype=x.dtype)
    kept = torch.zeros(b, r, groups, dtype=torch.bool)
    for e, row, g in torch.cartesian_prod(*(torch.arange(s) for s in (b, r, groups))).tolist():
        members = [j for j in range(g * ratio, min(m, (g + 1) * ratio)) if mask[e, row, j]]
        kept[e, row, g] = bool(members)
        for head in range(2 * heads if members else 0):
            part = slice(head * dim_head, (head + 1) * dim_head)
            total = sum(weight[part, :, j - g * ratio] @ x[e, row, j, part] for j in members)
            out[e, row, g, part] = total * ratio / len(members)
    return out, kept


@pytest.mark.parametrize("ratio", [1, 2, 3, 5])
@pytest.mark.parametrize("length", range(1, 8))
def test_equals_a_loop_for_every_remainder(ratio, length):
    compression = build(ratio=ratio)
    x = torch.randn(2, 3, length, 12, dtype=torch.float64)
    mask = torch.rand(2, 3, length) > 0.3
    found, kept = compression(x, mask)
    expected, expected_kept = slow(compression, x, mask, 2, 3)
    assert torch.equal(kept, expected_kept)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("length", range(1, 8))
@pytest.mark.parametrize("more", range(1, 5))
def test_padding_only_adds_groups_that_are_not_kept(length, more):
    compression = build()
    x = torch.randn(1, 2, length + more, 12, dtype=torch.float64)
    mask = torch.arange(length + more).expand(1, 2, -1) < length
    found, kept = compression(x, mask)
    short, short_kept = compression(x[:, :, :length], mask[:, :, :length])
    groups = short.shape[2]
    torch.testing.assert_close(found[:, :, :groups], short)
    assert short_kept.all() and kept[:, :, :groups].all() and not kept[:, :, groups:].any()


def test_starts_as_the_mean_of_what_is_there():
    x, mask = torch.randn(1, 1, 5, 12), torch.tensor([[[True, False, True, True, True]]])
    found, _ = Compression(2, 3, 3)(x, mask)
    torch.testing.assert_close(found[0, 0, 0], (x[0, 0, 0] + x[0, 0, 2]) / 2)
    torch.testing.assert_close(found[0, 0, 1], x[0, 0, 3:].mean(0))


def test_a_masked_member_is_not_seen_even_if_it_is_no_number():
    compression = build()
    x, mask = torch.randn(1, 1, 5, 12).double(), torch.tensor([[[True, False, True, True, True]]])
    other = x.clone()
    other[0, 0, 1] = float("nan")
    assert torch.equal(compression(other, mask)[0], compression(x, mask)[0])


def test_ratios_below_one_are_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Compression(2, 3, 0)
