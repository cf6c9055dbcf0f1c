"""Distances between C-beta atoms, as numbers with an uncertainty."""

import torch
import torch.nn.functional as F
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure, Targets
from alphafold2_pytorch.geometry.atoms import cbeta_or_placed
from alphafold2_pytorch.geometry.distances import NormalDistances
from alphafold2_pytorch.geometry.precision import float32, widen
from alphafold2_pytorch.heads.base import HEADS, DistanceHead
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.losses.distance import normal_distance_loss
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Representations
from alphafold2_pytorch.typing import Float, Tensor

MEAN, STD = 20.0, 10.0  # angstrom, units of what the layer gives: it starts at 13.9 and about 7


@HEADS.register("distance")
class RealDistanceHead(DistanceHead):
    """Mean and standard deviation of the C-beta distance in angstrom, both positive; Xu (2020).

    Takes the place of the distogram with `predict_real_value_distances`. No standard deviation is
    below `smallest`. Li and Xu (2021) Bioinformatics 37:3197; C-beta is placed from N, CA and C
    where the structure has none.
    """

    pair_channels = 2
    edges = None

    def __init__(self, dim: int, smallest: float = 0.5, share: float = 0.3):
        super().__init__()
        if smallest <= 0:
            raise ValueError(f"smallest must be above 0 angstrom, got {smallest}")
        self.share, self.smallest = share, smallest
        self.norm = nn.LayerNorm(dim)
        self.out = linear(dim, 2, role="final")
        self.rows = Rows()

    @classmethod
    def wanted(cls, config: Alphafold2Config) -> bool:
        return config.predict_real_value_distances

    def distances(self, output: Float[Tensor, "b n n two"]) -> NormalDistances:
        return NormalDistances(output)

    @float32
    def forward(self, x: Representations) -> Float[Tensor, "b n n two"]:
        half = widen(self.rows(lambda rows: self.out(self.norm(rows)), x.pair, 2, reads=(self,)))
        mean, std = F.softplus(half + half.transpose(1, 2)).unbind(-1)
        return torch.stack([MEAN * mean, self.smallest + STD * std], dim=-1)

    @float32
    def loss(
        self, output: Float[Tensor, "b n n two"], truth: Targets, structure: Structure | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Gaussian negative log likelihood over the pairs whose distance is known, near or far.

        A pair too far to tell gets a large standard deviation, and then pulls little.
        """
        points, known = cbeta_or_placed(truth.seq, truth.positions, truth.atom_mask)
        mean, std = output.unbind(-1)
        return {"distance": normal_distance_loss(mean, std, points, known, self.smallest)}
