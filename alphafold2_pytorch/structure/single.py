"""What is known of each residue alone, which the structure module starts from."""

import torch
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.msa_updates import require_aligned
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Float, Tensor


class SingleProjection(nn.Module):
    """What is known of each residue alone: its row of the MSA and its diagonal pair.

    Jumper et al. (2021) Suppl. Alg. 6 line 12 has the first; the second (option `from_pair` of
    "single") also serves an MSA that is not aligned to the sequence.
    """

    def __init__(self, config: Alphafold2Config, from_pair: bool = True):
        super().__init__()
        width = config.structure_module_dim
        self.from_msa = linear(config.width_msa, width)
        self.from_pair = None
        if from_pair:
            self.from_pair = nn.Sequential(nn.LayerNorm(config.dim), linear(config.dim, width))

    def forward(self, x: Streams) -> Float[Tensor, "b n d_single"]:
        if self.from_pair is None:
            require_aligned(x)
        aligned = x.msa.shape[2] == x.pair.shape[1]
        diagonal = torch.diagonal(x.pair, dim1=1, dim2=2).transpose(1, 2)
        return self._project(diagonal, x.msa[:, 0] if aligned else None)

    @float32  # the structure module reads it
    def _project(self, diagonal: Tensor, first: Tensor | None) -> Tensor:
        parts = [] if self.from_pair is None else [self.from_pair(diagonal)]
        parts += [] if first is None else [self.from_msa(first)]
        return torch.stack(parts).sum(0)
