"""What a head has to offer, and the sum of their losses."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Prediction, Structure, Targets
from alphafold2_pytorch.geometry.distances import Distances
from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.streams import Representations
from alphafold2_pytorch.typing import Bool, Float, Tensor


class Head(nn.Module, ABC):
    """Reads the representations; owns the loss that trains it, weighted by `share`.

    `reads` says when it can run: after the trunk, or only once there is a structure.
    """

    reads: Literal["trunk", "structure"] = "trunk"
    share: float = 1.0
    weights: Mapping[str, float] = {}  # of parts of the loss that are weighed on their own
    pair_channels: int = 0  # how many numbers it gives for each pair of residues

    @classmethod
    def wanted(cls, config: Alphafold2Config) -> bool:
        """Whether a model of this config has the head: by default, whenever it can run."""
        return cls.reads == "trunk" or config.predict_coords

    @classmethod
    def from_config(cls, config: Alphafold2Config, name: str) -> "Head":
        """Built with the pair width and the head's own options."""
        return cls(config.dim, **config.options.get(name, {}))

    @abstractmethod
    def forward(self, x: Representations) -> Tensor:
        """What is predicted."""

    @abstractmethod
    def loss(
        self, output: Tensor, truth: Targets, structure: Structure | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The loss by part; the parts are summed. `structure` is what the model predicted."""


class DistanceHead(Head):
    """Says how far apart the C-beta atoms of each pair are; a model has exactly one."""

    edges: Tensor | None  # angstrom, between bins; None: the output is not in bins

    @abstractmethod
    def distances(self, output: Float[Tensor, "b n n k"]) -> Distances:
        """What the output means."""


HEADS: Registry[Head] = Registry("head")


def required(structure: Structure | None, head: str) -> Structure:
    """The structure, or `ValueError` if the model predicts none."""
    if structure is None:
        raise ValueError(f"head {head!r} needs a structure: use predict_coords=True")
    return structure


def at_resolution(truth: Targets, limits: Sequence[float] | None) -> Bool[Tensor, " b"]:
    """Which chains a loss that asks for a resolution within `limits` (angstrom) counts.

    All of them where `limits` are None, or where the data do not speak of resolutions at all; a
    single chain without one says 0 or NaN, and does not count.
    """
    everyone = torch.ones(truth.seq.shape[:1], dtype=torch.bool, device=truth.seq.device)
    if limits is None or truth.resolution is None:
        return everyone
    low, high = limits
    return (truth.resolution >= low) & (truth.resolution <= high)


def set_shares(heads: nn.ModuleDict, shares: Mapping[str, float]) -> None:
    """Weigh the losses anew: of a whole head by its name, of one part by `head.part`.

    `ValueError` names what these heads do not have, and what they do.
    """
    for name, share in shares.items():
        head, _, part = name.partition(".")
        if head not in heads:
            raise ValueError(f"share names the head {head!r}; this model has {sorted(heads)}")
        module = cast(Head, heads[head])
        if not part:
            module.share = float(share)
        elif part in module.weights:
            module.weights = {**module.weights, part: float(share)}
        else:
            parts = sorted(module.weights) or "no parts that can be weighed"
            raise ValueError(f"share names {name!r}; head {head!r} has {parts}")


def total_loss(
    heads: nn.ModuleDict, prediction: Prediction, truth: Targets
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Sum of share * loss over the heads, and every part by name, detached and before its share.

    `FloatingPointError` names a part that is not finite.
    """
    total, parts = summed_loss(heads, prediction, truth)
    values = torch.stack([torch.zeros(()).to(total), *parts.values()]).tolist()[1:]
    refuse_not_finite(dict(zip(parts, values, strict=True)))
    return total, {part: value for (_, part), value in parts.items()}


def summed_loss(
    heads: nn.ModuleDict, prediction: Prediction, truth: Targets
) -> tuple[Float[Tensor, ""], dict[tuple[str, str], Tensor]]:
    """`total_loss`, with the parts by head and name, and without a look at what came out.

    So nothing waits for a GPU: `refuse_not_finite` has to be told the values, once they are known.
    """
    total = torch.zeros((), device=truth.positions.device)
    parts: dict[tuple[str, str], Tensor] = {}
    for name, module in heads.items():
        head = cast(Head, module)
        each = head.loss(prediction.outputs[name], truth, prediction.structure)
        for part, value in each.items():
            total = total + head.share * value
            parts[name, part] = value.detach()
    return total, parts


def refuse_not_finite(values: Mapping[tuple[str, str], float]) -> None:
    """`FloatingPointError` names the first part of a loss, by head and name, that is not finite."""
    for (head, part), value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss {part!r} of head {head!r} is {value}")
