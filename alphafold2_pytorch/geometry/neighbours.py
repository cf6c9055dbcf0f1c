"""Which points see which: the lists that keep the cost of point networks linear."""

from dataclasses import dataclass

import torch

from alphafold2_pytorch.typing import Bool, Float, Int, Shaped, Tensor


@dataclass(frozen=True)
class Neighbours:
    """Of each point up to k others; `mask` is False where a place in the list is empty."""

    index: Int[Tensor, "b n k"]
    mask: Bool[Tensor, "b n k"]

    def gather(self, x: Shaped[Tensor, "b n *d"]) -> Shaped[Tensor, "b n k *d"]:
        """What the neighbours of each point have."""
        batch = torch.arange(x.shape[0], device=x.device)[:, None, None]
        return x[batch, self.index]

    def gather_pairs(self, x: Shaped[Tensor, "b n n *d"]) -> Shaped[Tensor, "b n k *d"]:
        """What each point and its neighbours have together, out of a table of all pairs."""
        b, n = self.index.shape[:2]
        batch = torch.arange(b, device=x.device)[:, None, None]
        return x[batch, torch.arange(n, device=x.device)[:, None], self.index]


@torch.no_grad()
def nearest(
    points: Float[Tensor, "b n 3"],
    mask: Bool[Tensor, "b n"],
    k: int | None = None,
    first: Bool[Tensor, "b n n"] | None = None,
    radius: float | None = None,
    among: Bool[Tensor, "b n n"] | None = None,
) -> Neighbours:
    """The `k` nearest other points of each, nearest first; None: all others.

    Those in `first` (say, bonded ones) come before nearer ones; others farther than `radius`
    (angstrom) stay out, as do those that `among` leaves out (row: who sees). Masked points are
    nobody's neighbours, so they take nobody's place, and have none themselves. `ValueError` for a
    k below 1.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, or None for all others, got {k}")
    n = points.shape[1]
    apart = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    same = torch.eye(n, dtype=torch.bool, device=points.device)
    absent = same | ~(mask[:, :, None] & mask[:, None])
    if among is not None:
        absent = absent | ~among
    if radius is not None:
        far = apart > radius
        absent = absent | (far if first is None else far & ~first)
    if first is not None:
        apart = torch.where(first, apart - apart.detach().amax() - 1, apart)
    apart = apart.masked_fill(absent, torch.inf)
    kept = max(min(n - 1 if k is None else k, n - 1), 0)
    found, index = apart.topk(kept, dim=-1, largest=False)
    return Neighbours(index, torch.isfinite(found))
