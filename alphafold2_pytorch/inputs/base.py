"""What every way into the trunk offers."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.data.parse.records import Template
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs.once import EACH_TIME, Once
from alphafold2_pytorch.inputs.recycling import RecyclingEmbedding
from alphafold2_pytorch.inputs.relpos import RelativePosition
from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.streams import Recycled, Streams


class Asked(NamedTuple):
    """What `fold` is given, before features are drawn from it."""

    sequence: str
    msa: Any
    templates: list[Template]
    max_rows: int | None
    seed: int


class InputEmbedding(nn.Module, ABC):
    """Features and what the last cycle found become streams; the only sum.

    All have relative positions and recycling. `config.inputs` chooses one by its registered name.
    `reads` are the fields of `Features` that it knows: others are refused. `places_cbeta` says
    whether a residue without a C-beta recycles one placed from its backbone; in AlphaFold2 it is
    at the origin.
    """

    reads: frozenset[str]
    places_cbeta = True

    def __init__(self, config: Alphafold2Config):
        super().__init__()
        self.dims = config.dim, config.width_msa
        self.relative_position = RelativePosition(config.dim)
        self.recycling = RecyclingEmbedding(config.dim, config.width_msa, config.predict_coords)

    @abstractmethod
    def forward(self, features: Features, recycled: Recycled, once: Once = EACH_TIME) -> Streams:
        """What `once` keeps is of the features alone. `ValueError` names those that are missing."""

    @abstractmethod
    def draw(self, asked: Asked, samples: int) -> list[Features]:
        """Features without a batch axis: one for each cycle and ensemble member."""

    def first(self, features: Features) -> Recycled:
        """What the first cycle sees in place of a last one: zeros."""
        (b, n), (dim, dim_msa) = features.seq.shape, self.dims
        like = self.relative_position.embed.weight
        zeros = torch.zeros(b, n, 3, device=like.device)
        aligned = features.msa.shape[-1] == n
        return Recycled(
            pair=like.new_zeros(1, 1, 1, dim).expand(b, n, n, dim),
            msa_first=like.new_zeros(b, n, dim_msa) if aligned else None,
            cbeta=zeros if self.recycling.distances is not None else None,
        )


SEQUENCE = frozenset({"seq", "residue_index", "mask", "msa", "deletions", "msa_mask"})
INPUTS: Registry[InputEmbedding] = Registry("input embedding")
