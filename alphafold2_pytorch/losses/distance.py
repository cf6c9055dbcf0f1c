"""Predicted distances with an uncertainty against known points."""

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.typing import Bool, Float, Tensor


@float32
def normal_distance_loss(
    mean: Float[Tensor, "b n n"],
    std: Float[Tensor, "b n n"],
    points: Float[Tensor, "b n 3"],
    known: Bool[Tensor, "b n"],
    smallest: float,
) -> Float[Tensor, ""]:
    """Gaussian negative log likelihood of the distances, a mean over pairs of different residues.

    All in angstrom; every pair of `known` points counts, whatever its distance. What the likelihood
    of an exact mean with a standard deviation of `smallest` would cost is taken off, so the loss is
    not negative while `std` is at least `smallest`. Zero where no pair is known.
    """
    pairs = known[:, :, None] & known[:, None, :]
    pairs = pairs & ~torch.eye(known.shape[1], dtype=torch.bool, device=known.device)
    points = points.masked_fill(~known[..., None], 0.0)
    distance = torch.linalg.vector_norm(points[:, :, None] - points[:, None], dim=-1)
    loss = torch.log(std / smallest) + 0.5 * ((distance - mean) / std).square()
    return loss.masked_fill(~pairs, 0.0).sum() / pairs.sum().clamp(min=1)
