"""What surrounds the matrix product of triangle multiplication, fused: `triangle.py` calls these.

A program owns a tile of entries (i, j) of one pair representation with all their features, so that
layer norm needs no pass of its own: statistics and sums are float32, what enters a dot product has
the dtype of the pair representation. `strides` are those of batch, i, j and feature; of the two
sides of triangles (and their gradients): side, batch, feature, i, j. Offsets are 64 bits wide.
"""

from typing import no_type_check

import triton
import triton.language as tl

from alphafold2_pytorch.ops.kernels.dot_kernels import dot

EPSILON = tl.constexpr(1e-5)  # of layer norm, as in `torch.nn.LayerNorm`


@triton.jit
@no_type_check  # as it stands: Triton reads the function's source and globals
def _entries(tile, n, TILE: tl.constexpr):
    """Rows and columns of a tile of entries, and which of them exist."""
    entries = tile * TILE + tl.arange(0, TILE)
    return (entries // n).to(tl.int64), (entries % n).to(tl.int64), entries < n * n


@triton.jit
@no_type_check
def _at(pointer, strides, batch, i, j, features):
    """Pointers to entries x features."""
    start = pointer + batch.to(tl.int64) * strides[0] + i[:, None] * strides[1]
    return start + j[:, None] * strides[2] + features.to(tl.int64)[None, :] * strides[3]


@triton.jit
@no_type_check
def _side_at(pointer, strides, batch, i, j, features, hidden):
    """Pointers to entries x features of both sides; `features` counts through both."""
    of_side = (features % hidden).to(tl.int64) * strides[2]
    of_side += (features // hidden).to(tl.int64) * strides[0]
    start = pointer + batch.to(tl.int64) * strides[1] + of_side[None, :]
    return start + i[:, None] * strides[3] + j[:, None] * strides[4]


@triton.jit
@no_type_check
def _kept(mask, strides, batch, i, j, inside):
    """Which entries the mask keeps."""
    at = mask + batch.to(tl.int64) * strides[0] + i * strides[1] + j * strides[2]
    return tl.load(at, mask=inside, other=0) != 0


@triton.jit
@no_type_check
def _normed(x, strides, weight, bias, batch, i, j, inside, width, WIDTH: tl.constexpr):
    """Layer norm of entries: (with weight and bias, without, one over the deviation), float32."""
    features = tl.arange(0, WIDTH)
    known = features < width
    at = _at(x, strides, batch, i, j, features)
    values = tl.load(at, mask=inside[:, None] & known[None, :], other=0.0).to(tl.float32)
    mean = tl.sum(values, 1) / width
    values = tl.where(known[None, :], values - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(values * values, 1) / width + EPSILON)
    hat = values * scale[:, None]
    weights = tl.load(weight + features, mask=known, other=0.0).to(tl.float32)
    biases = tl.load(bias + features, mask=known, other=0.0).to(tl.float32)
    return hat * weights[None, :] + biases[None, :], hat, scale


@triton.jit
@no_type_check
def _norm_backward(grad, hat, scale, weight, sums, program, width, WIDTH: tl.constexpr):
    """The gradient of what was normed; the share of this tile in those of weight and bias is put
    at `sums`: program, (weight, bias), feature."""
    features = tl.arange(0, WIDTH)
    at = sums + program.to(tl.int64) * 2 * WIDTH + features
    tl.store(at, tl.sum(grad * hat, 0))
    tl.store(at + WIDTH, tl.sum(grad, 0))
    weights = tl.load(weight + features, mask=features < width, other=0.0).to(tl.float32)
    grad = grad * weights[None, :]
    mean = tl.sum(grad, 1) / width
    along = tl.sum(grad * hat, 1) / width
    return (grad - mean[:, None] - hat * along[:, None]) * scale[:, None]


@triton.jit
@no_type_check
def _linear(
    x, weight, bias, outputs, num_out, num_in, WIDTH: tl.constexpr, PRECISION: tl.constexpr
):
    """Some outputs of a linear layer, float32."""
    inputs = tl.arange(0, WIDTH)
    known = (outputs < num_out)[None, :] & (inputs < num_in)[:, None]
    found = tl.load(weight + outputs[None, :] * num_in + inputs[:, None], mask=known, other=0.0)
    biases = tl.load(bias + outputs, mask=outputs < num_out, other=0.0).to(tl.float32)
    return dot(x, found.to(x.dtype), None, PRECISION) + biases[None, :]


@triton.jit
@no_type_check
def _linear_backward(
    found, grad, weight, outputs, num_out, num_in, WIDTH: tl.constexpr, PRECISION: tl.constexpr
):
    """`found` with the gradient that some outputs send to a linear layer's input."""
    inputs = tl.arange(0, WIDTH)
    known = (outputs < num_out)[:, None] & (inputs < num_in)[None, :]
    tile = tl.load(weight + outputs[:, None] * num_in + inputs[None, :], mask=known, other=0.0)
    return dot(grad, tile.to(grad.dtype), found, PRECISION)


@triton.jit
@no_type_check
def edges(
    pair, mask, norm_weight, norm_bias, edges_weight, edges_bias, gates_weight, gates_bias, sides,
    pair_strides, mask_strides, sides_strides, n, width, hidden,
    WIDTH: tl.constexpr, TILE: tl.constexpr, FEATURES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Both sides of triangles, features first: norm, projection, gate and mask in one pass."""
    tiles = tl.cdiv(n * n, TILE)
    batch = tl.program_id(0) // tiles
    i, j, inside = _entries(tl.program_id(0) % tiles, n, TILE)
    normed, _, _ = _normed(
        pair, pair_strides, norm_weight, norm_bias, batch, i, j, inside, width, WIDTH
    )
    normed = normed.to(pair.dtype.element_ty)
    keep = _kept(mask, mask_strides, batch, i, j, inside)
    for first in range(0, 2 * hidden, FEATURES):
        features = first + tl.arange(0, FEATURES)
        edge = _linear(
            normed, edges_weight, edges_bias, features, 2 * hidden, width, WIDTH, PRECISION
        )
        gate = _linear(
            normed, gates_weight, gates_bias, features, 2 * hidden, width, WIDTH, PRECISION
        )
        side = tl.where(keep[:, None], edge * tl.sigmoid(gate), 0.0)
        at = _side_at(sides, sides_strides, batch, i, j, features, hidden)
        known = inside[:, None] & (features < 2 * hidden)[None, :]
        tl.store(at, side.to(sides.dtype.element_ty), mask=known)


@triton.jit
@no_type_check
def update(
    product, pair, norm_weight, norm_bias, norm_out_weight, norm_out_bias,
    out_weight, out_bias, gate_weight, gate_bias, result,
    product_strides, pair_strides, result_strides, n, width, hidden,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, TILE: tl.constexpr, FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """From the product to the update: norm, projection and gate in one pass."""
    tiles = tl.cdiv(n * n, TILE)
    batch = tl.program_id(0) // tiles
    i, j, inside = _entries(tl.program_id(0) % tiles, n, TILE)
    normed, _, _ = _normed(
        pair, pair_strides, norm_weight, norm_bias, batch, i, j, inside, width, WIDTH
    )
    normed = normed.to(pair.dtype.element_ty)
    found, _, _ = _normed(
        product,
        product_strides,
        norm_out_weight,
        norm_out_bias,
        batch,
        i,
        j,
        inside,
        hidden,
        HIDDEN,
    )
    found = found.to(pair.dtype.element_ty)
    for first in range(0, width, FEATURES):
        features = first + tl.arange(0, FEATURES)
        out = _linear(found, out_weight, out_bias, features, width, hidden, HIDDEN, PRECISION)
        gate = _linear(normed, gate_weight, gate_bias, features, width, width, WIDTH, PRECISION)
        values = out * tl.sigmoid(gate)
        at = _at(result, result_strides, batch, i, j, features)
        known = inside[:, None] & (features < width)[None, :]
        tl.store(at, values.to(result.dtype.element_ty), mask=known)


@triton.jit
@no_type_check
def update_backward(
    product, pair, norm_weight, norm_bias, norm_out_weight, norm_out_bias,
    out_weight, out_bias, gate_weight, gate_bias, grad, out_grad, gate_grad, product_grad, sums,
    product_strides, pair_strides, grad_strides, found_strides, product_grad_strides,
    n, width, hidden,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, TILE: tl.constexpr, FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of the output projection, of the gate before its sigmoid, and of the product."""
    tiles = tl.cdiv(n * n, TILE)
    batch = tl.program_id(0) // tiles
    i, j, inside = _entries(tl.program_id(0) % tiles, n, TILE)
    normed, _, _ = _normed(
        pair, pair_strides, norm_weight, norm_bias, batch, i, j, inside, width, WIDTH
    )
    normed = normed.to(pair.dtype.element_ty)
    found, hat, scale = _normed(
        product,
        product_strides,
        norm_out_weight,
        norm_out_bias,
        batch,
        i,
        j,
        inside,
        hidden,
        HIDDEN,
    )
    found = found.to(pair.dtype.element_ty)
    found_grad = tl.zeros([TILE, HIDDEN], tl.float32)
    for first in range(0, width, FEATURES):
        features = first + tl.arange(0, FEATURES)
        known = inside[:, None] & (features < width)[None, :]
        out = _linear(found, out_weight, out_bias, features, width, hidden, HIDDEN, PRECISION)
        gate = _linear(normed, gate_weight, gate_bias, features, width, width, WIDTH, PRECISION)
        gate = tl.sigmoid(gate)
        at = _at(grad, grad_strides, batch, i, j, features)
        values = tl.load(at, mask=known, other=0.0).to(tl.float32)
        to_gate = (values * out * gate * (1 - gate)).to(pair.dtype.element_ty)
        to_out = (values * gate).to(pair.dtype.element_ty)
        tl.store(_at(gate_grad, found_strides, batch, i, j, features), to_gate, mask=known)
        tl.store(_at(out_grad, found_strides, batch, i, j, features), to_out, mask=known)
        found_grad = _linear_backward(
            found_grad, to_out, out_weight, features, width, hidden, HIDDEN, PRECISION
        )
    product_values = _norm_backward(
        found_grad, hat, scale, norm_out_weight, sums, tl.program_id(0), hidden, HIDDEN
    )
    features = tl.arange(0, HIDDEN)
    at = _at(product_grad, product_grad_strides, batch, i, j, features)
    known = inside[:, None] & (features < hidden)[None, :]
    tl.store(at, product_values.to(product_grad.dtype.element_ty), mask=known)


@triton.jit
@no_type_check
def edges_backward(
    pair, mask, norm_weight, norm_bias, edges_weight, edges_bias, gates_weight, gates_bias,
    gate_weight, gate_grad, sides_grad, gates_grad, pair_grad, sums,
    pair_strides, mask_strides, sides_strides, found_strides, pair_grad_strides,
    n, width, hidden,
    WIDTH: tl.constexpr, TILE: tl.constexpr, FEATURES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of the pair representation from those of both sides and of the last gate.

    `sides_grad` is read and overwritten with the gradient of the projections before their gates,
    `gates_grad` is written: that of the gates before their sigmoids.
    """
    tiles = tl.cdiv(n * n, TILE)
    batch = tl.program_id(0) // tiles
    i, j, inside = _entries(tl.program_id(0) % tiles, n, TILE)
    normed, hat, scale = _normed(
        pair, pair_strides, norm_weight, norm_bias, batch, i, j, inside, width, WIDTH
    )
    normed = normed.to(pair.dtype.element_ty)
    keep = _kept(mask, mask_strides, batch, i, j, inside)
    found = tl.zeros([TILE, WIDTH], tl.float32)
    for first in range(0, width, FEATURES):
        features = first + tl.arange(0, FEATURES)
        at = _at(gate_grad, found_strides, batch, i, j, features)
        known = inside[:, None] & (features < width)[None, :]
        to_gate = tl.load(at, mask=known, other=0.0)
        found = _linear_backward(
            found, to_gate, gate_weight, features, width, width, WIDTH, PRECISION
        )
    for first in range(0, 2 * hidden, FEATURES):
        features = first + tl.arange(0, FEATURES)
        edge = _linear(
            normed, edges_weight, edges_bias, features, 2 * hidden, width, WIDTH, PRECISION
        )
        gate = _linear(
            normed, gates_weight, gates_bias, features, 2 * hidden, width, WIDTH, PRECISION
        )
        gate = tl.sigmoid(gate)
        at = _side_at(sides_grad, sides_strides, batch, i, j, features, hidden)
        known = inside[:, None] & (features < 2 * hidden)[None, :]
        values = tl.load(at, mask=known & keep[:, None], other=0.0).to(tl.float32)
        to_edge = (values * gate).to(pair.dtype.element_ty)
        to_gate = (values * edge * gate * (1 - gate)).to(pair.dtype.element_ty)
        tl.debug_barrier()  # no thread may still read what another overwrites
        tl.store(at, to_edge, mask=known)
        at = _side_at(gates_grad, sides_strides, batch, i, j, features, hidden)
        tl.store(at, to_gate, mask=known)
        found = _linear_backward(
            found, to_edge, edges_weight, features, 2 * hidden, width, WIDTH, PRECISION
        )
        found = _linear_backward(
            found, to_gate, gates_weight, features, 2 * hidden, width, WIDTH, PRECISION
        )
    values = _norm_backward(found, hat, scale, norm_weight, sums, tl.program_id(0), width, WIDTH)
    features = tl.arange(0, WIDTH)
    at = _at(pair_grad, pair_grad_strides, batch, i, j, features)
    known = inside[:, None] & (features < width)[None, :]
    tl.store(at, values.to(pair_grad.dtype.element_ty), mask=known)


@triton.jit
@no_type_check
def weight_sums(
    grad, x, norm_weight, norm_bias, weight_grad, bias_grad, grad_strides, x_strides,
    batches, n, outputs, half, width, shares,
    WIDTH: tl.constexpr, TILE: tl.constexpr, FEATURES: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of a linear layer after a norm, summed over one share of the entries.

    `grad`: of the layer's output, in sides of `half` features. `x`: what was normed.
    """
    feature_tiles = tl.cdiv(outputs, FEATURES)
    share = tl.program_id(0) // feature_tiles
    features = tl.program_id(0) % feature_tiles * FEATURES + tl.arange(0, FEATURES)
    tiles = tl.cdiv(n * n, TILE)
    tiles_each = tl.cdiv(tiles * batches, shares)
    found = tl.zeros([FEATURES, WIDTH], tl.float32)
    biases = tl.zeros([FEATURES], tl.float32)
    for tile in range(share * tiles_each, tl.minimum((share + 1) * tiles_each, tiles * batches)):
        batch = tile // tiles
        i, j, inside = _entries(tile % tiles, n, TILE)
        normed, _, _ = _normed(
            x, x_strides, norm_weight, norm_bias, batch, i, j, inside, width, WIDTH
        )
        at = _side_at(grad, grad_strides, batch, i, j, features, half)
        known = inside[:, None] & (features < outputs)[None, :]
        values = tl.load(at, mask=known, other=0.0)
        biases += tl.sum(values.to(tl.float32), 0)
        found = dot(tl.trans(values), normed.to(values.dtype), found, PRECISION)
    inputs = tl.arange(0, WIDTH)
    row = share.to(tl.int64) * outputs + features
    known = features < outputs
    tl.store(bias_grad + row, biases, mask=known)
    at = weight_grad + row[:, None] * width + inputs[None, :]
    tl.store(at, found, mask=known[:, None] & (inputs < width)[None, :])
