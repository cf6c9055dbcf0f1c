"""First frames from predicted distances, for structure modules that refine instead of build."""

import torch

from alphafold2_pytorch.geometry.distances import Distances
from alphafold2_pytorch.geometry.mds import (
    classical_mds,
    refine_mds,
    right_handed,
    shortest_paths,
)
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

LONGEST_STEP = 6.5  # angstrom between C-beta atoms of neighbours in a chain
ITERATIONS = 30  # of multidimensional scaling, where the config does not say


@torch.no_grad()
@float32
def frames_from_distances(
    distances: Distances,
    residue_index: Int[Tensor, "b n"],
    mask: Bool[Tensor, "b n"],
    steps: int = ITERATIONS,
) -> Rigid:
    """A frame a residue (`b n`, angstrom), by multidimensional scaling of predicted distances.

    Pairs that are more likely than not in the open last bin take the shortest way over nearer
    ones. The mirror image with right-handed helices is chosen; axes follow the chain's trace.
    Passes no gradient.
    """
    mean, variance, share = distances.near()
    pairs = mask[:, :, None] & mask[:, None]
    weights = share * share / (1 + variance)
    known = mean.masked_fill((share < 0.5) | ~pairs, torch.inf)
    neighbours = (residue_index[:, :, None] - residue_index[:, None]).abs() == 1
    known = torch.where(neighbours, mean.clamp(max=LONGEST_STEP), known)
    known = shortest_paths(known).clamp(max=4 * LONGEST_STEP * mask.shape[1] ** 0.5)
    same = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    known = known.masked_fill(same, 0.0)
    weights = weights.masked_fill(same | ~pairs, 0.0)
    points = refine_mds(classical_mds(known, mask), known, weights + weights.mT, steps)
    return frames_along(right_handed(points, residue_index, mask))


def frames_along(points: Float[Tensor, "b n 3"]) -> Rigid:
    """Frames at the points of a trace, turned by where the point before and the next one lie.

    The ends take the axes of their neighbours; of fewer than three points none are turned.
    """
    if points.shape[1] < 3:
        return Rigid(Rigid.identity(tuple(points.shape[:2]), points).rot, points)
    inner = Rigid.from_three_points(points[:, :-2], points[:, 1:-1], points[:, 2:], eps=1e-6)
    rot = torch.cat([inner.rot[:, :1], inner.rot, inner.rot[:, -1:]], dim=1)
    return Rigid(rot, points)
