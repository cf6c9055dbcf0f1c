"""Multidimensional scaling of many kinds of input, to atoms with the right hand."""

import sys

import torch

from alphafold2_pytorch.geometry.mds import (
    all_distances,
    classical_mds,
    inverse_laplacian,
    majorise,
    right_handed,
    shortest_paths,
)
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.torsions import dihedral
from alphafold2_pytorch.typing import Bool, Float, Tensor


@float32
def MDScaling(
    distances: Float[Tensor, "..."],
    weights: Float[Tensor, "..."] | None = None,
    iters: int = 10,
    tol: float = 1e-5,
    fix_mirror: bool | int = True,
    N_mask: Bool[Tensor, "*b n"] | None = None,
    CA_mask: Bool[Tensor, "*b n"] | None = None,
    C_mask: Bool[Tensor, "*b n"] | None = None,
    eigen: bool = False,
    verbose: bool = False,
) -> tuple[Float[Tensor, "b 3 n"], Float[Tensor, "steps b"]]:
    """Points `b 3 n` with the given distances (angstrom), and the stress after every step.

    `distances`: `n n`, `b n n`, or with a last axis of two mean and standard deviation, which
    weighs a pair by 1 / (1 + variance); `weights` (`n n` or `b n n`, at least 0) multiply that. A
    pair of weight 0 is unknown: at first the shortest way over known ones stands for it. Classical
    scaling (Torgerson 1952) gives the start, and unless `eigen` at most `iters` steps lower its
    stress (de Leeuw 1977), until it falls by less than `tol` of itself. The stress is the weighted
    sum of squared errors by that of squared distances.

    `fix_mirror` chooses the image with mostly negative backbone phi; the atoms are N, CA, C in
    turn, or what the masks say. With CA alone (`CA_mask` all True: one point a residue) it is the
    one whose helices turn right. Differentiable, also where points coincide: the gradient is that
    of the shape, and none comes from the choice of the image. `ValueError` for what does not fit.
    """
    distances, weights = _as_batch(distances, weights)
    if iters < 0:
        raise ValueError(f"iters must be at least 0, got {iters}")
    batch, length = distances.shape[:2]
    everything = torch.ones(batch, length, dtype=torch.bool, device=distances.device)
    points = classical_mds(_completed(distances, weights > 0), everything)
    stresses = [_stress(points, distances, weights)]
    if not eigen and iters:
        inverse = inverse_laplacian(weights)
        going = torch.ones_like(stresses[0], dtype=torch.bool)
        for step in range(iters):
            better = majorise(points, distances, weights, inverse)
            points = torch.where(going[:, None, None], better, points)
            stresses.append(_stress(points, distances, weights))
            if verbose:
                told = ", ".join(f"{each:.3g}" for each in stresses[-1].tolist())
                sys.stdout.write(f"step {step + 1}: stress {told}\n")
            going = going & (stresses[-2] - stresses[-1] > tol * stresses[-2])
            if not going.any():
                break
    if fix_mirror:
        points = torch.stack(
            [
                _right_image(chain, masks)
                for chain, masks in zip(
                    points, _atoms(N_mask, CA_mask, C_mask, everything), strict=True
                )
            ]
        )
    elif any(mask is not None for mask in (N_mask, CA_mask, C_mask)):
        raise ValueError("N_mask, CA_mask and C_mask would change nothing with fix_mirror=False")
    return points.mT, torch.stack(stresses)


def _as_batch(distances: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Symmetric `b n n` of both; the diagonal is 0."""
    given, shape = distances, tuple(distances.shape)
    alone = len(shape) == 2 or (len(shape) == 3 and shape[2] == 2 != shape[1])
    given = given[None] if alone else given
    own = None
    if given.ndim == 4 and given.shape[-1] == 2:
        given, std = given.unbind(-1)
        own = 1 / (1 + std.square())
    if given.ndim != 3 or given.shape[1] != given.shape[2] or not given.numel():
        raise ValueError(f"distances must be (n, n), (b, n, n) or (b, n, n, 2), got {shape}")
    if not bool(torch.isfinite(given).all()):
        raise ValueError("distances has entries that are NaN or infinite; give those a weight of 0")
    if weights is not None:
        weights = weights[None] if weights.ndim == 2 else weights
        if weights.shape != given.shape:
            raise ValueError(
                f"weights must be {tuple(given.shape)} as distances, got {tuple(weights.shape)}"
            )
        if not bool(((weights >= 0) & torch.isfinite(weights)).all()):
            raise ValueError("weights must be finite and at least 0")
    factors = [each for each in (own, weights) if each is not None]
    whole = torch.stack(factors).prod(0) if factors else torch.ones_like(given)
    other = 1 - torch.eye(given.shape[1], dtype=given.dtype, device=given.device)
    return (given + given.mT) / 2 * other, (whole + whole.mT) / 2 * other


def _completed(distances: Tensor, known: Tensor) -> Tensor:
    """What is unknown becomes the shortest way over what is known, without a gradient."""
    known = known | torch.eye(known.shape[1], dtype=torch.bool, device=known.device)
    if bool(known.all()):
        return distances
    with torch.no_grad():
        paths = shortest_paths(distances.masked_fill(~known, torch.inf))
        longest = paths.masked_fill(paths.isinf(), 0.0).amax((1, 2), keepdim=True)
        paths = torch.minimum(paths, longest)  # parts that nothing joins
    return torch.where(known, distances, paths)


def _stress(points: Tensor, distances: Tensor, weights: Tensor) -> Tensor:
    square = (weights * (all_distances(points) - distances).square()).sum((1, 2))
    whole = (weights * distances.square()).sum((1, 2))
    return square / whole.clamp(min=torch.finfo(whole.dtype).tiny)


def _atoms(n: Tensor | None, ca: Tensor | None, c: Tensor | None, everything: Tensor) -> Tensor:
    """Which points are N, CA and C, `b three n`."""
    if n is None and ca is None and c is None:
        masks = torch.zeros_like(everything)[:, None].repeat(1, 3, 1)
        whole = everything.shape[1] // 3 * 3
        for atom in range(3):
            masks[:, atom, atom:whole:3] = True
        return masks
    given = []
    for name, mask in (("N_mask", n), ("CA_mask", ca), ("C_mask", c)):
        if mask is None:
            mask = torch.zeros_like(everything)
        if mask.dtype != torch.bool or mask.shape not in (everything.shape, everything.shape[1:]):
            raise ValueError(
                f"{name} must be bool of the shape {tuple(everything.shape)}, "
                f"got {mask.dtype} of {tuple(mask.shape)}"
            )
        given.append(mask.expand_as(everything))
    return torch.stack(given, dim=1)


def _right_image(points: Tensor, masks: Tensor) -> Tensor:
    """One chain `n 3` or its mirror image, whichever has mostly negative phi (or right helices)."""
    n, ca, c = (points.detach()[mask] for mask in masks)
    if not (len(n) or len(c)):
        kept = torch.ones(1, len(ca), dtype=torch.bool, device=ca.device)
        number = torch.arange(len(ca), device=ca.device)[None]
        turned = not torch.equal(right_handed(ca[None], number, kept)[0], ca)
    else:
        if not len(n) == len(ca) == len(c):
            raise ValueError(
                f"fix_mirror needs as many N as CA and C, got {len(n)}, {len(ca)} and {len(c)}; "
                "for one point a residue give CA_mask alone"
            )
        sin = dihedral(c[:-1], n[1:], ca[1:], c[1:])[..., 0]
        turned = bool((sin > 0).sum() > (sin < 0).sum())
    return points * points.new_tensor([1.0, 1.0, -1.0]) if turned else points
