"""AlphaFold2's structure module: invariant point attention moves a cloud of residue frames."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure
from alphafold2_pytorch.geometry.atoms import groups_to_atom14, torsions_to_groups
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.rotations import small_update
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.structure.base import STRUCTURES, StructureModule
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

ANGSTROM = 10.0  # the network's unit of length, in angstrom


class InvariantPointAttention(nn.Module):
    """Attention among residues by features, by pair bias and by distance between points.

    Each residue places points in its own frame, so the result does not change when all frames are
    moved together. Jumper et al. (2021) Suppl. Alg. 22. A residue without any unmasked other gets
    only its bias.
    """

    def __init__(
        self,
        dim: int,
        dim_pair: int,
        heads: int = 12,
        dim_head: int = 16,
        points_qk: int = 4,
        points_v: int = 8,
        dim_value: int | None = None,
    ):
        super().__init__()
        self.heads, self.points_qk, self.points_v = heads, points_qk, points_v
        self.widths = dim_head, (dim_value := dim_value or dim_head)
        self.q = linear(dim, heads * dim_head)
        self.kv = linear(dim, heads * sum(self.widths))
        self.q_points = linear(dim, heads * points_qk * 3)
        self.kv_points = linear(dim, heads * (points_qk + points_v) * 3)
        self.bias = linear(dim_pair, heads)
        self.point_weight = nn.Parameter(torch.full((heads,), 0.541324854612918))  # softplus -> 1
        joined = heads * (dim_value + points_v * 4 + dim_pair)
        self.out = linear(joined, dim, role="final")

    def forward(
        self,
        single: Float[Tensor, "b n d_single"],
        pair: Float[Tensor, "b n n d"],
        frames: Rigid,
        mask: Bool[Tensor, "b n"],
    ) -> Float[Tensor, "b n d_single"]:
        """`frames`: `b n`, in nanometres (`ANGSTROM`)."""
        q = rearrange(self.q(single), "b n (h d) -> b h n d", h=self.heads)
        kv = rearrange(self.kv(single), "b n (h d) -> b h n d", h=self.heads)
        k, v = kv.split(self.widths, dim=-1)
        q_points = self._place(self.q_points(single), frames)
        kv_points = self._place(self.kv_points(single), frames)
        k_points, v_points = kv_points.split([self.points_qk, self.points_v], dim=3)

        scalar = torch.matmul(q, k.mT) / q.shape[-1] ** 0.5
        bias = rearrange(self.bias(pair), "b i j h -> b h i j")
        distance = squared_distances(q_points, k_points, mask)
        strength = F.softplus(self.point_weight) * (2 / (9 * self.points_qk)) ** 0.5 / 2
        logits = (scalar + bias - strength[:, None, None] * distance) / 3**0.5
        logits = logits.masked_fill(~mask[:, None, None], torch.finfo(logits.dtype).min)
        weights = logits.softmax(-1) * mask[:, None, None]

        values = rearrange(torch.matmul(weights, v), "b h n d -> b n (h d)")
        points = torch.matmul(weights, v_points.flatten(3)).unflatten(-1, (-1, 3))
        points = rearrange(points, "b h n p xyz -> b n (h p) xyz")
        points = frames.unsqueeze(-1).apply_inverse(points)
        norms = torch.sqrt((points * points).sum(-1) + 1e-8)
        pairs = torch.einsum("bhij,bijd->bihd", weights, pair).flatten(2)
        x, y, z = points.unbind(-1)
        return self.out(torch.cat([values, x, y, z, norms, pairs], dim=-1))

    def _place(self, points: Tensor, frames: Rigid) -> Tensor:
        """Local coordinates (all x, all y, all z) to points in space, `b h n p 3`."""
        points = rearrange(points, "b n (xyz hp) -> b n hp xyz", xyz=3)
        points = frames.unsqueeze(-1).apply(points)
        return rearrange(points, "b n (h p) xyz -> b h n p xyz", h=self.heads)


def squared_distances(
    left: Float[Tensor, "b h n p 3"], right: Float[Tensor, "b h m p 3"], mask: Bool[Tensor, "b m"]
) -> Float[Tensor, "b h n m"]:
    """Sum over points p of |left - right|^2, without a tensor of all differences.

    Taken about the centre of the unmasked points, so that far from the origin no digits are lost.
    """
    keep = mask[:, None, :, None, None]
    count = (keep.sum((1, 2, 3), keepdim=True) * right.shape[1] * right.shape[3]).clamp(min=1)
    centre = ((right * keep).sum((1, 2, 3), keepdim=True) / count).detach()
    left, right = (left - centre).flatten(3), (right - centre).flatten(3)
    square_left, square_right = left.square().sum(-1), right.square().sum(-1)
    return square_left[..., None] + square_right[..., None, :] - 2 * torch.matmul(left, right.mT)


class TorsionNet(nn.Module):
    """Seven torsions from the residue's features; Jumper et al. (2021) Suppl. Alg. 20, 11-14."""

    def __init__(self, dim: int, dim_hidden: int = 128, blocks: int = 2):
        super().__init__()
        self.now, self.initial = linear(dim, dim_hidden), linear(dim, dim_hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                linear(dim_hidden, dim_hidden, role="relu"),
                nn.ReLU(),
                linear(dim_hidden, dim_hidden, role="final"),
            )
            for _ in range(blocks)
        )
        self.out = linear(dim_hidden, 14)

    def forward(
        self, single: Float[Tensor, "b n d"], initial: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b n t 2"]:
        """(sin, cos) of pre-omega, phi, psi, chi 1-4, not yet of unit length."""
        x = self.now(F.relu(single)) + self.initial(F.relu(initial))
        for block in self.blocks:
            x = x + block(x)
        return self.out(F.relu(x)).unflatten(-1, (7, 2))


@STRUCTURES.register("ipa")
class IpaStructure(StructureModule):
    """`depth` iterations with shared weights, from all residues at the origin.

    Jumper et al. (2021) Suppl. Alg. 20. Rotations pass no gradient from one iteration to the next.
    With `start="mds"` it begins with the frames of `structure/start.py` instead: to learn to lay
    out a chain from nothing takes far more training than to refine one.
    """

    reads_words = frozenset(f"structure_module_{w}" for w in ("dim", "depth", "heads", "dim_head"))

    def __init__(
        self,
        dim: int,
        dim_pair: int,
        depth: int = 8,
        heads: int = 12,
        dim_head: int = 16,
        points_qk: int = 4,
        points_v: int = 8,
        dim_value: int | None = None,
        dropout: float = 0.1,
        dim_torsions: int = 128,
        start: str = "origin",
    ):
        super().__init__()
        if start not in ("origin", "mds"):
            raise ValueError(f"start must be 'origin' or 'mds', got {start!r}")
        self.depth, self.needs_start = depth, start == "mds"
        self.norm_single, self.norm_pair = nn.LayerNorm(dim), nn.LayerNorm(dim_pair)
        self.project = linear(dim, dim)
        self.attention = InvariantPointAttention(
            dim, dim_pair, heads, dim_head, points_qk, points_v, dim_value
        )
        self.norm_attention, self.norm_transition = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.transition = nn.Sequential(
            linear(dim, dim, role="relu"),
            nn.ReLU(),
            linear(dim, dim, role="relu"),
            nn.ReLU(),
            linear(dim, dim, role="final"),
        )
        self.dropout = nn.Dropout(dropout)
        self.update = linear(dim, 6, role="final")
        self.torsions = TorsionNet(dim, dim_torsions)

    @classmethod
    def from_config(cls, config: Alphafold2Config) -> "IpaStructure":
        return cls(
            config.structure_module_dim,
            config.dim,
            config.structure_module_depth,
            config.structure_module_heads,
            config.structure_module_dim_head,
            **config.options.get("ipa", {}),
        )

    @float32
    def forward(
        self,
        single: Float[Tensor, "b n d_single"],
        pair: Float[Tensor, "b n n d"],
        mask: Bool[Tensor, "b n"],
        seq: Int[Tensor, "b n"],
        start: Rigid | None = None,
        residue_index: Int[Tensor, "b n"] | None = None,
    ) -> Structure:
        """`start`: the frames to begin with, `b n`, angstrom; by default all at the origin.

        `residue_index` changes nothing: the pair representation says where residues are.
        """
        initial, pair = self.norm_single(single), self.norm_pair(pair)
        x = self.project(initial)
        frames = Rigid.identity(tuple(mask.shape), like=x)
        if start is not None:
            frames = start.scale(1 / ANGSTROM)
        steps, torsions = [], []
        for _ in range(self.depth):
            x = self.norm_attention(self.dropout(x + self.attention(x, pair, frames, mask)))
            x = self.norm_transition(self.dropout(x + self.transition(x)))
            frames = frames.compose(small_update(self.update(x)))
            torsions.append(self.torsions(x, initial))
            steps.append(frames)
            frames = Rigid(frames.rot.detach(), frames.trans)
        backbone = Rigid.stack(steps).scale(ANGSTROM)
        raw = torch.stack(torsions)
        unit = raw / torch.sqrt((raw * raw).sum(-1, keepdim=True).clamp(min=1e-12))
        types = seq.clamp(max=20)
        groups = torsions_to_groups(backbone, unit, types.expand(self.depth, -1, -1))
        atoms, exists = groups_to_atom14(groups, types.expand(self.depth, -1, -1))
        return Structure(
            frames=backbone,
            atoms=atoms,
            atom_mask=exists[-1] & mask[..., None],
            torsions=unit,
            raw_torsions=raw,
            groups=groups[-1],
            single=x,
        )
