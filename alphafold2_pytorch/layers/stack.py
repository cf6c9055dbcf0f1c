"""A block as a list of residual updates, and how a list of blocks is run."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.streams import Streams


class Updates(nn.Module):
    """Runs its children in order; each names the stream it `writes` and returns its update, or
    None if it has added that itself (`Streams.mine`)."""

    def forward(self, x: Streams) -> Streams:
        for step in self.children():
            update = step(x)
            x = x if update is None else x.add(step.writes, update)  # type: ignore[arg-type]
        return x


class Stack(nn.ModuleList):
    """Blocks, from `Streams` to `Streams`, one after the other.

    With `Runtime(checkpoint=True)` and gradients, what a block computed is not kept but computed
    again.
    """

    runtime = Runtime()  # written by `set_runtime`

    def __init__(self, blocks: Iterable[nn.Module] = ()):
        super().__init__(blocks)

    def forward(self, x: Streams) -> Streams:
        recompute = self.runtime.checkpoint and torch.is_grad_enabled()
        for block in self:
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return x
