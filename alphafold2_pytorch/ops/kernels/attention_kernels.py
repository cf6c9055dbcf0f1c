"""Attention with a pair bias in tiles: four Triton kernels; `attention.py` calls them.

Forward: softmax over tiles of keys with a running maximum (Milakov and Gimelshein (2018); Dao et
al. (2022), FlashAttention), which keeps one number per query. Backward: weights are computed again
from that number. A weight never leaves the registers of the program that made it.

Logits are in base 2, so that the exponential is one instruction. Sums, softmax and accumulators
are float32; what enters a dot product has the dtype of the queries. Offsets are 64 bits wide.
"""

from typing import no_type_check

import triton
import triton.language as tl

from alphafold2_pytorch.ops.kernels.dot_kernels import dot

LOG2_E = tl.constexpr(1.4426950408889634)
LOWEST = tl.constexpr(-1e30)  # a maximum before any logit; finite, so that no difference is nan


@triton.jit
@no_type_check  # as it stands: Triton reads the function's source and globals
def _program(tiles, heads, rows):
    """Which tile, head, row and batch element this program owns; the heads of a row are neighbours,
    so that the bias of all heads stays in the cache from row to row."""
    group = tl.program_id(0) // tiles
    row = group // heads
    batch = row // rows
    return (
        tl.program_id(0) % tiles,
        (group % heads).to(tl.int64),
        (row % rows).to(tl.int64),
        batch.to(tl.int64),
    )


@triton.jit
@no_type_check
def _tile(pointer, strides, batch, row, head, places, features, length, width):
    """Entries `places` x `features` of one row and head, with zeros beyond `length` and `width`."""
    start = pointer + batch * strides[0] + row * strides[1] + head * strides[2]
    at = (
        start
        + places.to(tl.int64)[:, None] * strides[3]
        + features.to(tl.int64)[None, :] * strides[4]
    )
    return tl.load(at, mask=(places < length)[:, None] & (features < width)[None, :], other=0.0)


@triton.jit
@no_type_check
def _store(values, pointer, strides, batch, row, head, places, features, length, width):
    start = pointer + batch * strides[0] + row * strides[1] + head * strides[2]
    at = (
        start
        + places.to(tl.int64)[:, None] * strides[3]
        + features.to(tl.int64)[None, :] * strides[4]
    )
    inside = (places < length)[:, None] & (features < width)[None, :]
    tl.store(at, values.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def _bias_tile(bias, strides, batch, head, queries, keys, n, m):
    """Bias of a tile in base 2; `queries` and `keys` broadcast against each other, either way."""
    start = bias + batch * strides[0] + head * strides[1]
    at = start + queries.to(tl.int64) * strides[2] + keys.to(tl.int64) * strides[3]
    return tl.load(at, mask=(queries < n) & (keys < m), other=0.0).to(tl.float32) * LOG2_E


@triton.jit
@no_type_check
def _kept(mask, strides, batch, row, keys, m):
    """Which keys there are."""
    keep = keys < m
    if mask is not None:
        at = mask + batch * strides[0] + row * strides[1] + keys.to(tl.int64) * strides[2]
        keep = keep & (tl.load(at, mask=keep, other=0) != 0)
    return keep


@triton.jit
@no_type_check
def forward(
    q, k, v, bias, mask, out, sums,
    q_strides, k_strides, v_strides, bias_strides, mask_strides, out_strides,
    rows, heads, n, m, width, scale,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of queries: its output, and of each query the logarithm of its sum of exponentials.

    Without any key the output is zero and the logarithm infinite: later weights become zero.
    """
    tiles = tl.cdiv(n, QUERIES)
    tile, head, row, batch = _program(tiles, heads, rows)
    features = tl.arange(0, WIDTH)
    queries = tile * QUERIES + tl.arange(0, QUERIES)
    q_tile = _tile(q, q_strides, batch, row, head, queries, features, n, width)
    highest = tl.full([QUERIES], LOWEST, tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    found = tl.zeros([QUERIES, WIDTH], tl.float32)
    for start in range(0, m, KEYS):
        keys = start + tl.arange(0, KEYS)
        k_tile = _tile(k, k_strides, batch, row, head, keys, features, m, width)
        logits = dot(q_tile, tl.trans(k_tile), None, PRECISION) * scale
        if bias is not None:
            logits += _bias_tile(
                bias, bias_strides, batch, head, queries[:, None], keys[None, :], n, m
            )
        keep = _kept(mask, mask_strides, batch, row, keys, m)
        logits = tl.where(keep[None, :], logits, float("-inf"))
        higher = tl.maximum(highest, tl.max(logits, 1))
        weights = tl.exp2(logits - higher[:, None])
        fade = tl.exp2(highest - higher)
        v_tile = _tile(v, v_strides, batch, row, head, keys, features, m, width)
        total = total * fade + tl.sum(weights, 1)
        found = found * fade[:, None]
        found = dot(weights, v_tile, found, PRECISION)
        highest = higher
    seen = total > 0
    found = found / tl.where(seen, total, 1.0)[:, None]
    _store(found, out, out_strides, batch, row, head, queries, features, n, width)
    logarithm = tl.where(seen, highest + tl.log2(tl.where(seen, total, 1.0)), float("inf"))
    at = ((batch * rows + row) * heads + head) * n + queries
    tl.store(sums + at, logarithm, mask=queries < n)


@triton.jit
@no_type_check
def output_dots(
    out, grad, dots, out_strides, grad_strides, rows, heads, n, width,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Output times its gradient, summed over features: what the softmax's gradient subtracts."""
    tile, head, row, batch = _program(tl.cdiv(n, QUERIES), heads, rows)
    features = tl.arange(0, WIDTH)
    queries = tile * QUERIES + tl.arange(0, QUERIES)
    out_tile = _tile(out, out_strides, batch, row, head, queries, features, n, width)
    grad_tile = _tile(grad, grad_strides, batch, row, head, queries, features, n, width)
    found = tl.sum(out_tile.to(tl.float32) * grad_tile.to(tl.float32), 1)
    at = ((batch * rows + row) * heads + head) * n + queries
    tl.store(dots + at, found, mask=queries < n)


@triton.jit
@no_type_check
def backward_queries(
    q, k, v, bias, mask, sums, dots, grad, q_grad,
    q_strides, k_strides, v_strides, bias_strides, mask_strides, grad_strides, q_grad_strides,
    rows, heads, n, m, width, scale,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of the queries' gradient, over all keys."""
    tile, head, row, batch = _program(tl.cdiv(n, QUERIES), heads, rows)
    features = tl.arange(0, WIDTH)
    queries = tile * QUERIES + tl.arange(0, QUERIES)
    q_tile = _tile(q, q_strides, batch, row, head, queries, features, n, width)
    grad_tile = _tile(grad, grad_strides, batch, row, head, queries, features, n, width)
    at = ((batch * rows + row) * heads + head) * n + queries
    logarithm = tl.load(sums + at, mask=queries < n, other=float("inf"))
    subtract = tl.load(dots + at, mask=queries < n, other=0.0)
    found = tl.zeros([QUERIES, WIDTH], tl.float32)
    for start in range(0, m, KEYS):
        keys = start + tl.arange(0, KEYS)
        k_tile = _tile(k, k_strides, batch, row, head, keys, features, m, width)
        logits = dot(q_tile, tl.trans(k_tile), None, PRECISION) * scale
        if bias is not None:
            logits += _bias_tile(
                bias, bias_strides, batch, head, queries[:, None], keys[None, :], n, m
            )
        keep = _kept(mask, mask_strides, batch, row, keys, m)
        logits = tl.where(keep[None, :], logits, float("-inf"))
        weights = tl.exp2(logits - logarithm[:, None])
        v_tile = _tile(v, v_strides, batch, row, head, keys, features, m, width)
        weights_grad = dot(grad_tile, tl.trans(v_tile), None, PRECISION)
        logits_grad = weights * (weights_grad - subtract[:, None])
        found = dot(logits_grad, k_tile, found, PRECISION)
    found = found * (scale / LOG2_E)
    _store(found, q_grad, q_grad_strides, batch, row, head, queries, features, n, width)


@triton.jit
@no_type_check
def backward_keys(
    q, k, v, bias, mask, sums, dots, grad, k_grad, v_grad,
    q_strides, k_strides, v_strides, bias_strides, mask_strides, grad_strides,
    k_grad_strides, v_grad_strides,
    rows, heads, n, m, width, scale,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of the keys' and values' gradients, over all queries; logits are keys x queries."""
    tile, head, row, batch = _program(tl.cdiv(m, KEYS), heads, rows)
    features = tl.arange(0, WIDTH)
    keys = tile * KEYS + tl.arange(0, KEYS)
    k_tile = _tile(k, k_strides, batch, row, head, keys, features, m, width)
    v_tile = _tile(v, v_strides, batch, row, head, keys, features, m, width)
    keep = _kept(mask, mask_strides, batch, row, keys, m)
    k_found = tl.zeros([KEYS, WIDTH], tl.float32)
    v_found = tl.zeros([KEYS, WIDTH], tl.float32)
    for start in range(0, n, QUERIES):
        queries = start + tl.arange(0, QUERIES)
        q_tile = _tile(q, q_strides, batch, row, head, queries, features, n, width)
        logits = dot(k_tile, tl.trans(q_tile), None, PRECISION) * scale
        if bias is not None:
            logits += _bias_tile(
                bias, bias_strides, batch, head, queries[None, :], keys[:, None], n, m
            )
        at = ((batch * rows + row) * heads + head) * n + queries
        logarithm = tl.load(sums + at, mask=queries < n, other=float("inf"))
        subtract = tl.load(dots + at, mask=queries < n, other=0.0)
        logits = tl.where(keep[:, None], logits, float("-inf"))
        weights = tl.exp2(logits - logarithm[None, :])
        grad_tile = _tile(grad, grad_strides, batch, row, head, queries, features, n, width)
        v_found = dot(weights, grad_tile, v_found, PRECISION)
        weights_grad = dot(v_tile, tl.trans(grad_tile), None, PRECISION)
        logits_grad = weights * (weights_grad - subtract[None, :])
        k_found = dot(logits_grad, q_tile, k_found, PRECISION)
    k_found = k_found * (scale / LOG2_E)
    _store(k_found, k_grad, k_grad_strides, batch, row, head, keys, features, m, width)
    _store(v_found, v_grad, v_grad_strides, batch, row, head, keys, features, m, width)


@triton.jit
@no_type_check
def backward_bias(
    q, k, v, bias, mask, sums, dots, grad, bias_grad,
    q_strides, k_strides, v_strides, bias_strides, mask_strides, grad_strides, bias_grad_strides,
    rows, heads, n, m, width, scale, shares, rows_each,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """A tile of the bias' gradient, summed over one share of the rows, always in the same order."""
    key_tiles = tl.cdiv(m, KEYS)
    tile, head, share, batch = _program(tl.cdiv(n, QUERIES) * key_tiles, heads, shares)
    features = tl.arange(0, WIDTH)
    queries = tile // key_tiles * QUERIES + tl.arange(0, QUERIES)
    keys = tile % key_tiles * KEYS + tl.arange(0, KEYS)
    base = _bias_tile(bias, bias_strides, batch, head, queries[:, None], keys[None, :], n, m)
    found = tl.zeros([QUERIES, KEYS], tl.float32)
    first = share * rows_each
    for row in range(first, tl.minimum(first + rows_each, rows)):
        q_tile = _tile(q, q_strides, batch, row, head, queries, features, n, width)
        k_tile = _tile(k, k_strides, batch, row, head, keys, features, m, width)
        logits = dot(q_tile, tl.trans(k_tile), None, PRECISION) * scale + base
        keep = _kept(mask, mask_strides, batch, row, keys, m)
        logits = tl.where(keep[None, :], logits, float("-inf"))
        at = ((batch * rows + row) * heads + head) * n + queries
        logarithm = tl.load(sums + at, mask=queries < n, other=float("inf"))
        subtract = tl.load(dots + at, mask=queries < n, other=0.0)
        weights = tl.exp2(logits - logarithm[:, None])
        v_tile = _tile(v, v_strides, batch, row, head, keys, features, m, width)
        grad_tile = _tile(grad, grad_strides, batch, row, head, queries, features, n, width)
        weights_grad = dot(grad_tile, tl.trans(v_tile), None, PRECISION)
        found += weights * (weights_grad - subtract[:, None])
    _store(found, bias_grad, bias_grad_strides, share, batch, head, queries, keys, n, m)
