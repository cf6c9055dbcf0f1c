"""Attention with one pair bias and one key mask by our own Triton kernels, both directions.

Memory: of a call with gradients stay `q`, `k`, `v`, `bias`, `mask` (the caller's), the output and
4 bytes per query and head. Backward needs 4 more bytes per query and head, and for the gradient of
the bias at most 8 float32 maps of its shape. Nothing grows with queries times keys times rows.
"""

import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from alphafold2_pytorch.ops.kernels.launch import Tiles, power_of_two, precision, refuse, start
from alphafold2_pytorch.typing import Bool, Float, Tensor

WIDEST = 128
SHARES = 8  # at most so many sums over rows side by side in the gradient of the bias
PROGRAMS = 512  # with fewer than these the rows are shared out: about four for each core of an H100
NO_STRIDES = (0, 0, 0, 0)


def _ways(*ways: tuple[int, int, int, int]) -> tuple[Tiles, ...]:
    return tuple(Tiles({"QUERIES": n, "KEYS": m}, w, s) for n, m, w, s in ways)


# (queries, keys, warps, stages) to choose from, by bytes of a number and whether heads are wide:
# over 64 features. The first is a safe choice. Float32 does not use the tensor cores.
FORWARD = {
    (2, False): _ways((64, 64, 4, 3), (128, 64, 4, 3), (128, 128, 8, 2)),
    (2, True): _ways((64, 64, 4, 2), (128, 64, 8, 3)),
    (4, False): _ways((32, 32, 4, 2), (64, 32, 4, 2)),
    (4, True): _ways((32, 32, 8, 2)),
}
BACKWARD = {
    (2, False): _ways((64, 64, 4, 2), (64, 128, 8, 2), (128, 64, 8, 2)),
    (2, True): _ways((64, 64, 8, 2), (32, 64, 8, 2)),
    (4, False): _ways((32, 32, 4, 1), (32, 64, 8, 1)),
    (4, True): _ways((32, 32, 8, 1)),
}
BIAS = {
    (2, False): _ways((64, 64, 4, 2), (64, 64, 8, 3)),
    (2, True): _ways((64, 64, 8, 2)),
    (4, False): _ways((32, 32, 4, 2), (64, 32, 4, 2)),
    (4, True): _ways((32, 32, 8, 1)),
}
DOTS = (Tiles({"QUERIES": 64}, 4, 1),)


def limits(q: Float[Tensor, "b r h n d"]) -> str | None:
    """Why the kernels cannot take such queries, in words, or None; the device is not looked at."""
    return refuse(q, q.shape[-1], WIDEST)


def attend(
    q: Float[Tensor, "b r h n d"],
    k: Float[Tensor, "b r h m d"],
    v: Float[Tensor, "b r h m d"],
    bias: Float[Tensor, "b h n m"] | None = None,
    mask: Bool[Tensor, "b r m"] | None = None,
) -> Float[Tensor, "b r h n d"]:
    """softmax(q k / sqrt(d) + bias) v over the keys that `mask` keeps; zero where it keeps none.

    Differentiable (once) in `q`, `k`, `v` and `bias`. Queries, keys and values share one dtype, the
    output's; the bias may have another. Any strides are read as they are. `ValueError` if dtypes
    differ or `limits` has a reason.
    """
    if not q.dtype == k.dtype == v.dtype:
        raise ValueError(f"q, k and v must share one dtype, got {q.dtype}, {k.dtype}, {v.dtype}")
    if (reason := limits(q)) is not None:
        raise ValueError(reason)
    return _Attend.apply(q, k, v, bias, mask)


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, bias, mask):
        out = torch.zeros_like(q) if not k.numel() else _like_projection(q)
        sums = q.new_empty(q.shape[:-1], dtype=torch.float32)
        if k.numel() and q.numel():
            bias_read, keep = _readable(bias), _bytes(mask)
            from alphafold2_pytorch.ops.kernels import attention_kernels as kernels

            start(
                kernels.forward,
                FORWARD[_kind(q)],
                lambda sizes: (_programs(q, q.shape[3], sizes["QUERIES"]),),
                q.shape[3],
                *(q, k, v, bias_read, keep, out, sums),
                *map(_strides, (q, k, v, bias_read, keep, out)),
                *_lengths(q, k),
                WIDTH=power_of_two(q.shape[-1]),
                PRECISION=precision(q.dtype),
            )
        ctx.save_for_backward(q, k, v, bias, mask, out, sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        q, k, v, bias, mask, out, sums = ctx.saved_tensors
        wants_q, wants_k, wants_v, wants_bias, _ = ctx.needs_input_grad
        call = _Backward(q, k, v, _readable(bias), _bytes(mask), sums, grad)
        if not call.any:
            return *(torch.zeros_like(x) if x is not None else None for x in (q, k, v, bias)), None
        call.sum_outputs(out)
        q_grad = call.queries() if wants_q else None
        k_grad, v_grad = call.keys() if wants_k or wants_v else (None, None)
        bias_grad = call.bias_sums(bias.dtype) if wants_bias else None
        return q_grad, k_grad, v_grad, bias_grad, None


class _Backward:
    """One call's backward kernels, which share most of what they read."""

    def __init__(self, q, k, v, bias, mask, sums, grad):
        self.any = q.numel() and k.numel()
        self.q, self.k, self.v, self.bias, self.grad = q, k, v, bias, grad
        self.dots = torch.empty_like(sums)
        self.reads = (q, k, v, bias, mask, sums, self.dots, grad)
        self.strides = tuple(map(_strides, (q, k, v, bias, mask, grad)))
        self.sizes: dict[str, Any] = {
            "WIDTH": power_of_two(q.shape[-1]),
            "PRECISION": precision(q.dtype),
        }

    def sum_outputs(self, out: Tensor) -> None:
        from alphafold2_pytorch.ops.kernels import attention_kernels as kernels

        _, r, h, n, d = out.shape
        start(
            kernels.output_dots,
            DOTS,
            lambda sizes: (_programs(out, n, sizes["QUERIES"]),),
            n,
            *(out, self.grad, self.dots, out.stride(), self.grad.stride(), r, h, n, d),
            WIDTH=self.sizes["WIDTH"],
        )

    def queries(self) -> Tensor:
        from alphafold2_pytorch.ops.kernels import attention_kernels as kernels

        found = _like_projection(self.q)
        self._start(kernels.backward_queries, BACKWARD, "QUERIES", self.q.shape[3], found)
        return found

    def keys(self) -> tuple[Tensor, Tensor]:
        from alphafold2_pytorch.ops.kernels import attention_kernels as kernels

        found = _like_projection(self.k), _like_projection(self.v)
        self._start(kernels.backward_keys, BACKWARD, "KEYS", self.k.shape[3], *found)
        return found

    def bias_sums(self, dtype: torch.dtype) -> Tensor:
        from alphafold2_pytorch.ops.kernels import attention_kernels as kernels

        b, r, h, n, _ = self.q.shape
        m, ways = self.k.shape[3], BIAS[_kind(self.q)]
        tiles = b * h * math.ceil(n / 64) * math.ceil(m / 64)
        shares = max(1, min(SHARES, r // 16, math.ceil(PROGRAMS / tiles)))
        found = self.q.new_empty(shares, b, h, n, m, dtype=torch.float32)

        def grid(sizes: dict[str, Any]) -> tuple[int]:
            each = math.ceil(n / sizes["QUERIES"]) * math.ceil(m / sizes["KEYS"])
            return (shares * b * h * each,)

        start(
            kernels.backward_bias,
            ways,
            grid,
            n,
            *(*self.reads, found, *self.strides, found.stride()),
            *(*_lengths(self.q, self.k), shares, math.ceil(r / shares)),
            **self.sizes,
        )
        return found.sum(0).to(dtype) if shares > 1 else found[0].to(dtype)

    def _start(self, kernel, ways, tiled: str, length: int, *found: Tensor) -> None:
        start(
            kernel,
            ways[_kind(self.q)],
            lambda sizes: (_programs(self.q, length, sizes[tiled]),),
            length,
            *(*self.reads, *found, *self.strides, *(each.stride() for each in found)),
            *_lengths(self.q, self.k),
            **self.sizes,
        )


def _kind(q: Tensor) -> tuple[int, bool]:
    return q.element_size(), q.shape[-1] > 64


def _lengths(q: Tensor, k: Tensor) -> tuple[int, int, int, int, int, float]:
    """Rows, heads, queries, keys, width, and the scale that makes logits of base 2."""
    _, rows, heads, n, width = q.shape
    return rows, heads, n, k.shape[3], width, width**-0.5 * math.log2(math.e)


def _programs(x: Tensor, length: int, tile: int) -> int:
    return math.prod(x.shape[:3]) * math.ceil(length / tile)


def _strides(x: Tensor | None) -> tuple[int, ...]:
    return NO_STRIDES if x is None else x.stride()


def _like_projection(x: Float[Tensor, "b r h n d"]) -> Float[Tensor, "b r h n d"]:
    """Uninitialized, laid out as `b r n h d`: joining heads afterwards is no copy."""
    b, r, h, n, d = x.shape
    return x.new_empty(b, r, n, h, d).transpose(2, 3)


def _bytes(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.view(torch.uint8)


def _readable(bias: Tensor | None) -> Tensor | None:
    """The bias with neighbouring keys side by side, since every row reads it again."""
    return bias if bias is None or bias.stride(-1) == 1 else bias.contiguous()
