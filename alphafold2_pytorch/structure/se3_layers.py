"""Layers on features by degree, equivariant under rotations and translations of space.

Features are a list of tensors `b n m c`, one a degree l from 0, with m = 2l + 1 components in the
order of `geometry/so3.py` and c channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from alphafold2_pytorch.geometry.neighbours import Neighbours
from alphafold2_pytorch.geometry.so3 import (
    axial_product,
    axial_weights,
    directions,
    turn_to_axis,
    wigner,
)
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.typing import Float, Tensor

CLOSE = 0.5  # angstrom: the directions of points nearer than this fade out
FARTHEST, GAUSSIANS = 100.0, 24  # of the distance: where the last Gaussian sits, and their number


class DegreeLinear(nn.Module):
    """Mixes the channels of each degree; only degree 0 may have a bias."""

    def __init__(self, dims: Sequence[int], dims_out: Sequence[int], bias: bool = True):
        super().__init__()
        self.layers = nn.ModuleList(
            linear(dim, dim_out, bias=bias and degree == 0)
            for degree, (dim, dim_out) in enumerate(zip(dims, dims_out, strict=False))
        )

    @property
    def weights(self) -> list[Tensor]:
        """The matrix `(dim_out, dim)` of each degree."""
        return [layer.weight for layer in self.layers.children()]  # type: ignore[misc]

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        """Of the degrees that both sides have."""
        return [layer(each) for layer, each in zip(self.layers, x, strict=False)]


class DegreeNorm(nn.Module):
    """Layer norm of degree 0; higher degrees over the root mean square of their lengths.

    Liao and Smidt (2023) eq. 4. `eps` is so large because vectors vanish where the points around
    are symmetric: there, a norm that made everything of nothing would multiply errors.
    """

    def __init__(self, dims: Sequence[int], eps: float = 0.1):
        super().__init__()
        self.scalars, self.eps = nn.LayerNorm(dims[0]), eps
        self.scales = nn.ParameterList(torch.ones(dim) for dim in dims[1:])

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        out = [self.scalars(x[0])]
        for scale, each in zip(self.scales, x[1:], strict=True):
            square = each.square().mean((-1, -2), keepdim=True)
            out.append(each * torch.rsqrt(square + self.eps) * scale)
        return out


class Gated(nn.Module):
    """Norm, mix, gate, mix: the gates are read from the scalars and the lengths of all vectors.

    Weiler et al. (2018) Sec. 4.2. Where `dims_out` has fewer degrees, the others still count by
    their lengths; a degree of no channels is left out.
    """

    def __init__(self, dims: Sequence[int], dims_out: Sequence[int], expand: int = 2):
        super().__init__()
        hidden = [expand * dim for dim in dims]
        self.norm = DegreeNorm(dims)
        self.mix = DegreeLinear(dims, hidden)
        self.opened = hidden[: len(dims_out)]
        self.gates = linear(sum(hidden), sum(self.opened))
        self.out = DegreeLinear(hidden, dims_out)

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        x = self.mix(self.norm(x))
        # the length of a vector has a finite gradient at zero
        lengths = [torch.sqrt(each.square().sum(-2) + 1e-6) for each in x[1:]]
        gates = self.gates(torch.cat([x[0][..., 0, :], *lengths], -1)).split(self.opened, -1)
        scalars = F.silu(gates[0])[..., None, :]
        opened = [
            each * torch.sigmoid(g)[..., None, :] for g, each in zip(gates[1:], x[1:], strict=False)
        ]
        return self.out([scalars, *opened])


@dataclass(frozen=True)
class EdgeGeometry:
    """Of each point and its neighbours: matrices that turn the edge to an axis, and what is known.

    `fade` goes to zero where two points meet and have no direction.
    """

    graph: Neighbours
    turns: list[Tensor]  # b n k m m for each degree
    known: Float[Tensor, "b n k e"]
    fade: Float[Tensor, "b n k 1"]

    @classmethod
    def of(
        cls,
        coors: Float[Tensor, "b n 3"],
        graph: Neighbours,
        degree: int,
        edges: Float[Tensor, "b n k e"] | None = None,
    ) -> "EdgeGeometry":
        """`degree`: the highest that features have; `edges`: their own features."""
        vectors = graph.gather(coors) - coors[:, :, None]
        distance = torch.sqrt(vectors.square().sum(-1, keepdim=True) + CLOSE**2)
        turns = wigner(turn_to_axis(directions(vectors)), degree)
        known = [embed_distance(distance)]
        if edges is not None:
            known.append(edges.masked_fill(~graph.mask[..., None], 0.0))
        fade = torch.linalg.vector_norm(directions(vectors, CLOSE), dim=-1, keepdim=True)
        return cls(graph, turns, torch.cat(known, -1), fade)


def embed_distance(distance: Float[Tensor, "*n 1"]) -> Float[Tensor, "*n r"]:
    """Gaussians of the logarithm, which sees single bonds and whole proteins (angstrom)."""
    top = torch.log1p(distance.new_tensor(FARTHEST))
    centres = top * torch.linspace(0, 1, GAUSSIANS, dtype=distance.dtype, device=distance.device)
    apart = (torch.log1p(distance) - centres) * (GAUSSIANS - 1) / top
    return torch.cat([torch.exp(-0.5 * apart.square()), torch.log1p(distance)], -1)


class EdgeConvolution(nn.Module):
    """What each point hears from each neighbour: its features, coupled with the edge's harmonics.

    Thomas et al. (2018), with one radial function for each coupling and channel instead of one for
    each pair of channels; channels are mixed before and after, at the points, where there are
    fewer. No kernel is ever stored for an edge. `copies` sets of messages share the turned features
    and the hidden layer of the radial network.
    """

    def __init__(
        self,
        dims: Sequence[int],
        channels: int,
        degrees_out: int,
        dim_known: int,
        copies: int = 1,
        dim_hidden: int = 64,
    ):
        super().__init__()
        self.degrees_out, self.channels, self.copies = degrees_out, channels, copies
        self.source = DegreeLinear(dims, [channels] * len(dims), bias=False)
        self.hidden = nn.Sequential(
            linear(dim_known, dim_hidden),
            nn.LayerNorm(dim_hidden),
            nn.SiLU(),
            linear(dim_hidden, dim_hidden),
            nn.LayerNorm(dim_hidden),
            nn.SiLU(),
        )
        self.weights = axial_weights(len(dims), degrees_out)
        self.radial = linear(dim_hidden, copies * self.weights * channels, bias=False)

    def forward(self, x: Sequence[Tensor], edges: EdgeGeometry) -> list[list[Tensor]]:
        """`copies` lists of messages `b n k m c`, one a degree."""
        turned = [
            turn @ edges.graph.gather(each)
            for turn, each in zip(edges.turns, self.source(x), strict=False)
        ]
        hidden = self.hidden(edges.known) * (edges.fade / len(turned) ** 0.5)
        radial = self.radial(hidden).unflatten(-1, (self.copies, self.weights, self.channels))
        messages = [axial_product(turned, w, self.degrees_out) for w in radial.unbind(-3)]
        return [
            [turn.mT @ each for turn, each in zip(edges.turns, copy, strict=False)]
            for copy in messages
        ]


class Se3Attention(nn.Module):
    """Attention over neighbours whose keys and values are convolutions; Fuchs et al. (2020) eq. 10.

    The logits add up over all degrees; queries have length 1 (Henry et al. 2020). Queries are taken
    to the messages' channels, and heads to theirs only after the sum over neighbours: the same
    attention, without keys and values of all heads for every edge. `attend_self` adds the point
    itself, `null` a learned place to look at, `dim_global` features that all points see. A point
    that sees nothing gets zeros.
    """

    def __init__(
        self,
        dims: Sequence[int],
        dim_known: int,
        heads: int = 8,
        dim_head: int = 64,
        attend_self: bool = True,
        null: bool = False,
        dim_global: int | None = None,
        tie_key_values: bool = False,
    ):
        super().__init__()
        self.heads, self.channels = heads, max(dims)
        channels, inner = [self.channels] * len(dims), [heads * dim_head] * len(dims)
        self.norm = DegreeNorm(dims)
        self.convolution = EdgeConvolution(
            dims, self.channels, len(dims), dim_known, copies=1 if tie_key_values else 2
        )
        self.queries = DegreeLinear(dims, inner, bias=False)
        self.keys = DegreeLinear(channels, inner, bias=False)
        self.values = DegreeLinear(channels, inner, bias=False)
        self.out = DegreeLinear(inner, dims)
        twice = [2 * self.channels] * len(dims)
        self.own = DegreeLinear(dims, twice, bias=False) if attend_self else None
        self.null = nn.Parameter(torch.randn(2 * self.channels)) if null else None
        self.shared = linear(dim_global, twice[0]) if dim_global else None

    def forward(
        self,
        x: Sequence[Tensor],
        edges: EdgeGeometry,
        global_feats: Float[Tensor, "b g d"] | None = None,
    ) -> list[Tensor]:
        """What to add to each point's features."""
        x = self.norm(x)
        copies = self.convolution(x, edges)
        keys, values = copies[0], copies[-1]
        queries = [
            self._at_message(*each) for each in zip(self.queries(x), self.keys.weights, strict=True)
        ]
        more_keys, more_values = self._beside_neighbours(x, global_feats)
        logits = [score(queries, keys)] + [score(queries, each) for each in more_keys]
        seen = F.pad(edges.graph.mask, (0, sum(each.shape[-1] for each in logits[1:])), value=True)
        # with queries of one length, no head is so sure of itself that rounding errors grow
        square = torch.stack([q.square().sum((-1, -2)) for q in queries]).sum(0)[..., None]
        joined = torch.cat(logits, -1) * torch.rsqrt(square + 1e-5)
        lowest = torch.finfo(joined.dtype).min
        weights = joined.masked_fill(~seen[:, :, None], lowest).softmax(-1) * seen[:, :, None]
        parts = weights.split([each.shape[-1] for each in logits], -1)
        sums = [collect(w, v) for w, v in zip(parts, [values, *more_values], strict=True)]
        totals = sums[0]
        for more in sums[1:]:
            totals = plus(totals, more)
        heads = []
        for total, weight in zip(totals, self.values.weights, strict=True):
            weight = weight.unflatten(0, (self.heads, -1))
            heads.append(torch.einsum("bnhmc,hdc->bnmhd", total, weight).flatten(-2))
        return self.out(heads)

    def _at_message(self, query: Tensor, weight: Tensor) -> Float[Tensor, "b n h m c"]:
        """The query with which a message, before it is a key of each head, gives the same logit."""
        query = query.unflatten(-1, (self.heads, -1))
        return torch.einsum("bnmhd,hdc->bnhmc", query, weight.unflatten(0, (self.heads, -1)))

    def _beside_neighbours(
        self, x: Sequence[Tensor], global_feats: Tensor | None
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Keys and values that are no neighbours: of each degree `b n k m c`."""
        both: list[list[Tensor]] = []
        points = x[0].shape[:2]
        if self.own is not None:
            both.append([each[:, :, None] for each in self.own(x)])
        if self.null is not None:
            both.append([self.null.expand(*points, 1, 1, -1)])
        if self.shared is not None and global_feats is not None:
            shared = self.shared(global_feats)[:, None, :, None]
            both.append([shared.expand(-1, points[1], -1, -1, -1)])
        halves = [[each.chunk(2, -1) for each in degrees] for degrees in both]
        return [[k for k, _ in each] for each in halves], [[v for _, v in each] for each in halves]


def plus(x: Sequence[Tensor], update: Sequence[Tensor]) -> list[Tensor]:
    """Adds the degrees of `update` to those of `x`, which may have more."""
    return [a + b for a, b in zip(x, update, strict=False)] + list(x[len(update) :])


def score(queries: Sequence[Tensor], keys: Sequence[Tensor]) -> Float[Tensor, "b n h k"]:
    """Products of `b n h m c` and `b n k m c`, summed over the degrees that both have."""
    products = [q.flatten(-2) @ k.flatten(-2).mT for q, k in zip(queries, keys, strict=False)]
    return torch.stack(products).sum(0) if len(products) > 1 else products[0]


def collect(
    weights: Float[Tensor, "b n h k"], values: Sequence[Tensor]
) -> list[Float[Tensor, "b n h m c"]]:
    """Values `b n k m c` summed over neighbours with each head's weights."""
    return [(weights @ each.flatten(-2)).unflatten(-1, each.shape[-2:]) for each in values]
