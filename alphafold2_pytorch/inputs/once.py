"""What depends on features alone is not computed anew in each cycle."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from alphafold2_pytorch.features import Features
from alphafold2_pytorch.typing import Tensor

Term = TypeVar("Term", Tensor, tuple[Tensor, ...])


class Once:
    """Keeps the terms of input embeddings that later cycles of one prediction will want again.

    `samples` are all that the prediction reads, in this order. A term is kept if all of them have
    the same of the fields that it is made of, as long as what is kept takes at most `room` bytes,
    and let go when the last sample is embedded. With gradients nothing is kept: the last cycle has
    them, those before it do not. Whoever asks must not change what is given, in place.
    """

    def __init__(self, samples: Sequence[Features] = (), room: int = 0):
        self.samples, self.room = samples, room
        self.kept: dict[str, tuple] = {}
        self.wanted: dict[str, int] = {}  # how often each of those will be asked for

    def __call__(self, name: str, fields: Iterable[str], make: Callable[[], Term]) -> Term:
        """The term of this name, from `make`, which reads no others than `fields` of a sample."""
        if torch.is_grad_enabled():
            return make()
        if name in self.kept:
            self.wanted[name] -= 1
            return self.kept[name][0] if self.wanted[name] else self.kept.pop(name)[0]
        term = make()
        size = sum(each.nbytes for each in ((term,) if isinstance(term, Tensor) else term))
        if len(self.samples) > 1 and size <= self.room and self._same(fields):
            self.room -= size
            self.kept[name], self.wanted[name] = (term,), len(self.samples) - 1
        return term

    def _same(self, fields: Iterable[str]) -> bool:
        first, *others = self.samples
        return all(same(getattr(first, f), getattr(each, f)) for f in fields for each in others)


def same(one: Tensor | None, other: Tensor | None) -> bool:
    """Whether two fields say the same; an entry that is NaN equals none."""
    if one is None or other is None:
        return one is other
    return one is other or torch.equal(one, other)


EACH_TIME = Once()  # keeps nothing


def room(piece: int) -> int:
    """Bytes that a prediction in pieces of so many bytes may keep: 32 pieces as small as on a CPU,
    up to 256 MiB, or 8 of any size, which are half of what was free."""
    return max(8 * piece, min(32 * piece, 2**28))
