"""A baseline that knows nothing of a protein but how far apart in the chain two residues are."""

from collections.abc import Iterable

import numpy as np
import torch

from alphafold2_pytorch.features import Targets
from alphafold2_pytorch.geometry.atoms import cbeta_or_placed
from alphafold2_pytorch.typing import Float, Int, Tensor

CONTACT = 8.0  # angstrom between C-beta atoms
PRIOR = 1000.0  # pairs: how firmly a rare separation is held to the mean of all long ones


def contact_rates(targets: Iterable[Targets], longest: int = 2000) -> Float[Tensor, " d"]:
    """How often residues so many numbers apart touch in known structures, for 0 to `longest`.

    Measured on single chains without a batch axis. Separations that few pairs have are drawn
    towards the mean of all those of at least 24; `ValueError` if no known pair is that far apart.
    """
    pairs, touching = np.zeros(longest + 1), np.zeros(longest + 1)
    for each in targets:
        points, known = cbeta_or_placed(each.seq, each.positions, each.atom_mask)
        points, index = points[known], each.residue_index[known]
        first, second = torch.triu_indices(len(index), len(index), 1)
        apart = (index[second] - index[first]).clamp(max=longest).numpy()
        near = (points[first] - points[second]).norm(dim=-1) < CONTACT
        pairs += np.bincount(apart, minlength=longest + 1)
        touching += np.bincount(apart, weights=near.numpy(), minlength=longest + 1)
    if not pairs[24:].any():
        raise ValueError("no pair of known residues lies 24 or more apart: nothing to learn from")
    mean = touching[24:].sum() / pairs[24:].sum()
    return torch.from_numpy((touching + PRIOR * mean) / (pairs + PRIOR))


def separation_score(
    rates: Float[Tensor, " d"], residue_index: Int[Tensor, " n"]
) -> Float[Tensor, "n n"]:
    """The contact probability of every pair by its separation alone."""
    apart = (residue_index[:, None] - residue_index[None, :]).abs()
    return rates[apart.clamp(max=len(rates) - 1)]
