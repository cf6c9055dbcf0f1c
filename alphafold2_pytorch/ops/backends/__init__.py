"""Attention kernels, one file each; importing the folder fills `BACKENDS`."""

from alphafold2_pytorch.ops.backends.base import BACKENDS
from alphafold2_pytorch.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["BACKENDS"]
