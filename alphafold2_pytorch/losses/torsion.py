"""Torsion angles against the experimental ones."""

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.typing import Bool, Float, Tensor


@float32
def torsion_loss(
    torsions: Float[Tensor, "*#b n t 2"],
    raw: Float[Tensor, "*#b n t 2"],
    true: Float[Tensor, "*#b n t 2"],
    alternative: Float[Tensor, "*#b n t 2"],
    known: Bool[Tensor, "*#b n t"],
    mask: Bool[Tensor, "*#b n"],
) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"]]:
    """Angle loss and norm loss, each a mean over residues and torsions.

    Torsions are unit vectors (sin, cos); `raw` is what the network gave before normalisation.
    The first loss is the squared chord to the true angle or, if nearer, to the `alternative` that
    a symmetric side chain allows (equal to the true one elsewhere), over what is `known`; zero if
    nothing is. The second keeps the raw vectors of the residues in `mask` near length one.
    Leading dimensions broadcast, so one truth serves all refinement steps. Jumper et al. (2021)
    Suppl. Alg. 27, which weighs the norm loss 0.02 (DeepMind's code weighs 0.5 to 0.01).
    """
    nothing = ~known[..., None]
    to_true = (torsions - true.masked_fill(nothing, 0.0)).square().sum(-1)
    to_other = (torsions - alternative.masked_fill(nothing, 0.0)).square().sum(-1)
    angle = _mean(torch.minimum(to_true, to_other), known)
    length = torch.sqrt(raw.square().sum(-1) + 1e-6)
    return angle, _mean((length - 1).abs(), mask[..., None])


def _mean(value: Tensor, mask: Tensor) -> Tensor:
    """Over the last two axes, where `mask` (which broadcasts) keeps."""
    keep = mask.expand_as(value).to(value.dtype)
    return (value * keep).sum((-1, -2)) / keep.sum((-1, -2)).clamp(min=1)
