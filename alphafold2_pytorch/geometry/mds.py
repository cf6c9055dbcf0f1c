"""From distances to points: shortest paths for what is unknown, then multidimensional scaling."""

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor


def shortest_paths(distances: Float[Tensor, "b n n"]) -> Float[Tensor, "b n n"]:
    """The length of the shortest way between any two points; infinity marks a missing edge."""
    paths = distances.clone()
    for k in range(paths.shape[-1]):  # Floyd and Warshall
        paths = torch.minimum(paths, paths[:, :, k, None] + paths[:, None, k, :])
    return paths


@float32
def classical_mds(
    distances: Float[Tensor, "b n n"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, "b n 3"]:
    """Points whose squared distances fit best in the sense of Torgerson (1952), centred.

    Unique up to a mirror image: of each axis the entry of largest size is positive. Masked points
    are at zero.
    """
    keep = mask.to(distances.dtype)
    both = keep[:, :, None] * keep[:, None]
    square = distances.masked_fill(both == 0, 0.0).square()
    count = keep.sum(-1).clamp(min=1)[:, None, None]
    rows, total = square.sum(-1, keepdim=True) / count, square.sum((1, 2), keepdim=True) / count**2
    gram = -0.5 * (square - rows - rows.mT + total) * both
    values, vectors = torch.linalg.eigh(gram)
    values, vectors = values[:, -3:], vectors[:, :, -3:]
    if (missing := 3 - values.shape[-1]) > 0:  # fewer than three points
        values = torch.nn.functional.pad(values, (missing, 0))
        vectors = torch.nn.functional.pad(vectors, (missing, 0))
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    signs = torch.where(largest < 0, -1.0, 1.0)
    return vectors * signs * values.clamp(min=0).sqrt()[:, None] * keep[..., None]


@float32
def refine_mds(
    points: Float[Tensor, "b n 3"],
    distances: Float[Tensor, "b n n"],
    weights: Float[Tensor, "b n n"],
    steps: int = 30,
) -> Float[Tensor, "b n 3"]:
    """Lower the weighted squared error of the distances; never raises it (de Leeuw 1977).

    Weights are symmetric; a point whose weights are all zero does not move others.
    """
    laplacian = torch.diag_embed(weights.sum(-1)) - weights
    inverse = torch.linalg.pinv(laplacian, hermitian=True)
    for _ in range(steps):
        now = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
        ratio = weights * distances / now.clamp(min=1e-3)
        points = inverse @ (torch.diag_embed(ratio.sum(-1)) - ratio) @ points
    return points


def right_handed(
    points: Float[Tensor, "b n 3"], residue_index: Int[Tensor, "b n"], mask: Bool[Tensor, "b n"]
) -> Float[Tensor, "b n 3"]:
    """The chain or its mirror image: the one whose tight turns, as in helices, turn right.

    Distances cannot tell the two apart; protein helices are right-handed. A turn counts as tight if
    residues i and i + 3 are nearer than 7.5 angstrom.
    """
    if points.shape[1] < 4:
        return points
    first, second, third, fourth = (points[:, i : points.shape[1] - 3 + i] for i in range(4))
    volume = (torch.linalg.cross(second - first, third - second) * (fourth - third)).sum(-1)
    tight = (fourth - first).norm(dim=-1) < 7.5
    whole = residue_index[:, 3:] - residue_index[:, :-3] == 3
    turns = torch.tanh(volume / 20) * (tight & whole & mask[:, 3:] & mask[:, :-3])
    mirror = turns.sum(-1) < 0
    flip = points.new_tensor([1.0, 1.0, -1.0])
    return torch.where(mirror[:, None, None], points * flip, points)
