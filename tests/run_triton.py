"""Runs our Triton kernels in Triton's interpreter and prints how far they are off, as JSON lines.

Run by `test_triton_*.py` in a process of its own, because Triton decides at its import whether it
interprets: `python run_triton.py attention`. Of each tensor the error (a 2-norm) of the kernels and
of plain PyTorch in the same dtype are printed, both against plain PyTorch in float64.
"""

import json
import os
import sys
from functools import partial

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder, ReduceOps, TensorHandle
from triton_kit import CASES

from alphafold2_pytorch.ops.kernels.attention import attend
from alphafold2_pytorch.ops.kernels.triangle import triangle_update

Tensors = dict[str, Tensor]
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def round_as_devices_do() -> None:
    """To bfloat16 the interpreter rounds toward zero; devices, and PyTorch, to the nearest. It adds
    up the rows of a tile one after the other; devices, and PyTorch, in pairs of sums."""

    def in_pairs(self, x):
        values = np.ascontiguousarray(np.moveaxis(x.handle.data, self.axis, -1))
        return self.to_tensor(np.sum(values, axis=-1, keepdims=self.keep_dims), x.dtype)

    ReduceOps.sum = in_pairs
    cast = InterpreterBuilder.create_fp_trunc

    def nearest(self, src, dst_type):
        if str(dst_type.scalar) != "bf16":
            return cast(self, src, dst_type)
        bits = np.ascontiguousarray(src.data, dtype=np.float32).view(np.uint32)
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return TensorHandle(bits.astype(np.uint16), dst_type.scalar)

    InterpreterBuilder.create_fp_trunc = nearest


def plain_attention(q, k, v, bias=None, *, mask=None):
    logits = q @ k.mT / q.shape[-1] ** 0.5
    if bias is not None:
        logits = logits + bias[:, None]
    if mask is None:
        return logits.softmax(-1) @ v
    logits = logits.masked_fill(~mask[:, :, None, None], torch.finfo(q.dtype).min)
    return logits.softmax(-1) @ v * mask.any(-1)[:, :, None, None, None]


def plain_triangle(pair, *weights, mask, outgoing):
    norm, edges, gates, norm_out, out, gate = (weights[i : i + 2] for i in range(0, 12, 2))
    x = F.layer_norm(pair, pair.shape[-1:], *norm)
    sides = F.linear(x, *edges) * F.linear(x, *gates).sigmoid() * mask[..., None]
    left, right = sides.movedim(-1, 1).chunk(2, 1)
    if not outgoing:
        left, right = left.mT, right.mT
    if pair.dtype == torch.float16:
        left, right = left.float(), right.float()
    product = (left @ right.mT).movedim(1, -1)
    product = F.layer_norm(product.to(norm_out[0].dtype), norm_out[0].shape, *norm_out)
    return F.linear(product, *out) * F.linear(x, *gate).sigmoid()


def results(function, inputs: Tensors, grad: Tensor, dtype: torch.dtype, **options) -> Tensors:
    """Output and all gradients."""
    leaves = {name: x.detach().to(dtype).requires_grad_() for name, x in inputs.items()}
    out = function(*leaves.values(), **options)
    grads = torch.autograd.grad(out, list(leaves.values()), grad.to(dtype))
    return {"out": out.detach(), **dict(zip(leaves, grads, strict=True))}


def errors(ours, plain, inputs: Tensors, grad: Tensor, dtype: torch.dtype, **options) -> dict:
    exact, rough, found = (
        results(function, inputs, grad, kind, **options)
        for function, kind in ((plain, torch.float64), (plain, dtype), (ours, dtype))
    )
    return {
        name: [*((x[name].double() - y).norm().item() for x in (found, rough)), y.norm().item()]
        for name, y in exact.items()
    }


def rounded(*shape: int, dtype: torch.dtype) -> Tensor:
    """Random numbers that `dtype` can hold, so that errors are those of computing."""
    return torch.randn(*shape).to(dtype)


def attention(b, r, h, n, m, d, dtype, biased=True, masked=True) -> dict:
    """Heads are behind rows in memory, as projections leave them; the bias' are last."""
    dtype = HALF[dtype]
    q, grad = (rounded(b, r, n, h, d, dtype=dtype).transpose(2, 3) for _ in range(2))
    k, v = (rounded(b, r, m, h, d, dtype=dtype).transpose(2, 3) for _ in range(2))
    inputs = {"q": q, "k": k, "v": v}
    if biased:
        inputs["bias"] = rounded(b, n, m, h, dtype=dtype).permute(0, 3, 1, 2)
    mask = None
    if masked:
        mask = torch.rand(b, r, m) > 0.3
        mask[0, 0] = False

    def ours(*tensors, mask):
        return attend(*tensors, *([] if biased else [None]), mask)

    return errors(ours, plain_attention, inputs, grad, dtype, mask=mask)


def triangle(b, n, d, hidden, dtype, outgoing) -> dict:
    dtype = HALF[dtype]
    names = [f"{part}_{kind}" for part in ("norm", "edges", "gates", "norm_out", "out", "gate")
             for kind in ("weight", "bias")]  # fmt: skip
    shapes = [(d,), (d,), *2 * [(2 * hidden, d), (2 * hidden,)], (hidden,), (hidden,)]
    shapes += [(d, hidden), (d,), (d, d), (d,)]
    weights = [
        rounded(*shape, dtype=torch.float32) / (shape[1] ** 0.5 if len(shape) > 1 else 3)
        for shape in shapes
    ]
    inputs = {"pair": rounded(b, n, n, d, dtype=dtype).transpose(1, 2)}
    inputs |= {name: x.to(dtype) for name, x in zip(names, weights, strict=True)}
    mask = torch.rand(b, n, n) > 0.3
    mask[0, 0] = mask[0, :, 3] = False
    grad = rounded(b, n, n, d, dtype=dtype)

    def ours(pair, *weights, mask, outgoing):
        return triangle_update(pair, mask, outgoing, weights)

    options = {"mask": mask.transpose(1, 2), "outgoing": outgoing}
    return errors(ours, plain_triangle, inputs, grad, dtype, **options)


def kept_bytes(function) -> int:
    """What autograd keeps of a call, each storage once."""
    kept = {}

    def note(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        function()
    return sum(kept.values())


def attention_bytes(b, r, h, n, d) -> dict:
    """Kept bytes of a call, of its inputs, of the output with one number a query, and of a map."""
    q, k, v = (torch.zeros(b, r, h, n, d, requires_grad=True) for _ in "qkv")
    bias = torch.zeros(b, h, n, n, requires_grad=True)
    mask = torch.ones(b, r, n, dtype=torch.bool)
    kept = kept_bytes(lambda: attend(q, k, v, bias, mask))
    inputs = sum(x.untyped_storage().nbytes() for x in (q, k, v, bias, mask))
    return {"kept": kept, "inputs": inputs, "found": q.numel() * 4 + q[..., 0].numel() * 4}


def triangle_bytes(b, n, d, hidden) -> dict:
    shapes = [(d,), (d,), *2 * [(2 * hidden, d), (2 * hidden,)], (hidden,), (hidden,)]
    shapes += [(d, hidden), (d,), (d, d), (d,)]
    weights = tuple(torch.zeros(shape, requires_grad=True) for shape in shapes)
    pair = torch.zeros(b, n, n, d, requires_grad=True)
    mask = torch.ones(b, n, n, dtype=torch.bool)
    kept = kept_bytes(lambda: triangle_update(pair, mask, True, weights))
    inputs = sum(x.untyped_storage().nbytes() for x in (pair, mask, *weights))
    return {"kept": kept, "inputs": inputs, "found": b * n * n * hidden * 4}


def empty_row(*shape: int) -> dict:
    """Of the rows without keys: the largest number of output and gradients, and what is not zero
    elsewhere."""
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in "qkv")
    mask = torch.ones(shape[0], shape[1], shape[3], dtype=torch.bool)
    mask[0, 0] = False
    out = attend(q, k, v, None, mask)
    found = out, *torch.autograd.grad(out, [q, k, v], torch.ones_like(out))
    return {"empty": [x[0, 0].abs().max().item() for x in found],
            "others": [x[0, 1].abs().max().item() for x in found]}  # fmt: skip


OTHERS = {
    "attention": {
        "bytes": lambda: attention_bytes(1, 16, 2, 16, 16),
        "no keys": lambda: empty_row(1, 2, 1, 17, 16),
    },
    "triangle": {"bytes": lambda: triangle_bytes(1, 16, 16, 16)},
}

if __name__ == "__main__":
    round_as_devices_do()
    what = sys.argv[1]
    check = {"attention": attention, "triangle": triangle}[what]
    checks = {name: partial(check, *arguments) for name, arguments in CASES[what].items()}
    for name, run in (checks | OTHERS[what]).items():
        torch.manual_seed(0)
        print(json.dumps({"case": name, "found": run()}), flush=True)
