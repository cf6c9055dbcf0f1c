"""Ways to compute a triangle multiplication, one file each; importing the folder fills `TRIANGLES`."""

from alphafold2_pytorch.ops.triangles.base import TRIANGLES, TriangleWeights
from alphafold2_pytorch.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["TRIANGLES", "TriangleWeights"]
