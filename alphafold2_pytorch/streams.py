"""What the trunk carries, what heads read, and what the next cycle sees."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn.functional import pad

from alphafold2_pytorch.features import Structure
from alphafold2_pytorch.typing import Bool, Float, Tensor


@dataclass(frozen=True)
class Streams:
    """A mask is True where there is data. The MSA may be longer or shorter than the sequence."""

    pair: Float[Tensor, "b n n d"]
    msa: Float[Tensor, "b s m d_msa"]
    pair_mask: Bool[Tensor, "b n n"]
    msa_mask: Bool[Tensor, "b s m"]
    extra: Float[Tensor, "b x m d_extra"] | None = None  # MSA rows of which only pairs learn
    extra_mask: Bool[Tensor, "b x m"] | None = None
    owned: bool = False  # True: made by the model itself, so it may be overwritten

    def mine(self, stream: str, step: nn.Module) -> Tensor | None:
        """The stream itself where `step` may add its update to it, piece by piece: nobody else sees
        it and no gradient is wanted. None: the step has to give its update out.
        """
        free = self.owned and not torch.is_grad_enabled() and not step.training
        return getattr(self, stream) if free else None

    def add(self, stream: str, update: Tensor) -> "Streams":
        """The only way a stream changes; in place where nobody else can see it."""
        old = getattr(self, stream)
        if self.owned and not torch.is_grad_enabled():
            old += update
            return self
        return replace(self, **{stream: old + update})

    def padded(self, residues: int, rows: int, columns: int) -> "Streams":
        """The same among masked zeros, of these sizes; copies. The extra MSA is left out."""
        more = residues - self.pair.shape[1]
        down, right = rows - self.msa.shape[1], columns - self.msa.shape[2]
        return Streams(
            pair=pad(self.pair, (0, 0, 0, more, 0, more)),
            msa=pad(self.msa, (0, 0, 0, right, 0, down)),
            pair_mask=pad(self.pair_mask, (0, more, 0, more)),
            msa_mask=pad(self.msa_mask, (0, right, 0, down)),
            owned=True,
        )

    def cropped(self, residues: int, rows: int, columns: int) -> "Streams":
        """The first of each; views."""
        return replace(
            self,
            pair=self.pair[:, :residues, :residues],
            msa=self.msa[:, :rows, :columns],
            pair_mask=self.pair_mask[:, :residues, :residues],
            msa_mask=self.msa_mask[:, :rows, :columns],
        )


@dataclass
class Recycled:
    """What one cycle hands to the next; no gradient flows back through it."""

    pair: Float[Tensor, "b n n d"]
    msa_first: Float[Tensor, "b n d_msa"] | None  # None: the MSA is not aligned to the sequence
    cbeta: Float[Tensor, "b n 3"] | None  # angstrom; None: the model predicts no coordinates
    readers: int = 1  # of the pairs: the members of an ensemble

    def take_pair(self) -> Float[Tensor, "b n n d"]:
        """The pairs, once for each reader; not kept for longer, as nothing else is so large."""
        pair, self.readers = self.pair, self.readers - 1
        if not self.readers:
            self.pair = pair.new_empty(0)
        return pair


@dataclass(frozen=True)
class Representations:
    """What heads read: the trunk's results, later joined by the structure."""

    single: Float[Tensor, "b n d_single"] | None  # None: the model predicts no coordinates
    pair: Float[Tensor, "b n n d"]
    msa: Float[Tensor, "b s m d_msa"]
    mask: Bool[Tensor, "b n"]
    msa_first: Float[Tensor, "b n d_msa"] | None = None  # None: the MSA is not aligned
    structure: Structure | None = None

    @property
    def named(self) -> dict[str, Tensor]:
        """Those of the trunk that there are, by name."""
        names = ("single", "pair", "msa", "msa_first")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @classmethod
    def mean(cls, members: Iterable["Representations"]) -> "Representations":
        """Of an ensemble, one after the other; the MSA is the first member's.

        Jumper et al. (2021) Suppl. Alg. 2 lines 4-21: single, pair and first MSA row are averaged.
        """
        total: Representations | None = None
        count = 0
        for member in members:
            total = member if total is None else total.plus(member)
            count += 1
            del member  # while the next one is made only the sum is held
        if total is None:
            raise ValueError("an ensemble needs at least one member")
        if count == 1:
            return total
        return total.averaged(lambda _, value: value / count)

    def plus(self, other: "Representations") -> "Representations":
        """The sums of what an ensemble averages; the rest is this one's."""
        return self.averaged(lambda name, value: value + getattr(other, name))

    def averaged(self, change: Callable[[str, Tensor], Tensor]) -> "Representations":
        """With what an ensemble averages replaced."""
        found = {name: change(name, value) for name, value in self.named.items() if name != "msa"}
        return replace(self, **found)  # type: ignore[arg-type]
