"""Superposition: the rigid motion that lays one set of points onto another."""

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.typing import Bool, Float, Tensor


def best_rotation(covariance: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The proper rotation R (never a mirror) with the largest trace of R applied to `covariance`.

    `covariance` is the sum of moving times fixed point, both centred. Where points lie on a line
    or coincide the rotation is one of several equally good ones. Kabsch (1976) Acta Cryst. A32:922.
    """
    left, _, right = torch.linalg.svd(covariance)
    sign = torch.ones_like(covariance[..., 0])
    sign[..., 2] = torch.linalg.det(left).sign() * torch.linalg.det(right).sign()
    return (right.transpose(-1, -2) * sign[..., None, :]) @ left.transpose(-1, -2)


@float32
def superpose(
    moving: Float[Tensor, "*#b n 3"],
    fixed: Float[Tensor, "*#b n 3"],
    weights: Float[Tensor, "*#b n"] | Bool[Tensor, "*#b n"],
) -> Rigid:
    """The motion that brings `moving` closest to `fixed`, in the weighted least-squares sense.

    A mask serves as weights. Points of zero weight are not read; if all are, the motion is none.
    """
    keep = weights[..., None] != 0
    weights = weights.to(moving.dtype)[..., None]
    moving, fixed = moving.masked_fill(~keep, 0.0), fixed.masked_fill(~keep, 0.0)
    total = weights.sum(-2, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    centre, goal = ((weights * each).sum(-2, keepdim=True) / total for each in (moving, fixed))
    covariance = (weights * (moving - centre)).transpose(-1, -2) @ (fixed - goal)
    rot = best_rotation(covariance)
    trans = goal - centre @ rot.transpose(-1, -2)
    return Rigid(rot, trans[..., 0, :])


def rmsd(
    moving: Float[Tensor, "*#b n 3"], fixed: Float[Tensor, "*#b n 3"], mask: Bool[Tensor, "*#b n"]
) -> Float[Tensor, "*b"]:
    """Root mean square distance in angstrom after superposition, over the points in `mask`.

    NaN where no point is known.
    """
    motion = superpose(moving, fixed, mask)
    distance = (motion.unsqueeze(-1).apply(moving) - fixed).square().sum(-1)
    total = distance.masked_fill(~mask, 0.0).sum(-1)
    return torch.sqrt(total / mask.sum(-1).to(total.dtype))
