"""All atoms of known structures of related chains, as an update of the pair representation."""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import nn

from alphafold2_pytorch.chem.residues import ATOM37_NAMES
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.geometry.atoms import backbone_frames, distance_bins, pseudo_beta
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.inputs.channels import TEMPLATE_TYPES, one_hot
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.pair_updates import (
    PairTransition,
    TriangleAttention,
    TriangleMultiplication,
)
from alphafold2_pytorch.layers.stack import Stack, Updates
from alphafold2_pytorch.ops import Attend
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

FIELDS = ("template_seq", "template_atoms", "template_atom_mask", "template_exists", "mask")
CHANNELS, BINS = 88, 39
FIRST = [ATOM37_NAMES.index(name) for name in ("N", "CA", "C", "O", "CB")]  # as atom14 begins


class Templates(NamedTuple):
    """What is read of templates: nothing of one that only fills up the number, nor of a residue
    that the query lacks."""

    seq: Int[Tensor, "b t n"]
    atoms: Float[Tensor, "b t n 37 3"]  # angstrom; zero where not known
    known: Bool[Tensor, "b t n 37"]
    exists: Bool[Tensor, "b t"]

    @classmethod
    def of(cls, features: Features) -> "Templates | None":
        """None: there are none."""
        seq, atoms = features.template_seq, features.template_atoms
        known, exists = features.template_atom_mask, features.template_exists
        if seq is None or atoms is None or known is None or exists is None or not seq.shape[1]:
            return None
        known = known & exists[:, :, None, None] & features.mask[:, None, :, None]
        return cls(seq, torch.where(known[..., None], atoms, 0), known, exists)


class AtomTemplates(nn.Module):
    """Each template's pair map passes triangle updates, then each pair attends over the templates.

    Jumper et al. (2021) Suppl. Alg. 2 lines 9-13, 16 and 17. The update is zero where no template
    exists. `heads`, `dim_head` and `dim_triangle` (default: `dim`) are of the triangle updates,
    `heads_pointwise` and `dim_head_pointwise` (default: the same) of the attention over templates.
    `unit_vectors`: also read where a residue lies in another's backbone frame, as the paper has it
    and DeepMind's released models do not.
    """

    def __init__(
        self,
        dim_pair: int,
        depth: int,
        dim: int = 64,
        heads: int = 4,
        dim_head: int = 16,
        dim_triangle: int | None = None,
        heads_pointwise: int | None = None,
        dim_head_pointwise: int | None = None,
        widen: int = 2,
        unit_vectors: bool = False,
        dropout: float = 0.25,
        attn_dropout: float = 0.0,
        ff_dropout: float = 0.0,
    ):
        super().__init__()
        self.unit_vectors = unit_vectors
        self.embed = linear(CHANNELS, dim)
        attention, drop = (dim, heads, dim_head), (dropout, attn_dropout, ff_dropout)
        triangle = dim_triangle or dim
        self.blocks = Stack(TemplateBlock(*attention, triangle, widen, *drop) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        over = heads_pointwise or heads, dim_head_pointwise or dim_head
        self.attention = PointwiseAttention(dim_pair, dim, *over, attn_dropout)
        self.dim, self.rows = dim, Rows()

    @classmethod
    def from_config(cls, config: Alphafold2Config, **options) -> "AtomTemplates":
        """`options` come last."""
        shared = {"attn_dropout": config.attn_dropout, "ff_dropout": config.ff_dropout}
        return cls(config.dim, config.template_attn_depth, **{**shared, **options})

    def forward(
        self, pair: Float[Tensor, "b n n d"], pair_mask: Bool[Tensor, "b n n"], found: Templates
    ) -> Float[Tensor, "b n n d"]:
        return self.attention(pair, self.maps(pair_mask, found), found.exists)

    def maps(
        self, pair_mask: Bool[Tensor, "b n n"], found: Templates
    ) -> Float[Tensor, "b t n n d_map"]:
        """Those of all templates; nothing of the pair representation is in them."""
        seq, atoms, known, _ = found
        mask = pair_mask[:, None].expand(-1, seq.shape[1], -1, -1)

        def several(start: int, stop: int) -> Tensor:
            def some(x: Tensor) -> Tensor:
                return x[:, start:stop].flatten(0, 1)

            flat = self.of_each(some(seq), some(atoms), some(known), some(mask))
            return flat.unflatten(0, (len(seq), stop - start))

        # in memory at once as many as a chunk holds: of a long chain one
        bytes_each = 4 * pair_mask.numel() * (2 * CHANNELS + 4 * self.dim)
        return self.rows.chunked(several, seq.shape[1], bytes_each, 1)

    def of_each(
        self,
        seq: Int[Tensor, "b n"],
        atoms: Float[Tensor, "b n 37 3"],
        known: Bool[Tensor, "b n 37"],
        pair_mask: Bool[Tensor, "b n n"],
    ) -> Float[Tensor, "b n n d_map"]:
        """One template each: what it says of each pair; Suppl. Alg. 16 and Alg. 2 line 11."""
        channels = pair_channels(seq, atoms, known, self.unit_vectors)
        pair = self.embed(channels.to(self.embed.weight.dtype))
        no_rows = pair.new_zeros(len(pair), 0, 0, 1), pair_mask.new_zeros(len(pair), 0, 0)
        x = Streams(pair, no_rows[0], pair_mask, no_rows[1], owned=True)
        return self.norm(self.blocks(x).pair)


class TemplateBlock(Updates):
    """Five updates of a template's pair map; Jumper et al. (2021) Suppl. Alg. 16."""

    def __init__(
        self,
        dim: int,
        heads: int,
        dim_head: int,
        dim_triangle: int,
        widen: int,
        dropout: float,
        attn_dropout: float,
        ff_dropout: float,
    ):
        super().__init__()
        attention, drop = (dim, heads, dim_head), (dropout, attn_dropout)
        self.starting = TriangleAttention(*attention, True, *drop)
        self.ending = TriangleAttention(*attention, False, *drop)
        self.outgoing = TriangleMultiplication(dim, dim_triangle, True, dropout)
        self.incoming = TriangleMultiplication(dim, dim_triangle, False, dropout)
        self.transition = PairTransition(dim, widen, ff_dropout)


class PointwiseAttention(nn.Module):
    """Each pair attends over what the templates say of it; Jumper et al. (2021) Suppl. Alg. 17."""

    def __init__(self, dim_pair: int, dim: int, heads: int, dim_head: int, dropout: float = 0.0):
        super().__init__()
        inner, self.heads = heads * dim_head, heads
        self.q = linear(dim_pair, inner, bias=False)
        self.kv = linear(dim, 2 * inner, bias=False)
        self.out = linear(inner, dim_pair, role="final")
        self.attend, self.rows = Attend(dropout), Rows()

    def forward(
        self,
        pair: Float[Tensor, "b n n d"],
        maps: Float[Tensor, "b t n n d_map"],
        exists: Bool[Tensor, "b t"],
        into: Float[Tensor, "b n n d"] | None = None,
    ) -> Float[Tensor, "b n n d"] | None:
        """The update, or None once it has been added to `into`, which may be `pair`."""
        heads, columns, any_exists = self.heads, pair.shape[2], exists.any(1)[:, None, None, None]

        def update(start: int, stop: int) -> Tensor:
            q, kv = self.q(pair[:, start:stop]), self.kv(maps[:, :, start:stop])
            q = rearrange(q, "b i j (h d) -> b (i j) h 1 d", h=heads)
            k, v = rearrange(kv, "b t i j (two h d) -> two b (i j) h t d", two=2, h=heads)
            found = self.attend(q, k, v, None, exists[:, None].expand(-1, q.shape[1], -1))
            out = self.out(rearrange(found, "b (i j) h 1 d -> b i j (h d)", j=columns))
            return out * any_exists

        width = 2 * self.q.out_features * (1 + 2 * maps.shape[1])
        bytes_each = pair[:, 0, :, 0].numel() * pair.element_size() * width
        return self.rows.added(update, pair.shape[1], bytes_each, 1, into)


@float32
def pair_channels(
    seq: Int[Tensor, "b n"],
    atoms: Float[Tensor, "b n 37 3"],
    known: Bool[Tensor, "b n 37"],
    unit_vectors: bool = False,
) -> Float[Tensor, "b n n c"]:
    """What a template says of each pair of residues, zero unless both have N, CA and C.

    39 bins of the C-beta distance from 3.25 to 50.75 angstrom, whether both C-beta are known, the
    types of j and of i, the direction to CA of j in the frame of i (zeros without `unit_vectors`),
    and whether both backbones are known. Unknown atoms must be at zero: a missing C-beta is read
    as if it were there, as AlphaFold2 does. Jumper et al. (2021) Suppl. Table 1 and Sec. 1.7.1.
    """
    cbeta, has_cbeta = pseudo_beta(seq, atoms[..., FIRST, :], known[..., FIRST])
    has_backbone = known[..., :3].all(-1)
    both_cbeta, both = (x[:, :, None] & x[:, None] for x in (has_cbeta, has_backbone))
    types, n = one_hot(seq, TEMPLATE_TYPES), seq.shape[1]
    vectors = directions(atoms) if unit_vectors else atoms.new_zeros(()).expand(*both.shape, 3)
    channels = [
        distance_bins(cbeta, first=3.25, last=50.75, bins=BINS),
        both_cbeta[..., None],
        types[:, None].expand(-1, n, -1, -1),
        types[:, :, None].expand(-1, -1, n, -1),
        vectors,
        both[..., None],
    ]
    return torch.cat(channels, -1).mul_(both[..., None])


def directions(atoms: Float[Tensor, "b n a 3"]) -> Float[Tensor, "b n n 3"]:
    """The unit vector from residue i to residue j in the backbone frame of i."""
    frames = backbone_frames(atoms)
    apart = frames.unsqueeze(-1).apply_inverse(frames.trans[:, None])
    return apart * torch.rsqrt((apart * apart).sum(-1, keepdim=True) + 1e-6)
