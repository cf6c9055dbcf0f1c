"""A protein as rigid coarse-grained nodes that an Equiformer puts back in place.

In the manner of EquiFold (Lee et al. (2022)): a residue is two rigid nodes, backbone and side
chain; the network shifts and turns each, and atoms ride on them. It learns for a few seconds on
noise of one real chain, then sees new noise. Run from anywhere: `python examples/equifold.py`.
"""

from pathlib import Path

import torch
from torch import nn

from alphafold2_pytorch import Equiformer
from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.geometry.atoms import backbone_frames
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.rotations import quaternion_to_rotation

RESIDUES, STEPS, NOISE = 48, 60, 2.0  # noise in angstrom
BACKBONE = torch.arange(14) < 5  # N CA C O CB of atom14; the rest is side chain


def small_turn(vectors):
    """Rotations about the vectors, by about twice their length in radians."""
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
    """Nodes that have atoms: their kinds and frames, and their atoms in these frames."""
    letters = sorted(set(chain.sequence))
    types = torch.tensor([letters.index(letter) for letter in chain.sequence])[:RESIDUES]
    atoms = torch.from_numpy(chain.positions)[:RESIDUES].float()
    there = torch.from_numpy(chain.atom_mask)[:RESIDUES]
    there = torch.stack([there & BACKBONE, there & ~BACKBONE], 1)  # residues, 2 nodes, 14 atoms
    centres = (atoms[:, None] * there[..., None]).sum(2) / there.sum(2, keepdim=True).clamp(min=1)
    axes = backbone_frames(atoms).rot[:, None].expand(-1, 2, 3, 3)
    kinds = torch.stack([types, types + len(letters)], 1)
    has = there.any(-1)
    frames = Rigid(axes[has], centres[has])
    own = atoms[:, None].expand(-1, 2, -1, -1)[has]
    return kinds[has][None], frames, frames.unsqueeze(-1).apply_inverse(own), there[has]


torch.manual_seed(0)
chain = read_structure(Path(__file__).parent / "data" / "1a3a_C.pdb")
kinds, true, local, there = nodes_of(chain)


def rmsd(frames):
    """Of all atoms, which ride on the nodes."""
    apart = frames.unsqueeze(-1).apply(local) - true.unsqueeze(-1).apply(local)
    return apart.square().sum(-1)[..., there].mean().sqrt()


def noisy():
    shift, turn = NOISE / 3**0.5 * torch.randn(1, *true.shape, 3), torch.randn(1, *true.shape, 3)
    return Rigid(small_turn(0.1 * turn) @ true.rot, true.trans + shift)


model = Refiner(int(kinds.max()) + 1)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(STEPS):
    loss = rmsd(model(kinds, noisy()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
with torch.no_grad():
    start = noisy()
    print(
        f"{kinds.shape[1]} nodes, RMSD {rmsd(start):.2f} -> {rmsd(model(kinds, start)):.2f} angstrom"
    )
