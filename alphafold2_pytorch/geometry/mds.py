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
    are at zero. The gradient is that of the shape, without the motion of the whole, and finite also
    where points coincide or axes are equally long.
    """
    keep = mask.to(distances.dtype)
    both = keep[:, :, None] * keep[:, None]
    square = distances.masked_fill(both == 0, 0.0).square()
    count = keep.sum(-1).clamp(min=1)[:, None, None]
    rows, total = square.sum(-1, keepdim=True) / count, square.sum((1, 2), keepdim=True) / count**2
    gram = -0.5 * (square - rows - rows.mT + total) * both
    values, vectors = torch.linalg.eigh(gram.detach())
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * torch.where(largest < 0, -1.0, 1.0)
    points = vectors[..., -3:] * values[:, None, -3:].clamp(min=0).sqrt()
    if gram.requires_grad:
        points = points + _change(gram - gram.detach(), values, vectors)
    points = torch.nn.functional.pad(points, (3 - points.shape[-1], 0))  # of fewer than three
    return points * keep[..., None]


def _change(
    gram: Float[Tensor, "b n n"], values: Float[Tensor, "b n"], vectors: Float[Tensor, "b n n"]
) -> Float[Tensor, "b n axes"]:
    """How the points of `classical_mds` change with the Gram matrix, to first order.

    Autograd's own rule divides by differences of eigenvalues, also of equal ones. Among the axes
    kept a symmetric change replaces it, which has the same effect on all distances.
    """
    axes = values.shape[-1] - min(values.shape[-1], 3)
    root = values.clamp(min=0).sqrt()
    sums = root[:, :, None] + root[:, None, axes:]
    apart = values[:, None, axes:] - values[:, :, None]
    tiny = 1e-6 * values[:, -1:, None].abs() + torch.finfo(values.dtype).tiny
    within = torch.where(sums > tiny.sqrt(), 1 / sums, 0.0)
    across = torch.where(apart > tiny, root[:, None, axes:] / apart, 0.0)
    kept = torch.arange(values.shape[-1], device=values.device)[:, None] >= axes
    return vectors @ (torch.where(kept, within, across) * (vectors.mT @ gram @ vectors[..., axes:]))


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
    inverse = inverse_laplacian(weights)
    for _ in range(steps):
        points = majorise(points, distances, weights, inverse)
    return points


def inverse_laplacian(weights: Float[Tensor, "b n n"]) -> Float[Tensor, "b n n"]:
    """The pseudo-inverse of the graph Laplacian of symmetric weights."""
    laplacian = torch.diag_embed(weights.sum(-1)) - weights
    inverse = torch.linalg.pinv(laplacian.detach(), hermitian=True)
    if laplacian.requires_grad:  # autograd's own rule fails where eigenvalues are equal
        inverse = inverse - inverse @ (laplacian - laplacian.detach()) @ inverse
    return inverse


def majorise(
    points: Float[Tensor, "b n 3"],
    distances: Float[Tensor, "b n n"],
    weights: Float[Tensor, "b n n"],
    inverse: Float[Tensor, "b n n"],
) -> Float[Tensor, "b n 3"]:
    """One step of `refine_mds`, with the `inverse_laplacian` of its weights."""
    now = all_distances(points)
    ratio = weights * distances / now.clamp(min=1e-3)
    return inverse @ ((torch.diag_embed(ratio.sum(-1)) - ratio) @ points)


def all_distances(points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n n"]:
    """By differences: the product form loses digits. The gradient is zero at coinciding points."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


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
