"""What a structure module has to offer."""

import logging
from abc import ABC, abstractmethod

from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Structure
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.typing import Bool, Float, Int, Tensor

# The keywords of a model that speak of its structure module.
WORDS = frozenset(
    {
        "structure_module_dim",
        "structure_module_depth",
        "structure_module_heads",
        "structure_module_dim_head",
        "structure_module_refinement_iters",
        "structure_module_knn",
        "structure_num_global_nodes",
    }
)
logger = logging.getLogger(__name__)
_told: set[str] = set()  # the types whose unread words were logged


class StructureModule(nn.Module, ABC):
    """Turns representations into atoms; moving the world does not change what it does.

    A module that refines instead of building says `needs_start = True` and then gets `start`:
    frames in angstrom that multidimensional scaling of the distogram gives (`structure/start.py`).
    `reads_words` are those of the config's `structure_*` keywords that change it.
    """

    needs_start = False
    reads_words: frozenset[str] = WORDS

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
        residue_index: Int[Tensor, "b n"] | None = None,
    ) -> Structure:
        """Atoms after every step, from the trunk's representations.

        `residue_index` says where in the chain each residue is; None: in the order they come.
        """


STRUCTURES: Registry[StructureModule] = Registry("structure module")


def log_unread(config: Alphafold2Config) -> None:
    """Say once for each type which `structure_*` keywords were set that its module does not read.

    They are no error, so that a model may change `structure_module_type` and nothing else.
    """
    kind = str(config.structure_module_type)
    unread = WORDS - STRUCTURES[kind].reads_words
    if kind in _told or not (given := sorted(w for w in unread if changed(config, w))):
        return
    _told.add(kind)
    logger.warning("structure_module_type=%r does not read %s", kind, ", ".join(given))


def changed(config: Alphafold2Config, word: str) -> bool:
    """Whether a keyword differs from its default."""
    return getattr(config, word) != getattr(type(config), word)
