"""How the trunk's updates are run: plainly, or recomputed in the backward pass."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from alphafold2_pytorch.blocks import BLOCKS
from alphafold2_pytorch.config import Alphafold2Config, Runtime
from alphafold2_pytorch.streams import Streams


class Trunk(nn.Module):
    """The blocks of `config.block_types`, one after the other."""

    runtime = Runtime()  # written by `set_runtime`

    def __init__(self, config: Alphafold2Config):
        super().__init__()
        self.blocks = nn.ModuleList(
            BLOCKS[name].from_config(config, name, layer)
            for layer, name in enumerate(config.block_types)
        )

    def forward(self, x: Streams) -> Streams:
        recompute = self.runtime.checkpoint and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return x
