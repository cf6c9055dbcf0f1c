"""Runs our Triton kernels in Triton's interpreter and prints how far they are off, as JSON lines.

Run by `test_triton_*.py` in a process of its own, because Triton decides at its import whether it
interprets: `python run_triton.py attention`. Of each tensor the error (a 2-norm) of the kernels and
of plain PyTorch in the same dtype are printed, both against plain PyTorch in float64.
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from alphafold2_pytorch.ops.kernels.attention import attend
from alphafold2_pytorch.ops.kernels.triangle import triangle_update

Tensors = dict[str, Tensor]
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def round_as_devices_do() -> None:
    """To bfloat16 the interpreter rounds toward zero; devices, and PyTorch, to the nearest."""
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


CASES = {
    "attention": {
        "17 float32": (attention, 1, 2, 2, 17, 17, 16, "float32"),
        "17 float32 without bias": (attention, 1, 2, 2, 17, 17, 32, "float32", False),
        "17 float32 without mask": (attention, 1, 2, 2, 17, 17, 32, "float32", True, False),
        "17 float32 a batch, 9 keys": (attention, 2, 2, 1, 17, 9, 24, "float32"),
        "33 bfloat16": (attention, 1, 2, 2, 33, 33, 32, "bfloat16"),
        "64 float16": (attention, 1, 2, 2, 64, 64, 64, "float16"),
        "33 bfloat16 wide": (attention, 1, 2, 1, 33, 70, 128, "bfloat16"),
        "33 float32, rows in shares": (attention, 1, 33, 1, 17, 17, 16, "float32"),
        "199 float32": (attention, 1, 2, 1, 199, 199, 32, "float32"),
        "199 bfloat16": (attention, 1, 2, 1, 199, 199, 32, "bfloat16"),
    },
    "triangle": {
        "17 float32 outgoing": (triangle, 1, 17, 16, 16, "float32", True),
        "17 float32 incoming, a batch": (triangle, 2, 17, 24, 40, "float32", False),
        "33 bfloat16 outgoing": (triangle, 1, 33, 32, 32, "bfloat16", True),
        "33 float16 incoming": (triangle, 1, 33, 40, 24, "float16", False),
        "64 bfloat16 incoming": (triangle, 1, 64, 16, 16, "bfloat16", False),
        "199 float32 outgoing": (triangle, 1, 199, 16, 16, "float32", True),
    },
}


if __name__ == "__main__":
    round_as_devices_do()
    for name, (check, *arguments) in CASES[sys.argv[1]].items():
        torch.manual_seed(0)
        print(json.dumps({"case": name, "errors": check(*arguments)}), flush=True)
