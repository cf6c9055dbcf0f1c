"""Which of two equally right namings of a symmetric side chain a prediction is nearer to."""

import torch

from alphafold2_pytorch.chem.residues import ATOM14_AMBIGUOUS
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.typing import Bool, Float, Tensor

MOST = int(ATOM14_AMBIGUOUS.sum(-1).max())  # of a residue's atoms


@torch.no_grad()
@float32
def rename_ambiguous(
    predicted: Float[Tensor, "*b n a 3"],
    true: Float[Tensor, "*b n a 3"],
    alternative: Float[Tensor, "*b n a 3"],
    mask: Bool[Tensor, "*b n a"],
    alternative_mask: Bool[Tensor, "*b n a"],
    ambiguous: Bool[Tensor, "*b n a"],
) -> tuple[Float[Tensor, "*b n a 3"], Bool[Tensor, "*b n a"], Bool[Tensor, "*b n"]]:
    """The true atoms under the naming that fits `predicted` better, residue by residue.

    `alternative` is the truth with the two sides of each symmetric group swapped (Asp, Glu, Phe,
    Tyr) and `ambiguous` marks the atoms that this moves, at most four of a residue. Compared are
    their distances to all atoms that have one name only, so no superposition is needed. Returns
    positions, which of them are known, and which residues were swapped; a tie keeps the naming of
    `true`. Has no gradient. Jumper et al. (2021) Suppl. Alg. 26.
    """
    shape = mask.shape
    predicted, true, alternative = (
        each.reshape(-1, *shape[-2:], 3) for each in (predicted, true, alternative)
    )
    mask, alternative_mask, ambiguous = (
        each.reshape(-1, *shape[-2:]) for each in (mask, alternative_mask, ambiguous)
    )
    # as many of every residue as any can have: to count them would wait for the device
    moving = ambiguous.int().argsort(dim=-1, descending=True, stable=True)[..., :MOST]
    moves = ambiguous.take_along_dim(moving, -1)
    fixed = (mask & ~ambiguous).flatten(1)[:, None]  # each moving atom against all that stay

    def to_fixed(points: Tensor, others: Tensor) -> Tensor:
        some = points.take_along_dim(moving[..., None], -2).flatten(1, 2)
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(some, others.flatten(1, 2), compute_mode=mode)

    wanted = to_fixed(predicted, predicted)
    errors = []
    for points, known in ((true, mask), (alternative, alternative_mask)):
        counted = (known.take_along_dim(moving, -1) & moves).flatten(1)[..., None] & fixed
        error = (to_fixed(points, true) - wanted).abs().masked_fill(~counted, 0.0).sum(-1)
        errors.append(error.unflatten(-1, (-1, moving.shape[-1])).sum(-1))
    swapped = errors[1] < errors[0]
    positions = torch.where(swapped[..., None, None], alternative, true)
    known = torch.where(swapped[..., None], alternative_mask, mask)
    return positions.reshape(*shape, 3), known.reshape(shape), swapped.reshape(shape[:-1])
