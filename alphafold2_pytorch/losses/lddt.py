"""Local distance difference test: does each residue keep its distances to its neighbours?"""

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.typing import Bool, Float, Tensor

TOLERANCES = (0.5, 1.0, 2.0, 4.0)  # angstrom


@float32
def lddt(
    predicted: Float[Tensor, "*#b n 3"],
    true: Float[Tensor, "*#b n 3"],
    mask: Bool[Tensor, "*#b n"],
    cutoff: float = 15.0,
    per_residue: bool = False,
) -> Float[Tensor, "*out"]:
    """lDDT of one point a residue (C-alpha), from 0 to 1: `*b`, or `*b n` with `per_residue`.

    Counts, over the pairs whose true distance is below `cutoff` angstrom, how many of the
    tolerances 0.5, 1, 2 and 4 angstrom the predicted distance keeps. Where there is no such pair
    the score is 1, as in DeepMind's code: leave such residues out by `mask`. Needs no
    superposition, and does not see a mirror image. It has no useful gradient.
    Mariani et al. (2013) Bioinformatics 29:2722; Jumper et al. (2021) Suppl. Alg. 29.
    """
    true = true.masked_fill(~mask[..., None], 0.0)
    pairs = mask[..., None] & mask[..., None, :] & ((wanted := _distances(true)) < cutoff)
    pairs = pairs & ~torch.eye(mask.shape[-1], dtype=torch.bool, device=mask.device)
    error = (_distances(predicted) - wanted).abs()
    kept = sum((error < tolerance).to(error.dtype) for tolerance in TOLERANCES) / len(TOLERANCES)
    axes = (-1,) if per_residue else (-2, -1)
    counted = pairs.to(error.dtype)
    return ((kept * counted).sum(axes) + 1e-10) / (counted.sum(axes) + 1e-10)


def _distances(points: Tensor) -> Tensor:
    """All against all, by differences: the product form of `cdist` loses digits."""
    difference = points[..., :, None, :] - points[..., None, :, :]
    return torch.sqrt(difference.square().sum(-1) + 1e-10)
