"""Distances of a real protein as the model would give them, back to atoms, and how near they are.

Run from anywhere: `python examples/distogram.py`.
"""

from pathlib import Path

import torch

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.utils import (
    DISTANCE_BINS,
    GDT,
    RMSD,
    Kabsch,
    MDScaling,
    TMscore,
    center_distogram_torch,
    lDDT,
)

DATA = Path(__file__).parent / "data"

# What a model gives: logits of 37 bins, up to 2, 2.5 ... 19.5 angstrom and beyond.
torch.manual_seed(0)
model = Alphafold2(dim=32, depth=1, heads=2, dim_head=16).eval()
with torch.no_grad():
    distogram = model(torch.randint(0, 21, (1, 32)), torch.randint(0, 21, (1, 5, 30)))
print(f"an untrained model's distogram: {tuple(distogram.shape)}")

# The distogram a perfect model would give for a real chain (C-alpha, one point a residue).
trace = torch.from_numpy(read_structure(DATA / "1a3a_C.pdb").positions[:, 1])
bins = torch.bucketize(torch.cdist(trace, trace), DISTANCE_BINS[:-1])
distogram = 10.0 * torch.nn.functional.one_hot(bins, 37).float()[None]

distances, weights = center_distogram_torch(distogram)  # what is beyond has weight 0
one_a_residue = torch.ones(1, len(trace), dtype=torch.bool)
coords, stresses = MDScaling(distances, weights=weights, iters=100, CA_mask=one_a_residue)
found, true = Kabsch(coords, trace.T)
print(f"stress {stresses[0, 0]:.4f} -> {stresses[-1, 0]:.4f} in {len(stresses) - 1} steps")
print(f"RMSD {RMSD(found, true).item():.2f} angstrom, TM-score {TMscore(found, true).item():.2f}")
print(f"GDT_TS {GDT(found, true).item():.2f}, GDT_HA {GDT(found, true, mode='HA').item():.2f}")
print(f"lDDT {lDDT(found, true).item():.2f}")
