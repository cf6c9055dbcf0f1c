"""Messages and attention among points, of features that turn with them; Liao and Smidt (2022)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from alphafold2_pytorch.geometry.neighbours import Neighbours
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.irreps import (
    Couplings,
    DegreeLinear,
    DegreeNorm,
    Degrees,
    Gate,
    product_widths,
)
from alphafold2_pytorch.typing import Float, Tensor

WIDEN = 4  # of the feed-forward update


@dataclass(frozen=True)
class Edges:
    """From each point to its neighbours: who they are, where they lie, what is known of them."""

    graph: Neighbours
    couplings: Couplings
    scalars: Float[Tensor, "b n k e"]


class RadialProduct(nn.Module):
    """The depthwise tensor product of each edge; a network of its scalars gives the weights."""

    def __init__(self, dim: Sequence[int], degrees: int, dim_edge: int, dim_hidden: int):
        super().__init__()
        self.widths = product_widths(dim, degrees)
        self.weights = nn.Sequential(
            linear(dim_edge, dim_hidden),
            nn.LayerNorm(dim_hidden),
            nn.SiLU(),
            linear(dim_hidden, dim_hidden),
            nn.LayerNorm(dim_hidden),
            nn.SiLU(),
            linear(dim_hidden, sum(self.widths)),
        )

    def forward(self, x: Degrees, edges: Edges) -> Degrees:
        weights = self.weights(edges.scalars)[..., None, :].split(self.widths, dim=-1)
        products = edges.couplings.products(x)
        return [each * weight for each, weight in zip(products, weights, strict=True)]


class NeighbourEmbedding(nn.Module):
    """First features of all degrees, from where the neighbours lie and what they are."""

    def __init__(self, dim_in: int, dim: Sequence[int], dim_edge: int, dim_hidden: int):
        super().__init__()
        self.source = linear(dim_in, dim[0])
        self.product = RadialProduct(dim[:1], len(dim), dim_edge, dim_hidden)
        self.out = DegreeLinear(self.product.widths, dim)

    def forward(self, feats: Float[Tensor, "b n d"], edges: Edges) -> Degrees:
        source = edges.graph.gather(self.source(feats))[..., None, :]
        keep = edges.graph.mask[..., None, None]
        size = keep.sum(2).clamp(min=1) ** 0.5
        return self.out([(each * keep).sum(2) / size for each in self.product([source], edges)])


class EquiformerAttention(nn.Module):
    """What each point takes from its neighbours, all degrees at once.

    A message is made of both points' features, the direction and the distance. Its scalars give the
    weights of the neighbours through a small network ("mlp", as GATv2), or a key made of it meets
    the point's query, by their product ("dot") or distance ("l2", Kim et al. (2021)); each degree
    has heads and weights of its own. Values are the gated messages, multiplied once more with the
    harmonics. Of the degrees, the first `degrees_out` come out.
    """

    def __init__(
        self,
        dim: Sequence[int],
        heads: Sequence[int],
        dim_head: Sequence[int],
        dim_edge: int,
        dim_hidden: int,
        degrees_out: int,
        kind: str = "mlp",
    ):
        super().__init__()
        degrees, self.kind, self.heads = len(dim), kind, tuple(heads[:degrees_out])
        inner = [h * d for h, d in zip(heads, dim_head, strict=True)]
        self.source, self.target = DegreeLinear(dim, dim), DegreeLinear(dim, dim)
        self.product = RadialProduct(dim, degrees, dim_edge, dim_hidden)
        self.gate = Gate(inner)
        self.message = DegreeLinear(self.product.widths, self.gate.dim_in)
        if kind == "mlp":
            self.to_logits = linear(self.product.widths[0], sum(self.heads) * dim_head[0])
            self.logits = nn.Parameter(
                torch.randn(sum(self.heads), dim_head[0]) / dim_head[0] ** 0.5
            )
        else:
            self.queries = DegreeLinear(dim, inner[:degrees_out])
            self.keys = DegreeLinear(self.product.widths, inner[:degrees_out])
        widths = product_widths(inner, degrees)
        self.values = nn.ParameterList(
            torch.randn(h, width, d) / width**0.5
            for h, width, d in zip(self.heads, widths, dim_head, strict=False)
        )
        self.out = DegreeLinear(inner[:degrees_out], dim)

    def forward(self, x: Degrees, edges: Edges) -> Degrees:
        graph = edges.graph
        both = [
            graph.gather(source) + target[:, :, None]
            for source, target in zip(self.source(x), self.target(x), strict=True)
        ]
        message = self.product(both, edges)
        logits = torch.cat(self._logits(x, message), dim=-1)
        keep = graph.mask[..., None]
        logits = logits.masked_fill(~keep, torch.finfo(logits.dtype).min)
        weights = list((logits.softmax(2) * keep).split(self.heads, dim=-1))
        gated = self.gate(self.message(message))
        # sums first: the layer that makes values of products then runs on points, not on edges
        values = edges.couplings.summed_products(gated, weights, list(self.values))
        return self.out(values)

    def _logits(self, x: Degrees, message: Degrees) -> list[Float[Tensor, "b n k _"]]:
        if self.kind == "mlp":
            hidden = F.leaky_relu(self.to_logits(message[0]).squeeze(-2), 0.2)
            return [(hidden.unflatten(-1, self.logits.shape) * self.logits).sum(-1)]
        logits = []
        for query, key, h in zip(self.queries(x), self.keys(message), self.heads, strict=True):
            query = rearrange(query, "b n m (h d) -> b n 1 m h d", h=h)
            key = rearrange(key, "b n k m (h d) -> b n k m h d", h=h)
            alike = query * key if self.kind == "dot" else -(query - key).square()
            size = (key.shape[-1] * key.shape[-3]) ** 0.5
            logits.append(alike.sum((-3, -1)) / size)
        return logits


class FeedForward(nn.Module):
    """Widen, gate, back; with `norms` the scalars also read how long the other degrees are."""

    def __init__(self, dim: Sequence[int], norms: bool = False):
        super().__init__()
        self.norms = norms
        self.gate = Gate([WIDEN * d for d in dim])
        read = sum(dim) if norms else dim[0]
        self.wide = DegreeLinear([read, *dim[1:]], self.gate.dim_in)
        self.out = DegreeLinear(self.gate.dim, dim)

    def forward(self, x: Degrees) -> Degrees:
        if self.norms:
            lengths = [(each.square().sum(-2, keepdim=True) + 1e-8).sqrt() for each in x[1:]]
            x = [torch.cat([x[0], *lengths], dim=-1), *x[1:]]
        return self.out(self.gate(self.wide(x)))


class EquiformerBlock(nn.Module):
    """Attention, then feed-forward, each behind a norm and added; the first degrees come out."""

    def __init__(self, dim: Sequence[int], degrees_out: int, norms: bool, **attention):
        super().__init__()
        self.norm = DegreeNorm(dim)
        self.attention = EquiformerAttention(dim, degrees_out=degrees_out, **attention)
        self.norm_feed_forward = DegreeNorm(dim[:degrees_out])
        self.feed_forward = FeedForward(dim[:degrees_out], norms)

    def forward(self, x: Degrees, edges: Edges) -> Degrees:
        x = add(x, self.attention(self.norm(x), edges))
        return add(x, self.feed_forward(self.norm_feed_forward(x)))


def add(x: Degrees, update: Degrees) -> Degrees:
    """Sums by degree, of those that both have."""
    return [old + new for old, new in zip(x, update, strict=False)]
