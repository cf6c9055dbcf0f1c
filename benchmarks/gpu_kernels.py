"""Sections of `benchmark_gpu.py` on single operations: are the kernels right, and how fast."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import torch
from gpu_tools import Bench, Figure, Growing, Limits, attention_work, excuse, multiplication_work

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.layers.pair_updates import TriangleMultiplication
from alphafold2_pytorch.ops import Attend, set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.triangles import TRIANGLES
from alphafold2_pytorch.streams import Streams

LENGTHS = (256, 384, 512, 1024, 2048)
DRY_LENGTHS = (16, 24)
CHECKED = (17, 64, 128, 199)
DRY_CHECKED = (17,)
HEADS, DIM_HEAD, PAIR = 4, 32, 128
WORSE = 2.0  # how many times plain PyTorch's own error a kernel's may be
BACKWARD = 3.5, 3.0  # operations and bytes of both passes of attention over those of the first
BOTH = 3.0, 3.0  # of linear layers and products


def attention_inputs(bench: Bench, rows: int, n: int, dtype: torch.dtype, hole: bool) -> list:
    """q, k, v, bias and mask; with a `hole` some keys are masked, and all keys of one row."""
    shape = (1, rows, HEADS, n, DIM_HEAD)
    parts = [torch.randn(shape, device=bench.device) for _ in range(3)]
    parts += [torch.randn(1, HEADS, n, n, device=bench.device)]
    mask = torch.ones(1, rows, n, dtype=torch.bool, device=bench.device)
    if hole:
        mask[:, :, -3:], mask[:, -1] = False, False
    return [part.to(dtype).requires_grad_() for part in parts] + [mask]


def with_gradients(run: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> list:
    """The result, and the gradients of the mean of its squares."""
    out = run()
    wanted = [each for each in inputs if each.requires_grad]
    return [out, *torch.autograd.grad(out.square().mean(), wanted)]


def error(found: list, truth: list) -> float:
    """The largest difference in any tensor, over the largest number of the true one."""
    pairs = zip(found, truth, strict=True)
    return max(
        float((a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=1e-30))
        for a, b in pairs
    )


def attend(name: str, inputs: list) -> torch.Tensor:
    """By a backend that is named, which may refuse: `ValueError`."""
    module = Attend()
    module.runtime = Runtime(attention=name)
    return module(*inputs)


class Multiply:
    """A triangle multiplication of official widths on one input, in any dtype, by any backend."""

    def __init__(self, bench: Bench, n: int, outgoing: bool):
        torch.manual_seed(0)
        self.layer = TriangleMultiplication(PAIR, PAIR, outgoing).to(bench.device).eval()
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.copy_(0.2 * torch.randn_like(parameter))
        mask = torch.ones(1, n, n, dtype=torch.bool, device=bench.device)
        mask[:, -1], mask[:, :, -1] = False, False
        pair = torch.randn(1, n, n, PAIR, device=bench.device)
        self.x = Streams(pair, pair.new_zeros(1, 1, n, 1), mask, mask[:, :1])

    def to(self, dtype: torch.dtype) -> "Multiply":
        self.layer = self.layer.to(dtype)
        pair = self.x.pair.detach().to(dtype).requires_grad_()
        self.x = replace(self.x, pair=pair)
        return self

    def run(self, name: str) -> torch.Tensor:
        set_runtime(self.layer, Runtime(triangle=name))
        return self.layer(self.x)

    def inputs(self) -> list:
        return [self.x.pair, *self.layer.parameters()]

    def both(self, name: str) -> list:
        """The result, and the gradients of all inputs."""
        return with_gradients(lambda: self.run(name), self.inputs())


def checks(bench: Bench) -> Iterator[Figure]:
    """Each backend's largest error against `reference` in float64, over plain PyTorch's own.

    At the same dtype, over lengths, masks, a row without keys and all gradients.
    """
    lengths = DRY_CHECKED if bench.dry else CHECKED
    for dtype in (torch.float32, torch.bfloat16):
        for name in sorted(BACKENDS.entries):
            yield check(bench, f"attention, {name}, {word(dtype)}", lengths, name, attention_errors,
                        dtype)  # fmt: skip
        for name in sorted(TRIANGLES.entries):
            yield check(bench, f"multiplication, {name}, {word(dtype)}", lengths, name,
                        multiplication_errors, dtype)  # fmt: skip


def check(
    bench: Bench,
    what: str,
    lengths: tuple[int, ...],
    name: str,
    errors: Callable[..., tuple[float, float]],
    dtype: torch.dtype,
) -> Figure:
    """The worst ratio over the lengths; no value where the backend refuses."""
    ratios = []
    try:
        for n in lengths:
            own, plain = errors(bench, n, name, dtype)
            ratios.append(own / max(plain, torch.finfo(dtype).eps))
    except (RuntimeError, ValueError, ImportError) as error:
        return Figure("checks", what, None, "", note=excuse(error))
    worst = max(ratios)
    return Figure("checks", what, worst, "", note="right" if worst <= WORSE else "WRONG")


def attention_errors(bench: Bench, n: int, name: str, dtype: torch.dtype) -> tuple[float, float]:
    torch.manual_seed(n)
    low = attention_inputs(bench, 5, n, dtype, hole=True)
    wide = [each.detach().double().requires_grad_() for each in low[:4]] + low[4:]
    truth = with_gradients(lambda: attend("reference", wide), wide)
    plain = with_gradients(lambda: attend("reference", low), low)
    found = with_gradients(lambda: attend(name, low), low)
    return error(found, truth), error(plain, truth)


def multiplication_errors(
    bench: Bench, n: int, name: str, dtype: torch.dtype
) -> tuple[float, float]:
    worst = 0.0, 1.0
    for outgoing in (True, False):
        multiply = Multiply(bench, n, outgoing).to(dtype)
        plain = multiply.both("reference")
        found = multiply.both(name)
        multiply.to(torch.float64)
        truth = multiply.both("reference")
        both = error(found, truth), error(plain, truth)
        worst = max(worst, both, key=lambda pair: pair[0] / pair[1])
    return worst


def word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def trifast(inputs: list) -> torch.Tensor:
    """The package of that name on the same numbers; its mask is True where a key is left out."""
    triangle_attention = import_module("trifast").triangle_attention

    q, k, v, bias, mask = inputs
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    return triangle_attention(q, k, v, bias, ~mask).transpose(1, 2)


def kernels(bench: Bench, limit: Limits) -> Iterator[Figure]:
    """Triangle attention and multiplication by each backend in bfloat16, at growing length."""
    growing = Growing(bench, "kernels")
    runs: dict[str, Callable[[list], torch.Tensor]] = {
        name: partial(attend, name) for name in sorted(BACKENDS.entries)
    }
    runs["trifast (package)"] = trifast
    for n in DRY_LENGTHS if bench.dry else LENGTHS:
        for name, run in runs.items():
            for train in (False, True):
                work = attention_work(n, n, HEADS, DIM_HEAD)
                work = work.times(*BACKWARD) if train else work
                what = f"attention, {n}, {name}, {passes(train)}"

                def make(run: Any = run, n: int = n, train: bool = train) -> Callable[[], Any]:
                    inputs = attention_inputs(bench, n, n, torch.bfloat16, hole=False)
                    return call(train, lambda: run(inputs), inputs)

                least = limit.seconds(work.operations, work.moved)
                yield growing.measure(f"attention {name} {train}", what, n, make, least)
        for name in sorted(TRIANGLES.entries):
            for train in (False, True):
                work = multiplication_work(n, PAIR, PAIR)
                work = work.times(*BOTH) if train else work
                what = f"multiplication, {n}, {name}, {passes(train)}"

                def build(name: str = name, n: int = n, train: bool = train) -> Callable[[], Any]:
                    multiply = Multiply(bench, n, True).to(torch.bfloat16)
                    return call(train, lambda: multiply.run(name), multiply.inputs())

                least = limit.seconds(work.operations, work.moved)
                yield growing.measure(f"multiplication {name} {train}", what, n, build, least)


def passes(train: bool) -> str:
    return "forward + backward" if train else "forward"


def call(train: bool, run: Callable[[], torch.Tensor], inputs: list) -> Callable[[], Any]:
    """A forward pass alone without gradients, or both."""
    if train:
        return lambda: with_gradients(run, inputs)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return run()

    return forward
