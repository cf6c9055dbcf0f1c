"""How far each residue is off, seen from every other."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure, Targets
from alphafold2_pytorch.geometry.atoms import backbone_frames
from alphafold2_pytorch.geometry.confidence import error_edges
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.heads.base import HEADS, Head, at_resolution, required
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Representations
from alphafold2_pytorch.typing import Float, Tensor


@HEADS.register("pae")
class PaeHead(Head):
    """Logits of the aligned error of each CA (column) in the frame of each residue (row).

    Bins of up to 31 angstrom, as in `geometry/confidence.py`; not symmetric. Trained on chains
    whose resolution lies within `resolution` (angstrom, None: on all). Jumper et al. (2021) Suppl.
    Sec. 1.9.7.
    """

    edges: Tensor  # angstrom, between the bins

    def __init__(
        self,
        dim: int,
        bins: int = 64,
        share: float = 0.1,
        resolution: Sequence[float] | None = (0.1, 3.0),
    ):
        super().__init__()
        self.share, self.resolution, self.pair_channels = share, resolution, bins
        self.logits = linear(dim, bins, role="final")
        self.register_buffer("edges", error_edges(bins), persistent=False)
        self.rows = Rows()

    @classmethod
    def wanted(cls, config: Alphafold2Config) -> bool:
        return config.predict_pae

    @classmethod
    def from_config(cls, config: Alphafold2Config, name: str) -> "PaeHead":
        if not config.predict_coords:
            raise ValueError("predict_pae needs predict_coords=True")
        return cls(config.dim, **config.options.get(name, {}))

    @float32
    def forward(self, x: Representations) -> Float[Tensor, "b n n k"]:
        return self.rows(self.logits, x.pair, reads=(self.logits,))

    @float32
    def loss(
        self, output: Float[Tensor, "b n n k"], truth: Targets, structure: Structure | None
    ) -> dict[str, Float[Tensor, ""]]:
        """Mean cross entropy to the bins of the errors this prediction made, where N, CA and C of
        both residues are known; zero if none counts.
        """
        known = truth.atom_mask[..., :3].all(-1) & at_resolution(truth, self.resolution)[:, None]
        pairs = known[:, :, None] & known[:, None]
        with torch.no_grad():
            true, found = backbone_frames(truth.positions), required(structure, "pae").frames[-1]
            wanted, got = (
                frames.unsqueeze(-1).apply_inverse(frames.trans[:, None])
                for frames in (true, found)
            )
            squared = (got - wanted).square().sum(-1).masked_fill(~pairs, 0.0)
            bins = torch.bucketize(squared, self.edges.square())
        error = F.cross_entropy(output.movedim(-1, 1), bins, reduction="none")
        return {"pae": error.masked_fill(~pairs, 0.0).sum() / pairs.sum().clamp(min=1)}


def _views(frames: Rigid) -> Float[Tensor, "b n n 3"]:
    """Where each frame (row) sees the origins of all (column)."""
    return frames.unsqueeze(-1).apply_inverse(frames.trans[:, None])
