"""Heads with their losses, one file each; importing the folder fills `HEADS`."""

from alphafold2_pytorch.heads.base import (
    HEADS,
    Head,
    refuse_not_finite,
    set_shares,
    summed_loss,
    total_loss,
)
from alphafold2_pytorch.registry import import_siblings

import_siblings(__name__, __path__)

__all__ = ["HEADS", "Head", "refuse_not_finite", "set_shares", "summed_loss", "total_loss"]
