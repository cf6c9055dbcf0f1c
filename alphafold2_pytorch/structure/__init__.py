"""Structure modules, one file each; importing the folder fills `STRUCTURES`."""

from alphafold2_pytorch.registry import import_siblings
from alphafold2_pytorch.structure.base import STRUCTURES, StructureModule, log_unread

import_siblings(__name__, __path__)

__all__ = ["STRUCTURES", "StructureModule", "log_unread"]
