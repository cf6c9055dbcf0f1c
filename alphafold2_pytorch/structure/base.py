"""What a structure module has to offer."""

from abc import ABC, abstractmethod

from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor


class StructureModule(nn.Module, ABC):
    """Turns representations into atoms; moving the world does not change what it does.

    A module that refines instead of building says `needs_start = True` and then gets `start`:
    frames in angstrom that multidimensional scaling of the distogram gives (`structure/start.py`).
    """

    needs_start = False

    @classmethod
    @abstractmethod
    def from_config(cls, config: Alphafold2Config) -> "StructureModule":
        """Built from the `structure_module_*` keywords."""

    @abstractmethod
    def forward(
        self,
        single: Float[Tensor, "b n d_single"],
        pair: Float[Tensor, "b n n d"],
        mask: Bool[Tensor, "b n"],
        seq: Int[Tensor, "b n"],
        start: Rigid | None = None,
    ) -> Structure:
        """Atoms after every step, from the trunk's representations."""


STRUCTURES: Registry[StructureModule] = Registry("structure module")
