"""How two residues lie to each other, as bins of trRosetta's inter-residue angles."""

from abc import abstractmethod

from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure, Targets
from alphafold2_pytorch.geometry.atoms import cbeta_or_placed
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.heads.base import HEADS, Head
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.losses.angles import (
    angle_bins,
    angle_loss,
    pair_omega,
    pair_phi,
    pair_theta,
)
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Representations
from alphafold2_pytorch.typing import Bool, Float, Tensor


class AngleHead(Head):
    """Logits of one angle of each pair; Yang et al. (2020) PNAS 117:1496.

    Bin 0: the C-beta atoms are farther apart than 20 A. The others are 15 degrees wide, from
    `lowest` on. C-beta is placed from N, CA and C where the structure has none.
    """

    name: str
    lowest = -180.0  # degrees

    def __init__(self, dim: int, share: float = 0.1, symmetric: bool = False):
        super().__init__()
        self.share, self.symmetric = share, symmetric
        self.norm = nn.LayerNorm(dim)
        self.to_bins = linear(dim, self.pair_channels, role="final")
        self.rows = Rows()

    @classmethod
    def wanted(cls, config: Alphafold2Config) -> bool:
        return config.predict_angles

    @float32
    def forward(self, x: Representations) -> Float[Tensor, "b n n k"]:
        logits = self.rows(lambda rows: self.to_bins(self.norm(rows)), x.pair, 2, reads=(self,))
        return logits + logits.transpose(1, 2) if self.symmetric else logits

    @abstractmethod
    def angle(self, truth: Targets, cb: Tensor, has_cb: Tensor) -> tuple[Tensor, Tensor]:
        """The true angle of each pair in degrees, and which are known, both `b n n`."""

    @float32
    def loss(
        self, output: Float[Tensor, "b n n k"], truth: Targets, structure: Structure | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Mean cross entropy over the pairs of different residues whose angle is known."""
        cb, has_cb = cbeta_or_placed(truth.seq, truth.positions, truth.atom_mask)
        angle, known = self.angle(truth, cb, has_cb)
        return {self.name: angle_loss(output, angle_bins(angle, cb, self.lowest), known)}


def _pairs(first: Bool[Tensor, "b n"], second: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n n"]:
    return first[:, :, None] & second[:, None, :]


@HEADS.register("theta")
class ThetaHead(AngleHead):
    """The dihedral N1-CA1-CB1-CB2: 25 bins, after the first from -180 to 180. Not symmetric."""

    name, pair_channels = "theta", 25

    def angle(self, truth: Targets, cb: Tensor, has_cb: Tensor) -> tuple[Tensor, Tensor]:
        n, ca = truth.positions[:, :, 0], truth.positions[:, :, 1]
        return pair_theta(n, ca, cb), _pairs(truth.atom_mask[:, :, :2].all(-1) & has_cb, has_cb)


@HEADS.register("phi")
class PhiHead(AngleHead):
    """The angle CA1-CB1-CB2: 13 bins, after the first from 0 to 180. Not symmetric."""

    name, pair_channels, lowest = "phi", 13, 0.0

    def angle(self, truth: Targets, cb: Tensor, has_cb: Tensor) -> tuple[Tensor, Tensor]:
        ca = truth.positions[:, :, 1]
        return pair_phi(ca, cb), _pairs(truth.atom_mask[:, :, 1] & has_cb, has_cb)


@HEADS.register("omega")
class OmegaHead(AngleHead):
    """The dihedral CA1-CB1-CB2-CA2: 25 bins, after the first from -180 to 180.

    The angle is symmetric, and so are the logits unless `symmetrize_omega=False`.
    """

    name, pair_channels = "omega", 25

    @classmethod
    def from_config(cls, config: Alphafold2Config, name: str) -> "OmegaHead":
        options = {"symmetric": config.symmetrize_omega, **config.options.get(name, {})}
        return cls(config.dim, **options)

    def angle(self, truth: Targets, cb: Tensor, has_cb: Tensor) -> tuple[Tensor, Tensor]:
        both = truth.atom_mask[:, :, 1] & has_cb
        return pair_omega(truth.positions[:, :, 1], cb), _pairs(both, both)
