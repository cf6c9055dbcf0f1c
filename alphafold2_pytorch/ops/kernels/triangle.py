"""Triangle multiplication by our own Triton kernels around a batched matrix product, both ways.

Jumper et al. (2021) Suppl. Alg. 11, 12. Two fused kernels read the pair representation; the sum
over the third residue is `torch.bmm`. Weights of any dtype are rounded to that of `pair` before dot
products; statistics, sums and the gates' sigmoids are float32, and so is the product of float16.

Memory, in numbers for each entry of the pair representation of width d with h hidden features: of a
call with gradients stay `pair`, `mask` (the caller's) and the product, h (of 4 bytes in float16).
Forward needs 2 h more, backward 5 h + d or 4 h + 2 d, whichever
is more; float16 also needs float32 copies of the two factors of one product. Rows of matrices are
padded to multiples of 8. Beside these, 264 float32 copies of one weight, for its gradient.
"""

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from alphafold2_pytorch.ops.kernels.launch import (
    Tiles,
    power_of_two,
    precision,
    refuse,
    sizes_of,
    start,
)
from alphafold2_pytorch.typing import Bool, Float, Tensor

WIDEST = 256
SHARES = 264  # sums over entries side by side in a weight's gradient: two for each core of an H100
ALIGNED = 8  # rows of matrices start at multiples of 16 bytes, as the tensor cores read them


def _ways(*ways: tuple[int, int, int, int]) -> tuple[Tiles, ...]:
    return tuple(Tiles({"TILE": t, "FEATURES": f}, w, s) for t, f, w, s in ways)


# (entries, features at a time, warps, stages) to choose from, by bytes of a number and whether
# entries are wide: over 128 features. The first is a safe choice.
FORWARD = {
    (2, False): _ways((64, 64, 4, 2), (128, 64, 8, 2), (64, 32, 4, 2)),
    (2, True): _ways((64, 32, 8, 2), (32, 32, 4, 2)),
    (4, False): _ways((32, 32, 4, 2), (32, 32, 8, 2)),
    (4, True): _ways((16, 16, 4, 2), (16, 32, 8, 2)),
}
BACKWARD = {  # of one size of tiles each, because every program has a row in a norm's sums
    (2, False): _ways((64, 32, 8, 2), (64, 64, 8, 2)),
    (2, True): _ways((32, 32, 8, 2)),
    (4, False): _ways((32, 16, 8, 1)),
    (4, True): _ways((16, 16, 8, 1)),
}
WEIGHTS = {
    (2, False): _ways((64, 64, 4, 2), (64, 128, 8, 2)),
    (2, True): _ways((32, 64, 8, 2), (32, 32, 4, 2)),
    (4, False): _ways((32, 32, 4, 1), (32, 32, 8, 1)),
    (4, True): _ways((16, 32, 8, 1), (16, 16, 4, 1)),
}


def limits(pair: Float[Tensor, "b n n d"]) -> str | None:
    """Why the kernels cannot take such a pair representation, or None; the device is not looked at.

    They take hidden features as many as those of `pair`: `triangle_update` says if not.
    """
    return refuse(pair, pair.shape[-1], WIDEST)


def triangle_update(
    pair: Float[Tensor, "b n n d"],
    mask: Bool[Tensor, "b n n"],
    outgoing: bool,
    weights: tuple[Tensor, ...],
) -> Float[Tensor, "b n n d"]:
    """The whole update of an edge from the two other edges of its triangles, before dropout.

    `weights` are the fields of `TriangleWeights` in their order: norm, edges, gates, norm of the
    product, out, gate; of each the weight, then the bias. Differentiable (once) in `pair` and all
    weights. `ValueError` if `limits` has a reason, or the hidden features are too many.
    """
    hidden = weights[6].shape[0]
    if (reason := limits(pair) or refuse(pair, hidden, WIDEST)) is not None:
        raise ValueError(reason)
    return _TriangleUpdate.apply(pair, mask, outgoing, *weights)


class _TriangleUpdate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pair, mask, outgoing, *weights):
        call = _Call(pair, mask, outgoing, weights)
        if not call.any:
            product, result = pair.new_empty(0), torch.zeros_like(pair)
        else:
            product = call.multiply(call.sides())
            result = call.update(product)
        ctx.outgoing = outgoing
        ctx.save_for_backward(pair, mask, product, *weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        pair, mask, product, *weights = ctx.saved_tensors
        call = _Call(pair, mask, ctx.outgoing, weights)
        if not call.any:
            return torch.zeros_like(pair), None, None, *map(torch.zeros_like, weights)
        pair_grad, found = call.backward(product, grad)
        found = [each.to(weight.dtype) for each, weight in zip(found, weights, strict=True)]
        return pair_grad, None, None, *found


class _Call:
    """One update: its sizes, and each of its steps."""

    def __init__(self, pair, mask, outgoing, weights):
        from alphafold2_pytorch.ops.kernels import triangle_kernels

        self.kernels = triangle_kernels
        self.pair, self.mask, self.outgoing = pair, mask.view(torch.uint8), outgoing
        weights = [each.contiguous() for each in weights]
        self.norm, self.edges, self.gates = weights[0:2], weights[2:4], weights[4:6]
        self.norm_out, self.out, self.gate = weights[6:8], weights[8:10], weights[10:12]
        self.batch, self.n, _, self.width = pair.shape
        self.hidden = len(weights[6])
        self.any = pair.numel()
        self.lengths = self.n, self.width, self.hidden
        self.wide = pair.element_size(), max(self.width, self.hidden) > 128
        self.sizes: dict[str, Any] = {
            "WIDTH": power_of_two(self.width),
            "PRECISION": precision(pair.dtype),
        }
        self.both: dict[str, Any] = {**self.sizes, "HIDDEN": power_of_two(self.hidden)}
        full = pair.dtype == torch.float16  # its sums over residues have no room in float16
        self.sum_dtype = torch.float32 if full else pair.dtype

    def sides(self) -> Float[Tensor, "two b h n n"]:
        """Left and right, as matrices for every hidden feature."""
        sides = self._matrices(2, self.pair.dtype)
        reads = self.pair, self.mask, *self.norm, *self.edges, *self.gates, sides
        strides = self.pair.stride(), self.mask.stride(), sides.stride()
        self._start(self.kernels.edges, FORWARD, *reads, *strides, *self.lengths, **self.sizes)
        return sides

    def multiply(self, sides: Float[Tensor, "two b h n n"]) -> Float[Tensor, "b h n n"]:
        """The sum over the third residue."""
        left, right = sides
        product = self._matrices(1, self.sum_dtype)[0]
        if self.outgoing:
            return _multiply(left, right.mT, product)
        return _multiply(left.mT, right, product)

    def update(self, product: Float[Tensor, "b h n n"]) -> Float[Tensor, "b n n d"]:
        result = self._like_pair()
        reads = product, self.pair, *self.norm, *self.norm_out, *self.out, *self.gate, result
        strides = _features_last(product), self.pair.stride(), result.stride()
        self._start(self.kernels.update, FORWARD, *reads, *strides, *self.lengths, **self.both)
        return result

    def backward(self, product: Tensor, grad: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Gradients of the pair representation and of all weights, in their order."""
        out_grad, gate_grad, product_grad, norm_out = self._update_backward(product, grad)
        out = self._weight_sums(_as_side(out_grad), product, self.norm_out, _features_last(product))
        del out_grad
        gate = self._weight_sums(_as_side(gate_grad), self.pair, self.norm, self.pair.stride())
        sides = self.sides()
        sides_grad = self._sides_backward(sides, product_grad)
        del product_grad
        pair_grad, norm = self._edges_backward(gate_grad, sides_grad, sides)
        del gate_grad
        edges, gates = (
            self._weight_sums(each, self.pair, self.norm, self.pair.stride())
            for each in (sides_grad, sides)  # which by now hold gradients
        )
        return pair_grad, [*norm, *edges, *gates, *norm_out, *out, *gate]

    def _update_backward(self, product, grad):
        out_grad, gate_grad = (self._like_pair() for _ in range(2))
        [product_grad], sums = self._matrices(1, self.sum_dtype), self._norm_sums(self.hidden)
        reads = product, self.pair, *self.norm, *self.norm_out, *self.out, *self.gate, grad
        writes = out_grad, gate_grad, product_grad, sums
        strides = (
            *(_features_last(product), self.pair.stride(), grad.stride()),
            *(out_grad.stride(), _features_last(product_grad)),
        )
        call = *reads, *writes, *strides, *self.lengths
        self._start(self.kernels.update_backward, BACKWARD, *call, **self.both)
        return out_grad, gate_grad, product_grad, sums.sum(0)[:, : self.hidden]

    def _sides_backward(self, sides: Tensor, product_grad: Tensor) -> Tensor:
        left, right = sides
        grad = self._matrices(2, self.pair.dtype)
        if self.outgoing:
            _multiply(product_grad, right, grad[0])
            _multiply(product_grad.mT, left, grad[1])
        else:
            _multiply(right, product_grad.mT, grad[0])
            _multiply(left, product_grad, grad[1])
        return grad

    def _edges_backward(self, gate_grad, sides_grad, sides):
        pair_grad, sums = self._like_pair(), self._norm_sums(self.width)
        reads = self.pair, self.mask, *self.norm, *self.edges, *self.gates, self.gate[0]
        writes = gate_grad, sides_grad, sides, pair_grad, sums
        strides = (
            *(self.pair.stride(), self.mask.stride(), sides.stride()),
            *(gate_grad.stride(), pair_grad.stride()),
        )
        call = *reads, *writes, *strides, *self.lengths
        overwritten = ("sides_grad",)
        self._start(self.kernels.edges_backward, BACKWARD, *call, restore=overwritten, **self.sizes)
        return pair_grad, sums.sum(0)[:, : self.width]

    def _weight_sums(self, grad, x, norm, x_strides) -> tuple[Tensor, Tensor]:
        """Gradients of a weight and its bias, from those of what the linear layer gave."""
        half, width = grad.shape[2], len(norm[0])
        outputs, shares = len(grad) * half, min(SHARES, math.ceil(self.n**2 / 64))
        weight, bias = (
            self.pair.new_empty(shares, outputs, *shape, dtype=torch.float32)
            for shape in ((width,), ())
        )
        start(
            self.kernels.weight_sums,
            WEIGHTS[self.wide],
            lambda sizes: (shares * math.ceil(outputs / sizes["FEATURES"]),),
            self.n,
            *(grad, x, *norm, weight, bias, grad.stride(), x_strides),
            *(self.batch, self.n, outputs, half, width, shares),
            **{**self.sizes, "WIDTH": power_of_two(width)},
        )
        return weight.sum(0), bias.sum(0)

    def _start(self, kernel, ways, *args: Any, restore: tuple[str, ...] = (), **sizes) -> None:
        def grid(sizes: dict[str, Any]) -> tuple[int]:
            return (self._programs(sizes["TILE"]),)

        start(kernel, ways[self.wide], grid, self.n, *args, restore=restore, **sizes)

    def _programs(self, tile: int) -> int:
        return self.batch * math.ceil(self.n**2 / tile)

    def _like_pair(self) -> Tensor:
        return self.pair.new_empty(self.pair.shape)

    def _norm_sums(self, width: int) -> Tensor:
        """Room for gradients of a norm's weight and bias, a row for every backward program."""
        programs = self._programs(sizes_of(BACKWARD[self.wide])["TILE"])
        return self.pair.new_empty(programs, 2, power_of_two(width), dtype=torch.float32)

    def _matrices(self, count: int, dtype: torch.dtype) -> Float[Tensor, "count b h n n"]:
        """Uninitialized; every matrix row starts where a tensor core can read it."""
        padded = math.ceil(self.n / ALIGNED) * ALIGNED
        shape = count, self.batch, self.hidden, self.n, padded
        return self.pair.new_empty(shape, dtype=dtype)[..., : self.n]


def _multiply(
    left: Float[Tensor, "b h i k"], right: Float[Tensor, "b h k j"], out: Float[Tensor, "b h i j"]
) -> Float[Tensor, "b h i j"]:
    """left right into `out`; in float16 and its mixtures by way of float32."""
    left_each, right_each, out_each = (x.flatten(0, 1) for x in (left, right, out))
    with torch.autocast(left.device.type, enabled=False):
        if left.dtype == right.dtype != torch.float16:
            torch.bmm(left_each, right_each, out=out_each)
        elif left.is_cuda and left.dtype == right.dtype and out.dtype == torch.float32:
            out_each.copy_(torch.bmm(left_each, right_each, out_dtype=torch.float32))
        else:
            out_each.copy_(torch.bmm(left_each.float(), right_each.float()))
    return out


def _features_last(x: Float[Tensor, "b h n n"]) -> tuple[int, int, int, int]:
    """The strides of batch, i, j and feature."""
    batch, feature, i, j = x.stride()
    return batch, i, j, feature


def _as_side(x: Float[Tensor, "b n n d"]) -> Float[Tensor, "one b d n n"]:
    return x.permute(0, 3, 1, 2)[None]
