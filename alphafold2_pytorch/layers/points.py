"""What every network on points begins with: tokens, neighbours, edges; distances as features."""

import torch
from torch import nn

from alphafold2_pytorch.geometry.neighbours import Neighbours, bond_steps, nearest
from alphafold2_pytorch.layers.init import embedding
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor


class RadialBasis(nn.Module):
    """Distances as overlapping bells from 0 to `last` (angstrom), and on a log scale.

    `count` numbers a distance. They change smoothly, also where two points coincide.
    """

    centres: Tensor

    def __init__(self, count: int = 16, last: float = 20.0):
        super().__init__()
        self.width = last / (count - 2)
        self.register_buffer("centres", torch.linspace(0, last, count - 1), persistent=False)

    def forward(self, square: Float[Tensor, "*p"]) -> Float[Tensor, "*p d"]:
        """Of squared distances."""
        distance = torch.sqrt(square + 1e-6)[..., None]
        bells = torch.exp(-0.5 * ((distance - self.centres) / self.width).square())
        return torch.cat([bells, torch.log1p(square)[..., None]], dim=-1)


class PointInput(nn.Module):
    """Who sees whom, and what is known of them: the front of a stand-alone network on points.

    Bonded points come first among the `neighbors` nearest (None: all), `only_sparse_neighbors`
    leaves the others out, and so does a distance above `valid_radius` (angstrom). With
    `num_adj_degrees`, bonds of bonds count up to that many steps, told apart by `adj_dim` learned
    numbers. `num_tokens`: features come as whole numbers below it. `edge_dim` counts the numbers
    that each pair has, `width` all that the network gets of it.
    """

    def __init__(
        self,
        dim: int,
        num_tokens: int | None = None,
        edge_dim: int = 0,
        neighbors: int | None = None,
        only_sparse_neighbors: bool = False,
        valid_radius: float | None = None,
        num_adj_degrees: int | None = None,
        adj_dim: int = 0,
    ):
        super().__init__()
        if adj_dim and not num_adj_degrees:
            raise ValueError(f"adj_dim={adj_dim} would change nothing without num_adj_degrees")
        if neighbors is not None and neighbors < 1:
            raise ValueError(f"the number of neighbours must be at least 1 or None: {neighbors}")
        self.dim, self.edge_dim, self.neighbors = dim, edge_dim, neighbors
        self.only_bonded, self.radius = only_sparse_neighbors, valid_radius
        self.degrees = num_adj_degrees
        self.token = None if num_tokens is None else embedding(num_tokens, dim)
        self.degree = embedding((num_adj_degrees or 0) + 1, adj_dim) if adj_dim else None
        self.width = edge_dim + adj_dim

    def forward(
        self,
        feats: Float[Tensor, "b n d"] | Int[Tensor, "b n"],
        coors: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"] | None = None,
        adj_mat: Bool[Tensor, "n n"] | Bool[Tensor, "b n n"] | None = None,
        edges: Float[Tensor, "b n n e"] | None = None,
    ) -> tuple[Tensor, Bool[Tensor, "b n"], Neighbours, Float[Tensor, "b n k e"] | None]:
        """Features, mask, neighbours and their edges. `ValueError` for what does not fit."""
        if (self.token is None) == (not feats.is_floating_point()):
            wanted = (
                "features of dim numbers" if self.token is None else "tokens: num_tokens is set"
            )
            raise ValueError(f"feats are {feats.dtype}, this network reads {wanted}")
        if (edges is None) != (self.edge_dim == 0):
            got = "none" if edges is None else f"edges of {edges.shape[-1]}"
            raise ValueError(f"edge_dim={self.edge_dim}, but the call has {got}")
        if adj_mat is None and (self.degrees or self.only_bonded):
            raise ValueError("num_adj_degrees and only_sparse_neighbors need adj_mat, the bonds")
        feats = feats if self.token is None else self.token(feats)
        mask = feats.new_ones(feats.shape[:2], dtype=torch.bool) if mask is None else mask
        bonds = None if adj_mat is None else adj_mat.expand(len(coors), -1, -1)
        steps = None
        if bonds is not None and self.degrees:
            steps = bond_steps(bonds & mask[:, :, None] & mask[:, None], self.degrees)
            bonds = steps > 0
        graph = self._graph(coors, mask, bonds)
        known = [] if edges is None else [graph.gather_pairs(edges)]
        if self.degree is not None and steps is not None:
            known.append(self.degree(graph.gather_pairs(steps)))
        return feats, mask, graph, torch.cat(known, dim=-1) if known else None

    def _graph(self, coors: Tensor, mask: Tensor, bonds: Tensor | None) -> Neighbours:
        if not self.only_bonded or bonds is None:
            return nearest(coors, mask, self.neighbors, bonds, self.radius)
        most = max(int(bonds.sum(-1).max()), 1)  # no list is longer than what has most bonds
        most = most if self.neighbors is None else min(most, self.neighbors)
        return nearest(coors, mask, most, bonds, radius=-1.0)  # all others are farther


def check_edges(edges: Tensor | None, width: int) -> None:
    """`ValueError` if the edges of neighbours are not as wide as the network was built for."""
    if (got := 0 if edges is None else edges.shape[-1]) != width:
        raise ValueError(f"the network reads {width} numbers an edge, got {got}")
