"""Without gradients no tensor of a block grows as the cube of the length."""

import pytest
import torch
from kit import random_streams, scrambled
from torch.utils._python_dispatch import TorchDispatchMode

from alphafold2_pytorch.blocks.evoformer import Evoformer
from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.ops import set_runtime
from alphafold2_pytorch.ops.batched import exact
from alphafold2_pytorch.streams import Streams

DIM, HEADS = 16, 4
CHANNELS = 32  # of the widest tensor of pairs: both sides of a triangle


class Largest(TorchDispatchMode):
    """How many numbers of four bytes the largest storage holds that any operation gave."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for each in torch.utils._pytree.tree_leaves(out):
            if isinstance(each, torch.Tensor):
                made = each.untyped_storage().nbytes() // 4
                self.entries = max(self.entries, made)
        return out


def largest(n: int, runtime: Runtime, rows: int = 5) -> int:
    block = scrambled(Evoformer(DIM, heads=HEADS, dim_head=8, dim_outer=8))
    set_runtime(block, runtime)
    x: Streams = random_streams(n, rows, batch=1, dim=DIM)
    exact()  # once tries products of its own
    with torch.no_grad(), Largest() as mode:
        block(x)
    return mode.entries


@pytest.mark.parametrize("rows", [5, 40])
@pytest.mark.parametrize("n", [64, 96])
def test_no_tensor_of_a_block_is_a_cube(n, rows):
    assert largest(n, Runtime(chunk_bytes=2**16), rows) <= CHANNELS * n**2 < n**3


def test_a_cube_would_be_seen():
    plain = Runtime(attention="reference", chunk_bytes=2**30)
    assert largest(64, plain) >= HEADS * 64**3
