"""Torsion angles of known structures of related chains, as further rows of the MSA."""

import torch
from torch import nn

from alphafold2_pytorch.chem.lookup import of_residue
from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.torsions import (
    both_namings,
    torsion_points,
    torsions_from_atom14,
)
from alphafold2_pytorch.inputs.atom_templates import FIRST, Templates
from alphafold2_pytorch.inputs.channels import TEMPLATE_TYPES, one_hot
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

CHANNELS, PSI = 57, 2
BACKBONE = FIRST[:4]  # N, CA, C, O, which every residue has in its first four slots
UNDEFINED = ("placeholder", "computed")


class TemplateTorsions(nn.Module):
    """A row of each template, there where its psi is known; Jumper et al. (2021) Suppl. Alg. 2
    lines 7 and 8.

    Of `undefined` torsions "placeholder" gives the network (1, 0). "computed" gives what a frame of
    coinciding atoms at zero yields, as DeepMind's released setting does: for pre-omega of a residue
    without predecessor that is rounding noise of length one, which no other build reproduces.
    """

    def __init__(self, dim_msa: int, undefined: str = "placeholder"):
        super().__init__()
        if undefined not in UNDEFINED:
            raise ValueError(
                f"undefined template torsions must be one of {UNDEFINED}, got {undefined!r}"
            )
        self.undefined = undefined
        self.embed, self.project = linear(CHANNELS, dim_msa, role="relu"), linear(dim_msa, dim_msa)

    def forward(
        self, found: Templates
    ) -> tuple[Float[Tensor, "b t n d_msa"], Bool[Tensor, "b t n"]]:
        """The rows, and where there is data."""
        channels, known = torsion_channels(found.seq, found.atoms, found.known, self.undefined)
        channels = channels.to(self.embed.weight.dtype)
        rows = self.project(self.embed(channels, relu=True))
        return rows, known[..., PSI]


@float32
def torsion_channels(
    seq: Int[Tensor, "*n"],
    atoms: Float[Tensor, "*n 37 3"],
    known: Bool[Tensor, "*n 37"],
    undefined: str = "placeholder",
) -> tuple[Float[Tensor, "*n c"], Bool[Tensor, "*n 7"]]:
    """Residue type, torsions, torsions of the other naming, which are known; and the last alone.

    Unknown atoms must be at zero. As in AlphaFold2 the residue before is the template's last one in
    the array, wherever it is in the chain. Jumper et al. (2021) Suppl. Table 1.
    """
    torsions = placeholder_torsions if undefined == "placeholder" else computed_torsions
    sin_cos, alternative, defined = torsions(seq, *own_order(seq, atoms, known))
    angles = [sin_cos.flatten(-2), alternative.flatten(-2)]
    return torch.cat([one_hot(seq, TEMPLATE_TYPES), *angles, defined], -1), defined


Torsions = tuple[Float[Tensor, "*n 7 2"], Float[Tensor, "*n 7 2"], Bool[Tensor, "*n 7"]]


def placeholder_torsions(
    seq: Int[Tensor, "*n"], atoms: Float[Tensor, "*n 14 3"], known: Bool[Tensor, "*n 14"]
) -> Torsions:
    """(sin, cos), that of the other naming, and where defined; elsewhere (1, 0)."""
    sin_cos, alternative, defined = torsions_from_atom14(seq, atoms, known)
    placeholder = atoms.new_tensor([1.0, 0.0])
    where = defined[..., None]
    own, other = (torch.where(where, x, placeholder) for x in (sin_cos, alternative))
    return own, other, defined


def computed_torsions(
    seq: Int[Tensor, "*n"], atoms: Float[Tensor, "*n 14 3"], known: Bool[Tensor, "*n 14"]
) -> Torsions:
    """(sin, cos), that of the other naming, and where defined; elsewhere whatever comes out.

    Measured where the fourth atom lies in the frame of the three before: unlike `dihedral` that has
    a length even where it has no meaning.
    """
    points, defined = torsion_points(seq, atoms, known)
    a, b, c, d = points.unbind(-2)
    _, y, z = Rigid.from_three_points(b, c, a).apply_inverse(d).unbind(-1)
    sin_cos = torch.stack([z, y], -1)
    sin_cos = sin_cos / torch.sqrt((sin_cos * sin_cos).sum(-1, keepdim=True) + 1e-8)
    return *both_namings(seq, sin_cos), defined


def own_order(
    seq: Int[Tensor, "*n"], atoms: Float[Tensor, "*n 37 3"], known: Bool[Tensor, "*n 37"]
) -> tuple[Float[Tensor, "*n 14 3"], Bool[Tensor, "*n 14"]]:
    """atom37 to atom14 in which a residue of no known type keeps the backbone that it has."""
    index = of_residue("ATOM14_TO_ATOM37", seq)
    index[..., : len(BACKBONE)] = torch.tensor(BACKBONE, device=seq.device)
    return (
        torch.take_along_dim(atoms, index[..., None], dim=-2),
        torch.take_along_dim(known, index, dim=-1),
    )
