"""Linear layers by the fastest matrix product that the machine has.

Two backends: "torch", and "onednn", which PyTorch carries but uses for half precision only. In
float32 PyTorch calls MKL, which has no AVX-512 for AMD's processors: there oneDNN is twice as fast.
On Intel's it is not: training an Evoformer block took a quarter longer.
"""

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from alphafold2_pytorch.ops.runtime import Operation
from alphafold2_pytorch.typing import Float, Tensor

BACKENDS = ("onednn", "torch")  # of these "auto" takes the first that does not refuse
LEAST = 2**23  # multiplications: with half as many, training an EGNN was 1.5 times slower
ROWS = 512  # of a piece of the weight's gradient; in one sum its rounding would be twice MKL's


class Linear(nn.Linear, Operation):
    """`nn.Linear`, with `relu` on its result if asked for; `Runtime(linear=...)` chooses how."""

    def forward(self, x: Float[Tensor, "*b d"], relu: bool = False) -> Float[Tensor, "*b o"]:
        named, weight = self.runtime.linear, self.weight
        name = choose(x, weight, named)
        self.ran(name, x, lambda: reasons(x, weight, named, name))
        return run(name, x, weight, self.bias, relu)

    def unread(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b o"]:
        """What has the gradients of the result but no values, if nobody has changed the layer."""
        changed = type(self).forward is not Linear.forward or "forward" in vars(self)
        if changed or self._forward_hooks or self._forward_pre_hooks:
            return self(x)
        name = choose(x, self.weight, self.runtime.linear)
        return Unread.apply(x, self.weight, self.bias, name)


def linear(
    x: Float[Tensor, "*b d"],
    weight: Float[Tensor, "o d"],
    bias: Float[Tensor, " o"] | None = None,
    relu: bool = False,
    named: str = "auto",
) -> Float[Tensor, "*b o"]:
    """x weight^T + bias, then ReLU if asked for. `ValueError` if the named backend refuses."""
    return run(choose(x, weight, named), x, weight, bias, relu)


def linear_first(
    x: Float[Tensor, "n d"],
    weight: Float[Tensor, "o d"],
    bias: Float[Tensor, " o"],
    named: str = "auto",
) -> Float[Tensor, "o n"]:
    """What `linear` gives with features in front, in memory too."""
    name = choose(x, weight, named)
    if name == "torch":
        return torch.addmm(bias[:, None], weight, x.t())
    return run(name, x, weight, bias, False).t().contiguous()


class Together:
    """What several layers make of one input, in parts of `width` features.

    By one product, of weights that are joined once, now; with gradients on a CPU in full precision
    by one for each part, because to join the parts' gradients takes longer than that saves. Layers
    that somebody has put in place of a `Linear` are called one by one. `tensors` are to be given
    with each call.
    """

    def __init__(self, width: int, *layers: nn.Module):
        own = [each for each in layers if type(each) is Linear]
        self.width, self.layers, self.count = width, layers, 0  # of weights
        self.tensors: tuple[Tensor, ...] = ()
        if len(own) < len(layers):
            return
        self.first = own[0]
        weights = [part for each in own for part in each.weight.split(width)]
        biases: list[Any] = []
        for each in own:
            none = [None] * (each.out_features // width)
            biases += none if each.bias is None else each.bias.split(width)
        low = torch.is_autocast_enabled("cpu")  # whose rounding is to be the same with gradients
        if low or not torch.is_grad_enabled() or weights[0].device.type != "cpu":
            weights = [torch.cat(weights)]
        self.count, self.tensors = len(weights), (*weights, *biases)

    def __call__(self, x: Tensor, *tensors: Any) -> list[Tensor]:
        """`tensors`: this object's own, or what autograd has put in their place."""
        if not self.count:
            return [part for each in self.layers for part in each(x).split(self.width, -1)]
        weights, biases = tensors[: self.count], tensors[self.count :]
        named = self.first.runtime.linear
        name = choose(x, weights[0], named)
        self.first.ran(name, x, lambda: reasons(x, weights[0], named, name))
        if len(weights) == len(biases):
            pairs = zip(weights, biases, strict=True)
            return [run(name, x, weight, bias, False) for weight, bias in pairs]
        parts = run(name, x, weights[0], None, False).split(self.width, -1)
        # to the parts that have one: with the product, zeros would be added to the others
        return [
            part if bias is None else part + bias.to(part.dtype)
            for part, bias in zip(parts, biases, strict=True)
        ]


def choose(x: Tensor, weight: Tensor, named: str) -> str:
    """The backend that runs."""
    if named == "torch" or (named == "auto" and small(x, weight)):
        return "torch"
    if refusal := refuses(x, weight):
        if named != "auto":
            raise ValueError(f"linear backend {named!r} refuses this input: {refusal}")
        return "torch"
    return "torch" if named == "auto" and intel() else "onednn"


def reasons(x: Tensor, weight: Tensor, named: str, chosen: str) -> dict[str, str]:
    """Why the other backend does not run."""
    [other] = {*BACKENDS} - {chosen}
    if refusal := refuses(x, weight) if other == "onednn" else None:
        return {other: refusal}
    if named != "auto":
        return {other: f"{named!r} is asked for by name"}
    return {other: "too small to be worth it" if small(x, weight) else "slower here"}


def small(x: Tensor, weight: Tensor) -> bool:
    """Whether the product is done before another way would have begun."""
    return x.numel() * weight.shape[0] < LEAST


@lru_cache(maxsize=1)
def intel() -> bool:
    """Whether Intel made the processor; MKL leaves nothing of it unused."""
    try:
        named = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        named = platform.processor()
    return "GenuineIntel" in named


def refuses(x: Tensor, weight: Tensor) -> str | None:
    """Why oneDNN's product cannot or should not be used, in words, or None."""
    if x.device.type != "cpu":
        return "it runs on CPUs"
    if torch.compiler.is_compiling():
        return "the compiler chooses products itself"
    if torch.is_autocast_enabled("cpu") or {x.dtype, weight.dtype} != {torch.float32}:
        return "it is for float32"
    if type(weight) not in (Tensor, nn.Parameter):
        return f"it reads plain tensors, not {type(weight).__name__}"
    if not torch.backends.mkldnn.is_available():
        return "this PyTorch was built without it"
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "without AVX-512 it is no faster"
    return None


def run(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """By the backend of that name."""
    if name == "torch":
        out = F.linear(x, weight, bias)
        return F.relu(out, inplace=True) if relu else out
    if torch.is_grad_enabled():
        return OneDnn.apply(x, weight, bias, relu)
    return product(x, weight, bias, relu)


def product(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """Without gradients."""
    then = "relu" if relu else "none"
    flat = x.reshape(-1, x.shape[-1])  # copied where it is a view with other strides
    out = torch.ops.mkldnn._linear_pointwise(flat, weight, bias, then, [], "")
    return out.view(*x.shape[:-1], len(weight))


class OneDnn(torch.autograd.Function):
    """Keeps the input, and for ReLU the result."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, relu: Any) -> Any:
        out = product(x, weight, bias, relu)
        ctx.save_for_backward(x, weight, out if relu else None)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Any) -> Any:
        x, weight, out = ctx.saved_tensors
        if out is not None:
            slope = torch.ops.aten.threshold_backward(slope, out, 0)
        return *gradients("onednn", x, weight, slope, ctx.needs_input_grad), None


class Unread(torch.autograd.Function):
    """A linear layer of which only gradients are wanted: what comes out is never computed."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, name: Any) -> Any:
        ctx.save_for_backward(x, weight)
        ctx.name = name
        return x.new_zeros(()).expand(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Any) -> Any:
        x, weight = ctx.saved_tensors
        return *gradients(ctx.name, x, weight, slope, ctx.needs_input_grad), None


def gradients(name: str, x: Tensor, weight: Tensor, slope: Tensor, wanted: tuple) -> list:
    """Of x, the weight and the bias of x weight^T + bias, as far as they are wanted."""
    flat, rows = slope.reshape(-1, len(weight)), x.reshape(-1, x.shape[-1])
    of_x = run(name, slope, weight.t(), None, False) if wanted[0] else None
    of_weight = None
    if wanted[1]:
        of_weight = weight_gradient(rows, flat) if name == "onednn" else flat.t() @ rows
    return [of_x, of_weight, flat.sum(0) if wanted[2] else None]


def weight_gradient(x: Float[Tensor, "n d"], slope: Float[Tensor, "n o"]) -> Float[Tensor, "o d"]:
    """slope^T x, by pieces of rows: oneDNN first copies what it reads into an order of its own."""
    pieces = zip(slope.split(ROWS), x.split(ROWS), strict=True)
    parts = (product(slopes.t(), rows.t(), None, False) for slopes, rows in pieces)
    return sum(parts, slope.new_zeros(()))
