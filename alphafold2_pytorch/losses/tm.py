"""Scores that look for the superposition which serves them best: TM-score and GDT_TS."""

from collections.abc import Callable, Iterator

import torch

from alphafold2_pytorch.geometry.align import best_rotation
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

MOST_ROUNDS = 20  # of superposing again on what came near; nearly all seeds settle before
CELLS = 2**21  # seeds x residues that are worked on at once


@torch.no_grad()
def tm_score(
    predicted: Float[Tensor, "n 3"], true: Float[Tensor, "n 3"], mask: Bool[Tensor, " n"]
) -> float:
    """TM-score of C-alphas whose correspondence is known, from 0 to 1, by the best motion found.

    Normalised by the number of residues in `mask`; NaN if there is none. Zhang & Skolnick (2004)
    Proteins 57:702, with its d0 kept at 0.5 angstrom or more, as in their program.
    """
    moving, fixed = predicted[mask].double(), true[mask].double()
    d0 = tm_d0(len(fixed))

    def score(square: Tensor) -> Tensor:
        return (1 / (1 + square / d0**2)).mean(-1)

    return _best(moving, fixed, min(max(d0, 4.5), 8.0), score)


def gdt_ts(
    predicted: Float[Tensor, "n 3"], true: Float[Tensor, "n 3"], mask: Bool[Tensor, " n"]
) -> float:
    """GDT_TS from 0 to 1: `gdt` within 1, 2, 4 and 8 angstrom."""
    return gdt(predicted, true, mask, (1.0, 2.0, 4.0, 8.0))


@torch.no_grad()
def gdt(
    predicted: Float[Tensor, "n 3"],
    true: Float[Tensor, "n 3"],
    mask: Bool[Tensor, " n"],
    limits: tuple[float, ...],
) -> float:
    """The share of C-alphas within each of `limits` (angstrom), averaged; from 0 to 1.

    Each limit has its own best motion. NaN if no residue is in `mask`. Zemla (2003) Nucleic Acids
    Res. 31:3370; the search is that of the TM-score.
    """
    moving, fixed = predicted[mask].double(), true[mask].double()

    def share(limit: float) -> float:
        return _best(moving, fixed, limit, lambda square: (square <= limit**2).double().mean(-1))

    return sum(share(limit) for limit in limits) / len(limits)


def tm_d0(length: int) -> float:
    """The distance in angstrom at which a residue counts one half, for a chain of this length."""
    return max(1.24 * max(length - 15, 0) ** (1 / 3) - 1.8, 0.5)


def _fragments(length: int) -> Iterator[Int[Tensor, "s two"]]:
    """First and last + 1 residue of each seed: the whole, halves, quarters ... down to four.

    Neighbouring seeds overlap by three quarters, so that none of the short ones is left out.
    """
    size = length
    while True:
        size = max(size, min(4, length))
        start = torch.arange(0, length - size + 1, max(size // 4, 1))
        yield torch.stack([start, start + size], dim=-1)
        if size <= 4:
            return
        size //= 2


def _best(moving: Tensor, fixed: Tensor, cutoff: float, score: Callable[[Tensor], Tensor]) -> float:
    """The highest `score` of squared distances over motions found from seed fragments.

    Every seed is superposed, then again on the residues that came within `cutoff` (at first one
    angstrom less), until they stay the same. Fewer than three would not fix a motion: there the
    cutoff grows by half angstroms.
    """
    length = len(fixed)
    if length == 0:
        return float("nan")
    centred = moving - moving.mean(0), fixed - fixed.mean(0)
    # A squared distance after any motion is linear in these 16 numbers of a residue, and so are
    # the sums that a superposition needs: both are one product for all seeds.
    outer = (centred[0][:, :, None] * centred[1][:, None, :]).flatten(1)
    square = (centred[0].square() + centred[1].square()).sum(-1, keepdim=True)
    terms = torch.cat([outer, *centred, square], dim=-1)  # n 16
    best = torch.zeros((), dtype=torch.float64, device=fixed.device)
    place = torch.arange(length, device=fixed.device)
    for seeds in _fragments(length):
        for first, last in ((s[:, :1], s[:, 1:]) for s in seeds.split(max(CELLS // length, 1))):
            chosen = (place >= first.to(place.device)) & (place < last.to(place.device))
            for round_ in range(MOST_ROUNDS):
                distance = _squared_distances(chosen, terms)
                best = torch.maximum(best, score(distance).max())
                again = _within(distance, cutoff - 1 if round_ == 0 else cutoff)
                moved = (again != chosen).any(-1)
                if not moved.any():
                    break
                chosen = again[moved].unique(dim=0)
    return float(best)


def _squared_distances(
    chosen: Bool[Tensor, "s n"], terms: Float[Tensor, "n k"]
) -> Float[Tensor, "s n"]:
    """Of every residue, after superposing on the `chosen` ones; negative rounding is cut off."""
    weights = chosen.to(terms.dtype)
    count = weights.sum(-1, keepdim=True)
    sums = weights @ terms[:, :15] / count
    outer, centre, goal = sums[:, :9].unflatten(-1, (3, 3)), sums[:, 9:12], sums[:, 12:15]
    rot = best_rotation(outer - centre[:, :, None] * goal[:, None, :])
    trans = goal - (rot @ centre[..., None])[..., 0]
    # |R x + t - y|^2 = |x|^2 + |y|^2 + |t|^2 + 2 (R't) x - 2 t y - 2 (R x) y
    back = (rot.transpose(-1, -2) @ trans[..., None])[..., 0]
    factors = [-2 * rot.transpose(-1, -2).flatten(1), 2 * back, -2 * trans, torch.ones_like(count)]
    square = torch.cat(factors, dim=-1) @ terms.T + trans.square().sum(-1, keepdim=True)
    return square.clamp(min=0)


def _within(square: Float[Tensor, "s n"], cutoff: float) -> Bool[Tensor, "s n"]:
    """The residues nearer than `cutoff`, or than the half angstroms above it that hold three."""
    third = square.kthvalue(min(3, square.shape[-1]), dim=-1, keepdim=True).values.sqrt()
    steps = ((third - cutoff) * 2).floor().clamp(min=-1) + 1
    return square < (cutoff + steps / 2).square()
