"""How operations learn how to run, and the one loop over chunks."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.ops.pieces import MOST
from alphafold2_pytorch.typing import Tensor

# Of the temporaries of a piece that is computed again. A tensor of more than 32 MiB comes from the
# system page by page each time one is made, which takes as long as many a product that fills it.
KEPT_BYTES = 16 * 2**20


class Operation(nn.Module):
    """A module without parameters whose speed and memory, never its numbers, `runtime` decides."""

    runtime = Runtime()  # written by `set_runtime`, by nobody else

    def chunked(
        self, run: Callable[[int, int], Tensor], length: int, bytes_each: int, dim: int
    ) -> Tensor:
        """`run(start, stop)` over all of `length`, in pieces of about `runtime.chunk_bytes`.

        Pieces only save memory where autograd does not keep them: with gradients there is one.
        """
        size = max(1, (self.runtime.chunk_bytes or MOST["cpu"]) // max(bytes_each, 1))
        if torch.is_grad_enabled() or size >= length:
            return run(0, length)
        piece = run(0, size)
        out = piece.new_empty(*piece.shape[:dim], length, *piece.shape[dim + 1 :])
        out.narrow(dim, 0, size).copy_(piece)
        for start in range(size, length, size):
            piece = run(start, min(start + size, length))
            out.narrow(dim, start, piece.shape[dim]).copy_(piece)
        return out


class Rows(Operation):
    """Apply a function that sees nothing of other rows to slices of the first spatial axis."""

    def forward(
        self, run: Callable[..., Tensor], x: Tensor, growth: int | float = 1, *more: Tensor | None
    ) -> Tensor:
        """`run(x, *more)`, all of them cut alike where they are not None.

        `growth`: how many times larger than `x` the temporaries of `run` are together. On a CPU
        with gradients these are not kept: each piece is computed again in the backward pass.
        """

        def piece(start: int, stop: int) -> Tensor:
            return run(*(each if each is None else each[:, start:stop] for each in (x, *more)))

        bytes_each = int(x[:, 0].numel() * x.element_size() * growth)
        size = max(1, KEPT_BYTES // max(bytes_each, 1))
        again = x.device.type == "cpu" and size < x.shape[1] and not torch.compiler.is_compiling()
        if torch.is_grad_enabled() and again:
            count = -(-x.shape[1] // size)
            # `split`, because the gradient of a slice is as large as the whole
            parts = [[None] * count if t is None else t.split(size, 1) for t in (x, *more)]
            done = [
                checkpoint(run, *some, use_reentrant=False) for some in zip(*parts, strict=True)
            ]
            return torch.cat(done, 1)
        return self.chunked(piece, x.shape[1], bytes_each, 1)


def set_runtime(model: nn.Module, runtime: Runtime) -> None:
    """Tell every operation (and the trunk) of a model how to run."""
    for module in model.modules():
        if isinstance(getattr(module, "runtime", None), Runtime):
            module.runtime = runtime  # type: ignore[assignment]
