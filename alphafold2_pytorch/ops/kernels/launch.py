"""How a Triton kernel is started: sizes of tiles, precision of float32, the interpreter."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch

from alphafold2_pytorch.typing import Tensor

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# under the interpreter, whose time is that of its calls and hardly that of numbers
INTERPRETED = {"QUERIES": 64, "KEYS": 64, "TILE": 2048, "FEATURES": 32}


class Tiles(NamedTuple):
    """One way to run a kernel: the sizes of its tiles by name, warps, and stages of its loop."""

    sizes: dict[str, int]
    warps: int
    stages: int


def refuse(x: Tensor, width: int, widest: int) -> str | None:
    """Why the kernels cannot take such a tensor, in words, or None."""
    if x.dtype not in DTYPES:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
        return f"the Triton kernels compute in {names}, not {str(x.dtype).removeprefix('torch.')}"
    if not 1 <= width <= widest:
        return f"the Triton kernels take at most {widest} features, got {width}"
    return None


def power_of_two(width: int) -> int:
    """The size of a tile that holds `width` features; a dot product needs 16."""
    return max(16, 1 << (width - 1).bit_length())


def precision(dtype: torch.dtype) -> str:
    """How float32 is multiplied: in full, unless the user lets PyTorch use TensorFloat-32."""
    if dtype == torch.bfloat16 and interpreted():
        return "widened"
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


def interpreted() -> bool:
    """Whether Triton was imported with `TRITON_INTERPRET=1`: kernels then run on the CPU."""
    import triton

    return triton.knobs.runtime.interpret


def sizes_of(ways: tuple[Tiles, ...]) -> dict[str, int]:
    """The first way's sizes, which the interpreter has its own for."""
    return {name: INTERPRETED[name] if interpreted() else n for name, n in ways[0].sizes.items()}


def start(
    kernel,
    ways: tuple[Tiles, ...],
    grid: Callable[[dict], tuple[int]],
    length: int,
    *args,
    restore: tuple[str, ...] = (),
    **sizes,
) -> None:
    """Run a kernel in the fastest of `ways`, which is measured once per dtype, width and length.

    Lengths share a measurement up to the next power of two. `restore` names what the kernel reads
    and overwrites: measuring must not do it twice.
    """
    if interpreted():
        kernel[grid](*args, **sizes, **sizes_of(ways))
        return
    frozen = tuple((tuple(way.sizes.items()), way.warps, way.stages) for way in ways)
    _tuner(kernel, frozen, power_of_two(length), restore)[grid](*args, **sizes)


@functools.cache
def _tuner(kernel, ways: tuple, length: int, restore: tuple[str, ...]):
    """An autotuner of its own for every range of lengths; it tells dtypes and widths apart."""
    import triton

    configs = [
        triton.Config(dict(sizes), num_warps=warps, num_stages=stages)
        for sizes, warps, stages in ways
    ]
    widths = [name for name in ("WIDTH", "HIDDEN") if name in kernel.arg_names]
    return triton.autotune(configs, key=widths, restore_value=restore)(kernel)
