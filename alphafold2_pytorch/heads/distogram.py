"""Distances between C-beta atoms, as bins."""

import torch
import torch.nn.functional as F
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure, Targets
from alphafold2_pytorch.geometry.atoms import cbeta_or_placed, pseudo_beta
from alphafold2_pytorch.geometry.distances import BinnedDistances
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.heads.base import HEADS, DistanceHead
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Representations
from alphafold2_pytorch.typing import Float, Tensor


@HEADS.register("distogram")
class DistogramHead(DistanceHead):
    """Logits of the C-beta distance; Jumper et al. (2021) Suppl. Sec. 1.9.8.

    `bins` bins with inner edges from `first`, `spacing` apart (angstrom). By default 37: the first
    up to 2 A, then steps of 0.5 A, the last beyond 19.5 A. C-beta is placed from N, CA and C where
    the structure has none, and pairs of different residues count; with `pseudo_beta` it is
    AlphaFold's loss, which takes CA of glycine, places nothing and counts the diagonal too.
    """

    edges: Tensor  # angstrom, between the bins

    def __init__(
        self,
        dim: int,
        bins: int = 37,
        first: float = 2.0,
        spacing: float = 0.5,
        share: float = 0.3,
        norm: bool = True,
        pseudo_beta: bool = False,
    ):
        super().__init__()
        self.share, self.pair_channels = share, bins
        self.pseudo_beta = pseudo_beta
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.to_bins = linear(dim, bins, role="final")
        edges = first + spacing * torch.arange(bins - 1)
        self.register_buffer("edges", edges, persistent=False)
        self.rows = Rows()

    @classmethod
    def wanted(cls, config: Alphafold2Config) -> bool:
        return not config.predict_real_value_distances

    def distances(self, output: Float[Tensor, "b n n k"]) -> BinnedDistances:
        return BinnedDistances(output, self.edges)

    @float32
    def forward(self, x: Representations) -> Float[Tensor, "b n n k"]:
        half = self.rows(lambda rows: self.to_bins(self.norm(rows)), x.pair, 2, reads=(self,))
        return half + half.transpose(1, 2)

    @float32
    def loss(
        self, output: Float[Tensor, "b n n k"], truth: Targets, structure: Structure | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Mean cross entropy over the pairs whose distance is known."""
        point = pseudo_beta if self.pseudo_beta else cbeta_or_placed
        points, known = point(truth.seq, truth.positions, truth.atom_mask)
        pairs = known[:, :, None] & known[:, None, :]
        if not self.pseudo_beta:
            pairs = pairs & ~torch.eye(known.shape[1], dtype=torch.bool, device=known.device)
        difference = points[:, :, None] - points[:, None]
        bins = torch.bucketize(difference.square().sum(-1), self.edges.square())
        error = F.cross_entropy(output.movedim(-1, 1), bins, reduction="none")
        return {"distogram": (error * pairs).sum() / pairs.sum().clamp(min=1)}
