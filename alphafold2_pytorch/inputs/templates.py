"""Known structures of related chains, as an update of the pair representation."""

import torch
from einops import rearrange
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.layers.attention import GatedAttention
from alphafold2_pytorch.layers.init import embedding, linear
from alphafold2_pytorch.layers.transition import Transition
from alphafold2_pytorch.ops import Attend
from alphafold2_pytorch.typing import Bool, Float, Tensor

FIELDS = ("template_coords", "template_sidechains", "template_seq", "template_mask", "mask")
FIRST, SPACING, KNOTS = 2.0, 0.5, 37  # angstrom: 2 to 20


class TemplateEmbedding(nn.Module):
    """Axial attention within each template's pair map, then each pair attends over the templates.

    A template's pair starts as its CA distance (37 knots from 2 to 20 A, linear between them, the
    ends open), its two residue types and, where there are side chain vectors, three invariant
    products; no coordinate system enters. The update is zero where no template has both residues.
    After Jumper et al. (2021) Suppl. Alg. 16 and 17. Options by the name "templates": `dim`,
    `heads`, `dim_head`.
    """

    def __init__(
        self,
        dim_pair: int,
        num_tokens: int,
        depth: int,
        dim: int = 64,
        heads: int = 4,
        dim_head: int = 16,
        attn_dropout: float = 0.0,
        ff_dropout: float = 0.0,
    ):
        super().__init__()
        self.distances = linear(KNOTS, dim)
        self.left, self.right = embedding(num_tokens, dim), embedding(num_tokens, dim)
        self.sidechains = linear(3, dim, bias=False)
        self.layers = nn.ModuleList(
            TemplateLayer(dim, heads, dim_head, attn_dropout, ff_dropout) for _ in range(depth)
        )
        self.over_templates = TemplateAttention(dim_pair, dim, heads, dim_head, attn_dropout)

    @classmethod
    def from_config(cls, config: Alphafold2Config) -> "TemplateEmbedding":
        """At most 64 wide, if its options do not say otherwise."""
        own = {
            "dim": min(64, config.dim),
            "attn_dropout": config.attn_dropout,
            "ff_dropout": config.ff_dropout,
        }
        options = {**own, **config.options.get("templates", {})}
        return cls(config.dim, config.num_tokens, config.template_attn_depth, **options)

    def forward(
        self, pair: Float[Tensor, "b n n d"], features: Features
    ) -> Float[Tensor, "b n n d"]:
        return self.over_templates(pair, *self.maps(features))

    def maps(
        self, features: Features
    ) -> tuple[Float[Tensor, "b t n n d"], Bool[Tensor, "b t n n"]]:
        """What each template says of each pair, and where it says anything."""
        maps, mask = self._first(features)
        maps, flat = rearrange(maps, "b t i j d -> (b t) i j d"), mask.flatten(0, 1)
        for layer in self.layers:
            maps = layer(maps, flat)
        return maps.unflatten(0, mask.shape[:2]), mask

    def _first(
        self, features: Features
    ) -> tuple[Float[Tensor, "b t n n d"], Bool[Tensor, "b t n n"]]:
        coords, vectors = features.template_coords, features.template_sidechains
        seq, mask = features.template_seq, features.template_mask
        if coords is None or seq is None or mask is None:
            raise ValueError("templates need template_coords, template_seq and template_mask")
        mask = mask & features.mask[:, None]
        distance, direction = between(at_least_float32(coords, mask))
        maps = self.distances(soft_bins(distance).to(self.distances.weight.dtype))
        maps = maps + self.left(seq)[..., :, None, :] + self.right(seq)[..., None, :, :]
        if vectors is not None:
            products = invariants(unit(at_least_float32(vectors, mask)), direction)
            maps = maps + self.sidechains(products.to(self.sidechains.weight.dtype))
        return maps, mask[..., :, None] & mask[..., None, :]


class TemplateLayer(nn.Module):
    """Pairs attend within their row, then within their column, then a transition."""

    def __init__(self, dim: int, heads: int, dim_head: int, attn_dropout: float, ff_dropout: float):
        super().__init__()
        self.norm_rows, self.norm_columns = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.rows = GatedAttention(dim, heads, dim_head, attn_dropout)
        self.columns = GatedAttention(dim, heads, dim_head, attn_dropout)
        self.transition = Transition(dim, 2, ff_dropout)

    def forward(
        self, x: Float[Tensor, "b n n d"], mask: Bool[Tensor, "b n n"]
    ) -> Float[Tensor, "b n n d"]:
        x = x + self.rows(x, mask, norm=self.norm_rows)
        columns, mask = x.transpose(1, 2), mask.transpose(1, 2)
        x = x + self.columns(columns, mask, norm=self.norm_columns).transpose(1, 2)
        return x + self.transition(x)


class TemplateAttention(nn.Module):
    """Each pair attends over what the templates say of it; Jumper et al. (2021) Suppl. Alg. 17."""

    def __init__(self, dim_pair: int, dim: int, heads: int, dim_head: int, dropout: float):
        super().__init__()
        inner, self.heads = heads * dim_head, heads
        self.norm_pair, self.norm_maps = nn.LayerNorm(dim_pair), nn.LayerNorm(dim)
        self.q = linear(dim_pair, inner, bias=False)
        self.kv = linear(dim, 2 * inner, bias=False)
        self.attend = Attend(dropout)
        self.out = linear(inner, dim_pair, bias=False, role="final")  # nothing stays nothing

    def forward(
        self,
        pair: Float[Tensor, "b n n d"],
        maps: Float[Tensor, "b t n n dt"],
        mask: Bool[Tensor, "b t n n"],
    ) -> Float[Tensor, "b n n d"]:
        heads, columns = self.heads, pair.shape[2]
        q = rearrange(self.q(self.norm_pair(pair)), "b i j (h d) -> b (i j) h 1 d", h=heads)
        kv = self.kv(self.norm_maps(maps))
        k, v = rearrange(kv, "b t i j (two h d) -> two b (i j) h t d", two=2, h=heads)
        found = self.attend(q, k, v, None, rearrange(mask, "b t i j -> b (i j) t"))
        return self.out(rearrange(found, "b (i j) h 1 d -> b i j (h d)", j=columns))


def at_least_float32(
    vectors: Float[Tensor, "*b 3"], mask: Bool[Tensor, "*b"]
) -> Float[Tensor, "*b 3"]:
    """Zero where masked, before any arithmetic: whatever stands there, gradients stay finite."""
    vectors = torch.where(mask[..., None], vectors, 0)
    return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


def between(
    points: Float[Tensor, "*b n 3"],
) -> tuple[Float[Tensor, "*b n n"], Float[Tensor, "*b n n 3"]]:
    """Distances, and the unit vectors to i from j; zero, with finite gradients, where i is j."""
    apart = points[..., :, None, :] - points[..., None, :, :]
    squared = (apart * apart).sum(-1)
    distance = torch.where(squared > 0, squared, 1).sqrt()
    return torch.where(squared > 0, distance, 0), apart / distance[..., None]


def unit(vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Of length one; zero, which says nothing, stays zero."""
    squared = (vectors * vectors).sum(-1, keepdim=True)
    return vectors / torch.where(squared > 0, squared, 1).sqrt()


def soft_bins(distance: Float[Tensor, "*b"]) -> Float[Tensor, "*b k"]:
    """Shares of the two nearest knots: unlike hard bins they do not jump when digits are lost."""
    place = ((distance - FIRST) / SPACING).clamp(0, KNOTS - 1)[..., None]
    return (1 - (place - torch.arange(KNOTS, device=distance.device)).abs()).relu()


def invariants(
    vectors: Float[Tensor, "*b n 3"], direction: Float[Tensor, "*b n n 3"]
) -> Float[Tensor, "*b n n 3"]:
    """Cosines of vector i with vector j, and of each with the direction to i from j."""
    left, right = vectors[..., :, None, :], vectors[..., None, :, :]
    cosines = [left * right, left * direction, right * direction]
    return torch.stack([each.sum(-1) for each in cosines], dim=-1)
