"""E(n)-Transformer: attention among points whose heads also move them."""

import torch
from einops import rearrange
from torch import nn

from alphafold2_pytorch.geometry.neighbours import Neighbours
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.layers.init import embedding, linear
from alphafold2_pytorch.layers.points import PointInput, RadialBasis, check_edges
from alphafold2_pytorch.structure.base import STRUCTURES, WORDS
from alphafold2_pytorch.structure.cloud import CloudStructure
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

FARTHEST = 32  # places in a row; farther ones are told apart by their sign only


class EnAttention(nn.Module):
    """Heads attend to neighbours by features, distance and edges, and pull or push along each line.

    The coordinates' update of Satorras et al. (2021) eq. 4, its weights those of attention
    (Vaswani et al. 2017) times what a small network makes of the logits. Without a neighbour
    nothing is added.
    """

    def __init__(
        self,
        dim: int,
        heads: int = 8,
        dim_head: int = 64,
        edge_dim: int = 0,
        coors_hidden_dim: int = 16,
        norm_rel_coors: bool = True,
        radial: int = 16,
    ):
        super().__init__()
        inner, known = heads * dim_head, radial + edge_dim
        self.heads, self.norm_rel_coors = heads, norm_rel_coors
        self.norm = nn.LayerNorm(dim)
        self.q = linear(dim, inner, bias=False)
        self.kv = linear(dim, 2 * inner, bias=False)
        self.basis = RadialBasis(radial)
        self.bias = nn.Sequential(
            linear(known, 2 * known, role="relu"), nn.SiLU(), linear(2 * known, heads)
        )
        self.push = nn.Sequential(
            linear(heads + known, coors_hidden_dim),
            nn.SiLU(),
            linear(coors_hidden_dim, heads, role="small"),
        )
        self.out = linear(inner + heads * known, dim)

    def forward(
        self,
        feats: Float[Tensor, "b n d"],
        coors: Float[Tensor, "b n 3"],
        graph: Neighbours,
        edges: Float[Tensor, "b n k e"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 3"]]:
        """What is added to the features and to the coordinates."""
        h = self.norm(feats)
        apart = coors[:, :, None] - graph.gather(coors)
        square = apart.square().sum(-1)
        known = self.basis(square)
        if edges is not None:
            known = torch.cat([known, edges], dim=-1)
        q = rearrange(self.q(h), "b n (h d) -> b h n d", h=self.heads)
        k, v = rearrange(self.kv(h), "b n (two h d) -> two b h n d", two=2, h=self.heads).unbind()
        logits = products(q * q.shape[-1] ** -0.5, k, graph) + self.bias(known)
        seen = graph.mask[..., None]
        weights = logits.masked_fill(~seen, torch.finfo(logits.dtype).min).softmax(2) * seen

        values = rearrange(weighted(weights, v, graph), "b h n d -> b n (h d)")
        pairs = (weights.mT @ known).flatten(2)
        alone = graph.mask.any(-1)[..., None]
        change = self.out(torch.cat([values, pairs], dim=-1)) * alone
        if self.norm_rel_coors:
            apart = apart / (torch.sqrt(square + 1e-6) + 1)[..., None]
        strength = (weights * self.push(torch.cat([logits, known], dim=-1))).sum(-1, keepdim=True)
        return change, (strength * apart).sum(2)


def products(
    left: Float[Tensor, "b h n d"], right: Float[Tensor, "b h n d"], graph: Neighbours
) -> Float[Tensor, "b n k h"]:
    """Scalar products of each point with its neighbours."""
    if small_table(left, graph):
        index = graph.index[:, None].expand(-1, left.shape[1], -1, -1)
        return (left @ right.mT).gather(3, index).permute(0, 2, 3, 1)
    return torch.einsum("bhnd,bnkhd->bnkh", left, graph.gather(right.transpose(1, 2)))


def weighted(
    weights: Float[Tensor, "b n k h"], values: Float[Tensor, "b h n d"], graph: Neighbours
) -> Float[Tensor, "b h n d"]:
    """Sums over neighbours; empty places in a list must have weight zero."""
    if small_table(values, graph):
        b, h, n = values.shape[:3]
        index = graph.index[:, None].expand(-1, h, -1, -1)
        table = weights.new_zeros(b, h, n, n).scatter_add(3, index, weights.permute(0, 3, 1, 2))
        return table @ values
    return torch.einsum("bnkh,bnkhd->bhnd", weights, graph.gather(values.transpose(1, 2)))


def small_table(x: Float[Tensor, "b h n d"], graph: Neighbours) -> bool:
    """Whether a table of all pairs is smaller than copies of what the neighbours have."""
    return x.shape[2] <= 2 * graph.index.shape[2] * x.shape[3]


class EnTransformer(nn.Module):
    """Transformer on points: turned, moved or mirrored input gives turned, moved, mirrored output.

    `depth` layers of attention and feed-forward, each point seeing `neighbors` others (None: all),
    chosen once from the coordinates that come in; for adjacency and tokens see `PointInput`. With
    `rel_pos_emb` the points are a sequence, and how far apart two of them are in it is known.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int = 8,
        dim_head: int = 64,
        num_tokens: int | None = None,
        edge_dim: int = 0,
        neighbors: int | None = None,
        only_sparse_neighbors: bool = False,
        valid_neighbor_radius: float | None = None,
        num_adj_degrees: int | None = None,
        adj_dim: int = 0,
        rel_pos_emb: bool = False,
        coors_hidden_dim: int = 16,
        norm_rel_coors: bool = True,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.input = PointInput(
            dim,
            num_tokens,
            edge_dim,
            neighbors,
            only_sparse_neighbors,
            valid_neighbor_radius,
            num_adj_degrees,
            adj_dim,
        )
        width = self.input.width
        self.position = embedding(2 * FARTHEST + 3, 16) if rel_pos_emb else None
        inner = width + 16 * rel_pos_emb
        self.attention = nn.ModuleList(
            EnAttention(dim, heads, dim_head, inner, coors_hidden_dim, norm_rel_coors)
            for _ in range(depth)
        )
        self.transition = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(dim),
                linear(dim, 4 * dim, role="relu"),
                nn.GELU(),
                nn.Dropout(dropout),
                linear(4 * dim, dim),
            )
            for _ in range(depth)
        )

    @float32
    def forward(
        self,
        feats: Float[Tensor, "b n d"] | Int[Tensor, "b n"],
        coors: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"] | None = None,
        adj_mat: Bool[Tensor, "n n"] | Bool[Tensor, "b n n"] | None = None,
        edges: Float[Tensor, "b n n e"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 3"]]:
        """New features and coordinates; those outside `mask` stay as they are."""
        feats, mask, graph, known = self.input(feats, coors, mask, adj_mat, edges)
        return self.refine(feats, coors, mask, graph, known)

    @float32
    def refine(
        self,
        feats: Float[Tensor, "b n d"],
        coors: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"],
        graph: Neighbours,
        edges: Float[Tensor, "b n k e"] | None = None,
        global_feats: Float[Tensor, "b g d"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 3"]]:
        """The layers alone, on given neighbours. `ValueError` for features of the whole."""
        check_edges(edges, self.input.width)
        if global_feats is not None:
            raise ValueError("EnTransformer has no nodes that see all others: no global_feats")
        if self.position is not None:
            places = torch.arange(feats.shape[1], device=feats.device)[:, None]
            apart = (graph.index - places).clamp(-FARTHEST - 1, FARTHEST + 1) + FARTHEST + 1
            known = self.position(apart)
            edges = known if edges is None else torch.cat([edges, known], dim=-1)
        keep = mask[..., None]
        for attention, transition in zip(self.attention, self.transition, strict=True):
            change, move = attention(feats, coors, graph, edges)
            feats, coors = feats + change * keep, coors + move * keep
            feats = feats + transition(feats) * keep
        return feats, coors


@STRUCTURES.register("en")
class EnStructure(CloudStructure):
    """Atoms refined by an `EnTransformer` of `depth` layers."""

    reads_words = WORDS - {"structure_num_global_nodes"}

    def build(self, dim: int, edge_dim: int, **numbers) -> EnTransformer:
        return EnTransformer(dim, edge_dim=edge_dim, **numbers)
