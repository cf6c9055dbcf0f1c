"""Names to classes: how a config's word finds the one file that implements it."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """The named choices of one kind; `ValueError` for a name taken twice, or that nobody has."""

    def __init__(self, kind: str):
        self.kind = kind
        self.entries: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        if name in self.entries:
            raise ValueError(f"{self.kind} {name!r} is taken by {self.entries[name]!r}")
        return lambda entry: self.entries.setdefault(name, entry)

    def __getitem__(self, name: str) -> type[T]:
        if name not in self.entries:
            raise ValueError(f"unknown {self.kind} {name!r}; choose from {sorted(self.entries)}")
        return self.entries[name]


def import_siblings(package: str, path: list[str]) -> None:
    """Import every module of a package, so that each registers what it defines."""
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
