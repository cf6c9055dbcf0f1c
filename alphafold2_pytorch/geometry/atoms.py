"""Atoms of residues: from rigid groups and back, the two atom orders, C-beta, distances.

Positions are in angstrom. `seq` holds tokens; X, gap and mask have no atoms of their own, but their
backbone is read where a mask says that it is there.
"""

import torch

from alphafold2_pytorch.chem.lookup import of_residue, table
from alphafold2_pytorch.chem.residues import RESIDUES
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.rotations import rotation_about_x
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

CB = 4  # atom14 slot of every residue but glycine; N, CA, C, O are 0 to 3 in all of them


def backbone_frames(positions: Float[Tensor, "*n a 3"]) -> Rigid:
    """Frames with CA at the origin, C on the positive x axis and N in the xy plane.

    Reads the first three atoms: N, CA, C. Jumper et al. (2021) Suppl. Alg. 21. Where the three
    coincide (unknown atoms at zero) the rotation is all zeros: mask such residues.
    """
    n, ca, c = positions[..., 0, :], positions[..., 1, :], positions[..., 2, :]
    return Rigid.from_three_points(2 * ca - c, ca, n)


def torsions_to_groups(
    backbone: Rigid, torsions: Float[Tensor, "*n 7 2"], seq: Int[Tensor, "*#n"]
) -> Rigid:
    """The eight rigid groups (`*n g`) of residues, from backbone frames and (sin, cos) of torsions.

    `torsions` are pre-omega, phi, psi, chi 1-4, of unit length. Leading dimensions broadcast.
    A chi group that a residue lacks, and every group of X, has no rotation (all zeros): mask it.
    Jumper et al. (2021) Suppl. Alg. 24, lines 1 to 10.
    """
    default = of_residue("GROUP_DEFAULT_FRAMES", seq, backbone.trans.dtype)
    rest = torsions.new_tensor([0.0, 1.0]).expand(*torsions.shape[:-2], 1, 2)
    turn = rotation_about_x(torch.cat([rest, torsions], -2))
    rot, trans = default[..., :3, :3] @ turn, default[..., :3, 3].expand(*turn.shape[:-1])
    groups = [Rigid(rot[..., i, :, :], trans[..., i, :]) for i in range(8)]
    for i in (5, 6, 7):  # each chi hangs on the one before
        groups[i] = groups[i - 1].compose(groups[i])
    return backbone.unsqueeze(-1).compose(Rigid.stack(groups, dim=len(turn.shape) - 3))


def groups_to_atom14(
    groups: Rigid, seq: Int[Tensor, "*#n"]
) -> tuple[Float[Tensor, "*n 14 3"], Bool[Tensor, "*n 14"]]:
    """Atoms at their ideal places in the rigid groups, and which atoms each residue has.

    Absent atoms are at zero. Jumper et al. (2021) Suppl. Alg. 24, line 11.
    """
    group = of_residue("ATOM14_GROUP", seq).expand(*groups.shape[:-1], 14)
    rot = torch.take_along_dim(groups.rot, group[..., None, None], dim=-3)
    trans = torch.take_along_dim(groups.trans, group[..., None], dim=-2)
    ideal = of_residue("ATOM14_LITERATURE", seq, groups.trans.dtype)
    mask = of_residue("ATOM14_MASK", seq).expand(group.shape)
    return Rigid(rot, trans).apply(ideal) * mask[..., None], mask


def groups_from_atom14(
    seq: Int[Tensor, "*n"], positions: Float[Tensor, "*n 14 3"], mask: Bool[Tensor, "*n 14"]
) -> tuple[Rigid, Bool[Tensor, "*n 8"]]:
    """The rigid groups (`*n g`) of a known structure, and which are known.

    A group is known where its three atoms are; elsewhere it is the identity. Pre-omega and phi
    have no heavy atoms and are never known. For the other naming of chemically equal atoms turn
    the result by `alternative_groups`. Jumper et al. (2021) Suppl. Sec. 1.8.1 and Alg. 21.
    """
    index = of_residue("GROUP_ATOMS", seq)  # *n group point
    shape, flat = index.shape[-2:], index.flatten(-2)
    points = torch.take_along_dim(positions, flat[..., None], dim=-2).unflatten(-2, shape)
    known = torch.take_along_dim(mask, flat, dim=-1).unflatten(-1, shape).all(-1)
    known = known & of_residue("GROUP_MASK", seq)
    frames = Rigid.from_three_points(*points.unbind(-2))
    # The backbone alone has its first atom, C, on the positive x axis: turn it about y.
    back = torch.ones(8, 3, device=positions.device, dtype=positions.dtype)
    back[0, 0] = back[0, 2] = -1
    nothing = Rigid.identity(known.shape, frames.trans)
    rot = torch.where(known[..., None, None], frames.rot * back[:, None, :], nothing.rot)
    return Rigid(rot, torch.where(known[..., None], frames.trans, nothing.trans)), known


def alternative_groups(seq: Int[Tensor, "*n"], groups: Rigid) -> Rigid:
    """The groups under the other naming of chemically equal atoms: ambiguous ones turn by 180
    degrees about x (Asp and Phe and Tyr chi 2, Glu chi 3).

    Jumper et al. (2021) Suppl. Alg. 26 and Sec. 1.8.5.
    """
    ambiguous = of_residue("GROUP_AMBIGUOUS", seq)[..., None, None]
    half_turn = groups.rot.new_tensor([1.0, -1.0, -1.0])
    return Rigid(torch.where(ambiguous, groups.rot * half_turn, groups.rot), groups.trans)


def swap_ambiguous(
    seq: Int[Tensor, "*n"], positions: Float[Tensor, "*n 14 3"], mask: Bool[Tensor, "*n 14"]
) -> tuple[Float[Tensor, "*n 14 3"], Bool[Tensor, "*n 14"]]:
    """The same structure with chemically equal atoms of Asp, Glu, Phe and Tyr named the other way.

    Jumper et al. (2021) Suppl. Table 3.
    """
    twin = of_residue("ATOM14_SWAP", seq)
    return (
        torch.take_along_dim(positions, twin[..., None], dim=-2),
        torch.take_along_dim(mask, twin, dim=-1),
    )


def _reorder(order: str, exists: str, seq: Tensor, positions: Tensor, mask: Tensor):
    index = of_residue(order, seq)
    mask = torch.take_along_dim(mask, index, dim=-1) & of_residue(exists, seq)
    positions = torch.take_along_dim(positions, index[..., None], dim=-2)
    return torch.where(mask[..., None], positions, 0.0), mask


def atom14_to_atom37(
    seq: Int[Tensor, "*n"], positions: Float[Tensor, "*n 14 3"], mask: Bool[Tensor, "*n 14"]
) -> tuple[Float[Tensor, "*n 37 3"], Bool[Tensor, "*n 37"]]:
    """From each residue's own order to `ATOM37_NAMES`; zero where masked or where X has no name."""
    return _reorder("ATOM37_TO_ATOM14", "ATOM37_MASK", seq, positions, mask)


def atom37_to_atom14(
    seq: Int[Tensor, "*n"], positions: Float[Tensor, "*n 37 3"], mask: Bool[Tensor, "*n 37"]
) -> tuple[Float[Tensor, "*n 14 3"], Bool[Tensor, "*n 14"]]:
    """From `ATOM37_NAMES` to each residue's own order; zero where masked; drops OXT."""
    return _reorder("ATOM14_TO_ATOM37", "ATOM14_MASK", seq, positions, mask)


def pseudo_beta(
    seq: Int[Tensor, "*n"], positions: Float[Tensor, "*n a 3"], mask: Bool[Tensor, "*n a"]
) -> tuple[Float[Tensor, "*n 3"], Bool[Tensor, "*n"]]:
    """C-beta, of glycine CA, and whether it is known; atom14 slots, at least five of them.

    Jumper et al. (2021) Suppl. Sec. 1.9.8 measures distances between these.
    """
    glycine = seq == RESIDUES.index("G")
    xyz = torch.where(glycine[..., None], positions[..., 1, :], positions[..., CB, :])
    return xyz, torch.where(glycine, mask[..., 1], mask[..., CB])


def place_cbeta(
    n: Float[Tensor, "*n 3"], ca: Float[Tensor, "*n 3"], c: Float[Tensor, "*n 3"]
) -> Float[Tensor, "*n 3"]:
    """Where the C-beta of an ideal alanine lies on this backbone, for any residue."""
    ideal = table("ATOM14_LITERATURE", ca.device, ca.dtype)[RESIDUES.index("A"), CB]
    return backbone_frames(torch.stack([n, ca, c], -2)).apply(ideal)


def cbeta_or_placed(
    seq: Int[Tensor, "*n"], positions: Float[Tensor, "*n a 3"], mask: Bool[Tensor, "*n a"]
) -> tuple[Float[Tensor, "*n 3"], Bool[Tensor, "*n"]]:
    """C-beta where it is known, else placed on a known backbone (always so for glycine).

    Atom14 slots, at least five of them. What contact metrics measure.
    """
    own = mask[..., CB] & (seq != RESIDUES.index("G"))
    n, ca, c = positions[..., 0, :], positions[..., 1, :], positions[..., 2, :]
    xyz = torch.where(own[..., None], positions[..., CB, :], place_cbeta(n, ca, c))
    return xyz, own | mask[..., :3].all(-1)


def distance_bins(
    points: Float[Tensor, "*b n 3"], first: float = 3.25, last: float = 20.75, bins: int = 15
) -> Float[Tensor, "*b n n k"]:
    """One-hot bins of the distances of all pairs: equal widths from `first`, the last one open.

    Pairs nearer than `first`, a point with itself too, fall in no bin. Jumper et al. (2021) Suppl.
    Alg. 32; for templates `last=50.75, bins=39` (Suppl. Table 1).
    """
    lower = torch.linspace(first, last, bins, device=points.device, dtype=points.dtype) ** 2
    upper = torch.cat([lower[1:], lower.new_full((1,), 1e8)])
    apart = points[..., :, None, :] - points[..., None, :, :]
    squared = (apart * apart).sum(-1, keepdim=True)
    return ((squared > lower) & (squared < upper)).to(points.dtype)
