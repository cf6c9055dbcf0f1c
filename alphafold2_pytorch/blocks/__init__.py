"""Trunk blocks, one file each; importing the folder fills `BLOCKS`."""

from alphafold2_pytorch.blocks.base import BLOCKS, Block, register_block
from alphafold2_pytorch.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["BLOCKS", "Block", "register_block"]
