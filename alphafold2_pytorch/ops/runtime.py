"""How operations learn how to run, and the one loop over chunks."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import nn

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.ops.again import Plan, again
from alphafold2_pytorch.ops.pieces import MOST, room
from alphafold2_pytorch.typing import Tensor

# Of the temporaries of a piece that is computed again: larger than others, because autograd takes
# milliseconds for each. On an Intel Xeon a training step took 0.86 times as long as with 8 MiB.
AGAIN_BYTES = 24 * 2**20

# The operation, the name of what it runs, on what, and of each other choice why it does not run.
Listener = Callable[["Operation", str, Tensor, dict[str, str]], None]


def added(update: Tensor, into: Tensor | None) -> Tensor | None:
    """The update, or None once it has been added to `into`."""
    if into is None:
        return update
    into += update
    return None


def stack(parts: list[Tensor]) -> Tensor:
    """Along a new first axis; one alone is not copied."""
    return parts[0][None] if len(parts) == 1 else torch.stack(parts)


def elements(x: Tensor) -> list[Tensor]:
    """Of the batch; one alone is a view whose gradient is one too."""
    return [x.flatten(0, 1)] if len(x) == 1 else list(x.unbind())


class Operation(nn.Module):
    """A module without parameters whose speed and memory, never its numbers, `runtime` decides."""

    runtime = Runtime()  # written by `set_runtime`, by nobody else
    listener: ClassVar[Listener | None] = None  # of all operations; written by `explain`

    def ran(self, name: str, x: Tensor, why: Callable[[], dict[str, str]] = dict) -> None:
        """Tell who listens what this call on `x` runs, and of each other choice why it does not."""
        if Operation.listener is not None:
            Operation.listener(self, name, x, why())

    def piece(self, bytes_each: int) -> int:
        """How long a piece of something is, without gradients."""
        return max(1, (self.runtime.chunk_bytes or MOST["cpu"]) // max(bytes_each, 1))

    def chunked(
        self, run: Callable[[int, int], Tensor], length: int, bytes_each: int, dim: int
    ) -> Tensor:
        """`run(start, stop)` over all of `length`, in pieces of about `runtime.chunk_bytes`.

        Pieces only save memory where autograd does not keep them: with gradients there is one.
        """
        size = self.piece(bytes_each)
        if torch.is_grad_enabled() or size >= length:
            return run(0, length)
        piece = run(0, size)
        shape = [*piece.shape[:dim], length, *piece.shape[dim + 1 :]]
        out = room(shape, piece)
        out.narrow(dim, 0, size).copy_(piece)
        for start in range(size, length, size):
            piece = run(start, min(start + size, length))
            out.narrow(dim, start, piece.shape[dim]).copy_(piece)
        return out

    def added(
        self,
        run: Callable[[int, int], Tensor],
        length: int,
        bytes_each: int,
        dim: int,
        into: Tensor | None,
    ) -> Tensor | None:
        """`chunked`, or None once each piece has been added to its part of `into`."""
        if into is None:
            return self.chunked(run, length, bytes_each, dim)
        size = self.piece(bytes_each)
        for start in range(0, length, size):
            stop = min(start + size, length)
            into.narrow(dim, start, stop - start).add_(run(start, stop))
        return None


class Rows(Operation):
    """Apply a function that sees nothing of other rows to slices of the first spatial axis."""

    def forward(
        self,
        run: Callable[..., Tensor],
        x: Tensor,
        growth: int | float = 1,
        *more: Tensor | None,
        whole: tuple[Tensor | None, ...] = (),
        reads: tuple[nn.Module, ...] = (),
        last: nn.Module | None = None,
        join: int = 1,
        into: Tensor | None = None,
    ) -> Tensor | None:
        """`run(x, *more, *whole)`, of which `x` and `more` are cut alike where they are not None.

        `growth`: how many times larger than `x` the temporaries of `run` are together. On a CPU
        with gradients these are kept as far as `Runtime.kept_bytes` go; the other pieces are
        computed again in the backward pass. For that, `reads` names the modules whose parameters
        `run` uses, and what else it uses that has a gradient must be in `whole`. `join`: the axis
        of its result where pieces meet; with `into`, each is added to its part of that, which may
        be `x`.
        """
        cut = (x, *more)
        bytes_each = int(x[:, 0].numel() * x.element_size() * growth)
        size = max(1, AGAIN_BYTES // max(bytes_each, 1))
        repeat = x.device.type == "cpu" and size < x.shape[1] and not torch.compiler.is_compiling()
        # pieces' gradients of weights are added up: of half weights that would round each time
        exact = x.dtype in (torch.float32, torch.float64) or torch.is_autocast_enabled("cpu")
        parameters = tuple(nn.ModuleList(reads).parameters())  # each once
        # of parameters that DeepSpeed has taken apart (ZeRO 3) autograd does not know the shapes
        there = not any(hasattr(each, "ds_id") for each in parameters)
        if torch.is_grad_enabled() and repeat and exact and there:
            graph = bytes_each * size
            plan = Plan(run, last, parameters, size, join, len(cut), graph, self.runtime.kept)
            return again(plan, *cut, *whole)

        def piece(start: int, stop: int) -> Tensor:
            out = run(*(each if each is None else each[:, start:stop] for each in cut), *whole)
            return out if last is None else last(out)

        pieces = not torch.is_grad_enabled() and self.piece(bytes_each) < x.shape[1]
        self.ran(f"pieces of {self.piece(bytes_each)}" if pieces else "in one piece", x)
        return self.added(piece, x.shape[1], bytes_each, join, into)


def set_runtime(model: nn.Module, runtime: Runtime) -> None:
    """Tell every operation (and the trunk) of a model how to run.

    `ValueError` if the runtime names a backend that there is not.
    """
    from alphafold2_pytorch.ops import linear  # these use `Operation`
    from alphafold2_pytorch.ops.backends import BACKENDS
    from alphafold2_pytorch.ops.triangles import TRIANGLES

    if runtime.linear not in ("auto", *linear.BACKENDS):
        known = ", ".join(("auto", *linear.BACKENDS))
        raise ValueError(f"unknown linear backend {runtime.linear!r}; choose from {known}")
    for registry, name in ((BACKENDS, runtime.attention), (TRIANGLES, runtime.triangle)):
        if name != "auto":
            registry[name]
    for module in model.modules():
        if isinstance(getattr(module, "runtime", None), Runtime):
            module.runtime = runtime  # type: ignore[assignment]
