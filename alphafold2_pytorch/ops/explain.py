"""Which kernel ran where in a model, and why the others did not."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.ops.runtime import Operation, set_runtime
from alphafold2_pytorch.typing import Tensor


@dataclass(frozen=True)
class Call:
    """What an operation ran. `where`: the class of the layer that holds it. `why`: of each other
    choice, in (name, reason), why it did not run."""

    operation: str
    where: str
    shape: tuple[int, ...]
    dtype: str
    ran: str
    why: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Explanation:
    """How often each kind of call was made, in the order of their first; `str()` is a table."""

    calls: dict[Call, int]

    def __str__(self) -> str:
        notes: dict[tuple, int] = {}
        lines = [("operation", "where", "shape", "dtype", "ran", "times", "others")]
        for call, times in self.calls.items():
            shape = " ".join(map(str, call.shape))
            note = f"[{notes.setdefault(call.why, len(notes) + 1)}]" if call.why else ""
            lines.append(
                (call.operation, call.where, shape, call.dtype, call.ran, str(times), note)
            )
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        for why, number in notes.items():
            table.append("")
            table += [f"[{number}] not {name}: {reason}" for name, reason in why]
        return "\n".join(table)


def explain(model: Any, features: Any, runtime: Runtime | None = None) -> Explanation:
    """Run `model.predict(features)` once and tell which kernel each operation ran, and why.

    In evaluation mode, without gradients, and as `set_runtime(model, runtime)` would have it if
    one is given; modes and runtimes are put back. Compiled blocks are told as they run without the
    compiler. Errors are those of `predict` and `set_runtime`.
    """
    names = {id(module): where(model, name) for name, module in model.named_modules()}
    calls: Counter[Call] = Counter()

    def note(operation: Operation, name: str, x: Tensor, why: dict[str, str]) -> None:
        if id(operation) in names:  # another model may run in another thread
            kind, layer = type(operation).__name__, names[id(operation)]
            dtype = str(x.dtype).removeprefix("torch.")
            calls[Call(kind, layer, tuple(x.shape), dtype, name, tuple(why.items()))] += 1

    with as_it_was(model), listening(note), torch.no_grad():
        if runtime is not None:
            set_runtime(model, runtime)
        model.eval()
        with torch.compiler.set_stance("force_eager"):
            model.predict(features)
    return Explanation(dict(calls))


def where(model: nn.Module, name: str) -> str:
    """The class of the residual update that a module is part of, or of what holds the module."""
    parts = name.split(".")[:-1]
    holders = [model.get_submodule(".".join(parts[:end])) for end in range(len(parts) + 1)]
    updates = [each for each in holders if hasattr(each, "writes")]
    return type((updates or holders)[-1]).__name__


@contextmanager
def listening(note: Callable[[Operation, str, Tensor, dict[str, str]], None]) -> Iterator[None]:
    """Have every operation call `note`."""
    before, Operation.listener = Operation.listener, note
    try:
        yield
    finally:
        Operation.listener = before


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Put back mode and runtime of every module."""
    before = [(each, each.training, getattr(each, "runtime", None)) for each in model.modules()]
    try:
        yield
    finally:
        for module, training, runtime in before:
            module.training = training
            if isinstance(runtime, Runtime):
                module.runtime = runtime  # type: ignore[assignment]
