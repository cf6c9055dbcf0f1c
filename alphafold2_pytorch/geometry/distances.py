"""What is believed of distances: as bins, or as a mean with a standard deviation."""

from dataclasses import dataclass

import torch

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.typing import Float, Tensor

# Angstrom, where the bins of a distogram end; what is beyond 19.5 also goes into the last.
DISTANCE_BINS = torch.linspace(2.0, 20.0, 37)


@dataclass(frozen=True)
class BinnedDistances:
    """A distogram: logits of bins between increasing `edges` (angstrom), at least two of them.

    The first bin counts as wide as the second; the last has no end.
    """

    logits: Float[Tensor, "*b k"]
    edges: Float[Tensor, " edges"]

    @property
    def centres(self) -> Float[Tensor, " edges"]:
        """The middle of each bin but the last."""
        widths = self.edges.diff()
        return self.edges - torch.cat([widths[:1], widths]) / 2

    @float32
    def expected(self) -> Float[Tensor, "*b"]:
        """The mean; the open bin counts as half a bin beyond its edge, so it is too short there."""
        beyond = self.edges[-1:] + self.edges[-2:].diff() / 2
        return self.logits.softmax(-1) @ torch.cat([self.centres, beyond])

    @float32
    def nearer_than(self, limit: float) -> Float[Tensor, "*b"]:
        """The probability of all bins that end at `limit` or before."""
        return self.logits.softmax(-1)[..., : (self.edges <= limit).sum()].sum(-1)

    @float32
    def near(self) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Mean and variance if the distance is not in the open bin; the probability of that."""
        near = self.logits.softmax(-1)[..., :-1]
        share = near.sum(-1)
        near, centres = near / share.clamp(min=1e-6)[..., None], self.centres
        mean = near @ centres
        variance = (near * (centres - mean[..., None]).square()).sum(-1)
        return mean, variance, share


@dataclass(frozen=True)
class NormalDistances:
    """A normal distribution each: mean and standard deviation, in angstrom."""

    mean_and_std: Float[Tensor, "*b two"]

    def expected(self) -> Float[Tensor, "*b"]:
        """The mean."""
        return self.mean_and_std[..., 0]

    @float32
    def nearer_than(self, limit: float) -> Float[Tensor, "*b"]:
        """The probability of a distance below `limit`."""
        mean, std = self.mean_and_std.unbind(-1)
        return torch.special.ndtr((limit - mean) / std)

    @float32
    def near(self) -> tuple[Float[Tensor, "*b"], Float[Tensor, "*b"], Float[Tensor, "*b"]]:
        """Mean and variance, and 1: no distance is left open."""
        mean, std = self.mean_and_std.unbind(-1)
        return mean, std.square(), torch.ones_like(mean)


Distances = BinnedDistances | NormalDistances


@float32
def center_distogram_torch(
    distogram: Float[Tensor, "b n n k"],
    bins: Float[Tensor, " k"] = DISTANCE_BINS,
    min_t: float = 1.0,
    center: str = "mean",
    wide: str = "std",
) -> tuple[Float[Tensor, "b n n"], Float[Tensor, "b n n"]]:
    """A distance and a weight for each pair, from logits (not probabilities) of distance bins.

    `bins` are where the bins end, in angstrom; the last one is open. The distance is the `center`
    ('mean' or 'median') of the others, not below `min_t`, and 0 on the diagonal. The weight falls
    from 1 with the spread around it ('std' in angstrom or 'var' in its square) and with the
    probability of the open bin; it is 0 for a pair that is more likely there than not, which counts
    as unknown, and on the diagonal.
    """
    if center not in ("mean", "median") or wide not in ("std", "var"):
        raise ValueError(
            "center must be 'mean' or 'median' and wide 'std' or 'var', "
            f"got center={center!r} and wide={wide!r}"
        )
    if bins.shape != distogram.shape[-1:] or len(bins) < 3 or bool((bins.diff() <= 0).any()):
        raise ValueError(
            f"bins must be {distogram.shape[-1]} increasing distances, at least 3: where the bins "
            f"of the distogram end; got {len(bins)}"
        )
    edges = bins[:-1].to(distogram)
    middle, variance, share = BinnedDistances(distogram, edges).near()
    if center == "median":
        mean, middle = middle, _median(distogram, edges)
        variance = variance + (mean - middle).square()
    # the root has no slope at zero: below a thousandth of an angstrom all spreads are equal
    spread = variance if wide == "var" else variance.clamp(min=1e-6).sqrt()
    other = ~torch.eye(distogram.shape[1], dtype=torch.bool, device=distogram.device)
    weights = torch.where(share >= 0.5, share.square() / (1 + spread), 0.0)
    return middle.clamp(min=min_t) * other, weights * other


def _median(logits: Tensor, edges: Tensor) -> Tensor:
    """Of all bins but the last; within its bin by how much probability is still missing."""
    near = logits[..., :-1].softmax(-1)
    up_to = near.cumsum(-1)
    place = (up_to < 0.5).sum(-1, keepdim=True).clamp(max=near.shape[-1] - 1)
    width = torch.cat([edges[1:2] - edges[:1], edges.diff()])[place[..., 0]]
    own, end = near.gather(-1, place)[..., 0], up_to.gather(-1, place)[..., 0]
    return edges[place[..., 0]] - width * ((end - 0.5) / own).clamp(0, 1)
