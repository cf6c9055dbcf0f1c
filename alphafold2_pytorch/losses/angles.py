"""The angles between two residues that fix how they lie to each other, and their bins."""

import math

import torch
import torch.nn.functional as F

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.torsions import dihedral
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

FARTHEST = 20.0  # angstrom between C-beta atoms; pairs beyond have no angles
WIDTH = 15.0  # degrees in a bin


@float32
def pair_theta(
    n: Float[Tensor, "*b l 3"], ca: Float[Tensor, "*b l 3"], cb: Float[Tensor, "*b l 3"]
) -> Float[Tensor, "*b l l"]:
    """The dihedral N1-CA1-CB1-CB2 in degrees, -180 to 180; Yang et al. (2020) PNAS 117:1496."""
    return _torsion(_first(n), _first(ca), _first(cb), _second(cb))


@float32
def pair_phi(ca: Float[Tensor, "*b l 3"], cb: Float[Tensor, "*b l 3"]) -> Float[Tensor, "*b l l"]:
    """The angle CA1-CB1-CB2 in degrees, 0 to 180; Yang et al. (2020)."""
    to_ca, to_cb = torch.broadcast_tensors(_first(ca) - _first(cb), _second(cb) - _first(cb))
    across = torch.linalg.cross(to_ca, to_cb).norm(dim=-1)
    return torch.rad2deg(torch.atan2(across, (to_ca * to_cb).sum(-1)))


@float32
def pair_omega(ca: Float[Tensor, "*b l 3"], cb: Float[Tensor, "*b l 3"]) -> Float[Tensor, "*b l l"]:
    """The dihedral CA1-CB1-CB2-CA2 in degrees, -180 to 180, symmetric; Yang et al. (2020)."""
    return _torsion(_first(ca), _first(cb), _second(cb), _second(ca))


def angle_bins(
    angle: Float[Tensor, "*b l l"], cb: Float[Tensor, "*b l 3"], lowest: float
) -> Int[Tensor, "*b l l"]:
    """Bin 0 for pairs whose C-beta atoms are farther apart than 20 angstrom.

    The bins from 1 on have 15 degrees each, from `lowest` (-180 of dihedrals, 0 of planar angles)
    to 180.
    """
    most = math.ceil((180.0 - lowest) / WIDTH)
    bins = 1 + ((angle - lowest) / WIDTH).long().clamp(min=0, max=most - 1)
    distance = torch.linalg.vector_norm(_first(cb) - _second(cb), dim=-1)
    return bins.masked_fill(distance > FARTHEST, 0)


@float32
def angle_loss(
    logits: Float[Tensor, "b l l k"], bins: Int[Tensor, "b l l"], known: Bool[Tensor, "b l l"]
) -> Float[Tensor, ""]:
    """Mean cross entropy over the pairs of different residues in `known`; zero if there is none."""
    known = known & ~torch.eye(known.shape[1], dtype=torch.bool, device=known.device)
    error = F.cross_entropy(logits.movedim(-1, 1), bins, reduction="none")
    return error.masked_fill(~known, 0.0).sum() / known.sum().clamp(min=1)


def _first(points: Tensor) -> Tensor:
    return points[..., :, None, :]


def _second(points: Tensor) -> Tensor:
    return points[..., None, :, :]


def _torsion(*points: Tensor) -> Tensor:
    sin, cos = dihedral(*torch.broadcast_tensors(*points)).unbind(-1)
    return torch.rad2deg(torch.atan2(sin, cos))
