"""Which backend of a registry runs a call, and why the others do not."""

from importlib.util import find_spec

import torch

from alphafold2_pytorch.graphs import constant_in_graphs
from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.typing import Tensor


def choose(registry: Registry, named: str, auto: tuple[str, ...], *call) -> str:
    """The named backend, or for "auto" the first of `auto` that does not refuse the call.

    `ValueError` if the registry has no such name, or with the reason if all asked refuse.
    """
    for name in auto if named == "auto" else (named,):
        if (refusal := registry[name].refuses(*call)) is None:
            return name
    raise ValueError(f"{registry.kind} {name!r} refuses this input: {refusal}")


def reasons(
    registry: Registry, named: str, auto: tuple[str, ...], chosen: str, *call
) -> dict[str, str]:
    """Of each backend that was not chosen for the call, why."""

    def reason(name: str) -> str:
        if (refusal := registry[name].refuses(*call)) is not None:
            return refusal
        if named != "auto":
            return f"{named!r} is asked for by name"
        return "slower here" if name in auto else "by name only"

    return {name: reason(name) for name in sorted(registry.entries) if name != chosen}


@constant_in_graphs
def missing(packages: tuple[str, ...], install: str) -> str | None:
    """Why a backend cannot run where a package is not installed, and what installs it; or None."""
    for package in packages:
        if find_spec(package) is None:
            return f"{package} is not installed: {install}"
    return None


def extra(name: str) -> str:
    """The command that installs an extra of this package."""
    return f"pip install 'alphafold2-pytorch[{name}]'"


def wants_gradients(*tensors: Tensor | None) -> bool:
    """Whether a backward pass may follow."""
    asked = any(each is not None and each.requires_grad for each in tensors)
    return torch.is_grad_enabled() and asked
