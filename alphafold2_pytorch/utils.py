"""Names that scripts import: distances to coordinates, superposition, scores."""

from alphafold2_pytorch.geometry.distances import DISTANCE_BINS, center_distogram_torch
from alphafold2_pytorch.geometry.scaling import MDScaling
from alphafold2_pytorch.losses.scores import GDT, RMSD, Kabsch, TMscore, lDDT

__all__ = [
    "DISTANCE_BINS",
    "GDT",
    "RMSD",
    "Kabsch",
    "MDScaling",
    "TMscore",
    "center_distogram_torch",
    "lDDT",
]
