"""Compiles every Triton kernel for an H100 without one, and prints what each needs, as JSON lines.

Run by `test_triton_*.py` in a process of its own: `python compile_triton.py attention float32`.
The kernels are called as users call them, on the CPU; instead of a start, each is compiled with the
arguments it got, once for every size of tiles that the autotuner may choose from.
"""

import importlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

H100 = GPUTarget("cuda", 90, 32)
NAMES = {
    torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.uint8: "*u8",
    bool: "i1", float: "fp32", str: "constexpr", type(None): "constexpr",
}  # fmt: skip


class Signature:
    """The types of a call, its constants and what is known of its numbers, as Triton's own start
    finds them: a number that is 1 is a constant, one that divides by 16 is known to."""

    def __init__(self, kernel, args: tuple, sizes: dict):
        self.constants, self.known = {}, {}
        positional = kernel.arg_names[: len(args)]
        self.types = {name: self.of(args[i], (i,)) for i, name in enumerate(positional)}
        for name, value in sizes.items():
            self.types[name] = "constexpr"
            self.constants[(kernel.arg_names.index(name),)] = value

    def of(self, arg, path: tuple[int, ...]):
        if isinstance(arg, tuple):
            return tuple(self.of(each, (*path, i)) for i, each in enumerate(arg))
        if isinstance(arg, torch.Tensor):
            self.known[path] = [["tt.divisibility", 16]]
            return NAMES[arg.dtype]
        if arg is None or (isinstance(arg, int) and arg == 1):
            self.constants[path] = arg
            return "constexpr"
        if isinstance(arg, int):
            if arg % 16 == 0:
                self.known[path] = [["tt.divisibility", 16]]
            return "i64" if arg >= 2**31 else "i32"
        return NAMES[type(arg)]


def spills(cubin: bytes) -> dict[str, int]:
    """Registers a thread, and bytes it spills to local memory, as the assembler noted them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = subprocess.run(
            [str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    return {"registers": int(found[1]), "stack": int(found[2])} if found else {}


def compiled(kernel, ways, grid, length, *args, restore=(), **sizes) -> None:
    """What stands in for `launch.start`."""
    for way in ways:
        call = Signature(kernel, args, {**sizes, **way.sizes})
        source = ASTSource(kernel, call.types, call.constants, call.known)
        options = {"num_warps": way.warps, "num_stages": way.stages}
        built = triton.compile(source, target=H100, options=options)
        needs = {"shared": built.metadata.shared, **spills(built.asm["cubin"])}
        line = {"kernel": kernel.__name__, "width": sizes["WIDTH"], **way._asdict(), **needs}
        print(json.dumps(line), flush=True)


def attention(dtype: torch.dtype) -> None:
    module = importlib.import_module("alphafold2_pytorch.ops.kernels.attention")
    module.start = compiled
    for width in (32, 128):
        q, k, v = (torch.randn(1, 2, 64, 4, width, dtype=dtype).transpose(2, 3) for _ in "qkv")
        bias = torch.randn(1, 4, 64, 64, dtype=dtype)
        mask = torch.ones(1, 2, 64, dtype=torch.bool)
        inputs = [each.requires_grad_() for each in (q, k, v, bias)]
        module.attend(*inputs, mask).sum().backward()


def triangle(dtype: torch.dtype) -> None:
    module = importlib.import_module("alphafold2_pytorch.ops.kernels.triangle")
    module.start = compiled
    for width in (128, 256):
        shapes = [(width,), (width,)] + 2 * [(2 * width, width), (2 * width,)]
        shapes += [(width,), (width,)] + 2 * [(width, width), (width,)]
        weights = tuple(torch.zeros(shape, requires_grad=True) for shape in shapes)
        pair = torch.zeros(1, 16, 16, width, dtype=dtype, requires_grad=True)
        mask = torch.ones(1, 16, 16, dtype=torch.bool)
        module.triangle_update(pair, mask, True, weights).sum().backward()


if __name__ == "__main__":
    {"attention": attention, "triangle": triangle}[sys.argv[1]](getattr(torch, sys.argv[2]))
