"""A protein as rigid coarse-grained nodes that an Equiformer puts back in place.

In the manner of EquiFold (Lee et al. (2022)): a residue is two rigid nodes, backbone and side
chain, which the network shifts and turns with their atoms. It learns on noise of one real chain,
then sees new noise. Run from anywhere: `python examples/equifold.py`.
"""

from pathlib import Path

import torch
from torch import nn

from alphafold2_pytorch import Equiformer
from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.geometry.atoms import backbone_frames
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.rotations import quaternion_to_rotation

FILE = Path(__file__).parent / "data" / "1a3a_C.pdb"
RESIDUES, STEPS, NOISE = 48, 60, 2.0  # noise in angstrom
BACKBONE = torch.arange(14) < 5  # N CA C O CB of atom14; the rest is side chain


def small_turn(vectors):  # about them, by nearly twice their length in radians
    return quaternion_to_rotation(torch.cat([torch.ones_like(vectors[..., :1]), vectors], -1))


class Refiner(nn.Module):
    """A node's shift and turn, from its type and axes and those of its neighbours."""

    def __init__(self, kinds: int, dim: int = 24):
        super().__init__()
        self.kind = nn.Embedding(kinds, dim)
        self.network = Equiformer(
            dim=(dim, 12), dim_in=(dim, 3), input_degrees=2, heads=4, dim_head=8, num_neighbors=12
        )
        self.update = nn.Linear(12, 2, bias=False)  # two vectors a node: a shift and a turn

    def forward(self, kinds, frames):
        feats = {0: self.kind(kinds)[..., None], 1: frames.rot.mT}  # degree 1: the three axes
        vectors = self.network(feats, frames.trans).type1  # (b, nodes, 12, 3)
        shift, turn = self.update(vectors.mT).unbind(-1)
        return Rigid(small_turn(0.1 * turn) @ frames.rot, frames.trans + shift)


def nodes_of(chain):
    """Of the nodes with atoms: kinds, frames, atoms, and which there are."""
    types = torch.tensor([ord(letter) - ord("A") for letter in chain.sequence])[:RESIDUES]
    atoms = torch.from_numpy(chain.positions)[:RESIDUES, None].float()
    mask = torch.from_numpy(chain.atom_mask)[:RESIDUES, None]
    mask = mask & torch.stack([BACKBONE, ~BACKBONE])  # residues, 2 nodes, 14 atoms
    centres = (atoms * mask[..., None]).sum(2) / mask.sum(2, keepdim=True).clamp(min=1)
    frames = Rigid(backbone_frames(atoms).rot.expand(-1, 2, 3, 3), centres)
    kinds, has = torch.stack([types, types + 26], 1), mask.any(-1)
    return kinds[has][None], frames[has], atoms.expand(-1, 2, -1, -1)[has], mask[has]


torch.manual_seed(0)
kinds, true, atoms, mask = nodes_of(read_structure(FILE))
local = true.unsqueeze(-1).apply_inverse(atoms)  # atoms ride on nodes


def rmsd(frames):
    return (frames.unsqueeze(-1).apply(local) - atoms).square().sum(-1)[..., mask].mean().sqrt()


def noisy():
    shift, turn = NOISE / 3**0.5 * torch.randn(2, 1, *true.shape, 3)
    return Rigid(small_turn(0.1 * turn) @ true.rot, true.trans + shift)


model = Refiner(kinds=2 * 26)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(STEPS):
    optimizer.zero_grad()
    rmsd(model(kinds, noisy())).backward()
    optimizer.step()
with torch.no_grad():
    before, after = rmsd(start := noisy()), rmsd(model(kinds, start))
print(f"{kinds.shape[1]} nodes: RMSD {before:.2f} -> {after:.2f} angstrom")
