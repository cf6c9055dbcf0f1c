"""Frame-aligned point error: how far atoms are off, seen from every frame."""

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.typing import Bool, Float, Tensor


@float32
def fape(
    predicted: Rigid,
    target: Rigid,
    frame_mask: Bool[Tensor, "*#b f"],
    predicted_points: Float[Tensor, "*#b p 3"],
    target_points: Float[Tensor, "*#b p 3"],
    point_mask: Bool[Tensor, "*#b p"],
    *,
    clamp: float | None = 10.0,
    length: float = 10.0,
    eps: float = 1e-4,
) -> Float[Tensor, "*b"]:
    """Mean distance of predicted from true points in the view of every frame, in units of `length`.

    Frames have shape `*b f`; leading dimensions broadcast, so one target serves all refinement
    steps. Distances are cut at `clamp` angstrom (None: not at all). For the side chains flatten all
    rigid groups into `f` and all atoms into `p`. Without a known frame or point the loss is zero.
    Mirror images do not score alike. Jumper et al. (2021) Suppl. Alg. 28.
    """
    # What is unknown is set to zero first: a NaN there would come back through the gradient.
    known, seen = point_mask[..., None], frame_mask[..., None]
    target_points = target_points.masked_fill(~known, 0.0)
    points = torch.cat(torch.broadcast_tensors(predicted_points, target_points), dim=-1)
    turn_target = target.rot.masked_fill(~seen[..., None], 0.0).transpose(-1, -2)
    turn = predicted.rot.transpose(-1, -2)
    # R'x - R't minus the same for the target, for all three axes by one product: (f 3 6) (6 p).
    offset = (turn @ predicted.trans[..., None]) - (
        turn_target @ target.trans.masked_fill(~seen, 0.0)[..., None]
    )
    both = torch.cat(torch.broadcast_tensors(turn, -turn_target), dim=-1)
    difference = both @ points.transpose(-1, -2)[..., None, :, :] - offset  # *b f 3 p
    distance = torch.sqrt(difference.square().sum(-2) + eps)
    if clamp is not None:
        distance = distance.clamp(max=clamp)
    pairs = (seen & point_mask[..., None, :]).to(distance.dtype)
    counted = pairs.sum((-1, -2))
    return (distance * pairs).sum((-1, -2)) / (length * (counted + eps))
