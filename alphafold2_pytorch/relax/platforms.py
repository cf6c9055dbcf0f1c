"""Where OpenMM computes, and how it gives the same numbers each time."""

import importlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PLATFORMS = {"cuda": "CUDA", "hip": "HIP", "opencl": "OpenCL", "cpu": "CPU"}  # fastest first
# OpenCL that computes without a GPU (pocl, Intel's runtime for processors): OpenMM's own is faster.
ON_PROCESSORS = {"Portable Computing Language", "Intel(R) OpenCL"}


def load(module: str) -> Any:
    """A module of OpenMM or pdbfixer; `ImportError` says how to get them."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in ("openmm", "pdbfixer"):
            raise
        raise ImportError(
            "relaxing needs OpenMM: pip install 'alphafold2-pytorch[relax]'"
        ) from None


@contextmanager
def repeatable(platform: Any) -> Iterator[None]:
    """One thread, ordered sums and the same random numbers, for code that takes no such options."""
    wanted = properties_of(platform, threads=1)
    old = {name: platform.getPropertyDefaultValue(name) for name in wanted}
    state = random.getstate()
    random.seed(0)
    for name, value in wanted.items():
        platform.setPropertyDefaultValue(name, value)
    try:
        yield
    finally:
        random.setstate(state)
        for name, value in old.items():
            platform.setPropertyDefaultValue(name, value)


def properties_of(platform: Any, threads: int) -> dict[str, str]:
    """What a context is made with, of that what the platform knows: OpenCL has no ordered sums."""
    wanted = {"DeterministicForces": "true", "Threads": str(threads), "Precision": "mixed"}
    return {name: wanted[name] for name in platform.getPropertyNames() if name in wanted}


def choose_platform(device: str) -> Any:
    """An OpenMM platform that works here; for `auto` the fastest.

    `ValueError` for an unknown device, or a named one that is absent or broken, with the reason.
    """
    openmm = load("openmm")
    if device != "auto" and device not in PLATFORMS:
        raise ValueError(f"unknown device {device!r}; choose from auto, {', '.join(PLATFORMS)}")
    reason: Exception | None = None
    for name in [device] if device != "auto" else PLATFORMS:
        try:
            platform = openmm.Platform.getPlatformByName(PLATFORMS[name])
            maker = try_out(platform)
        except openmm.OpenMMException as error:
            reason = error
        else:
            if device == name or maker not in ON_PROCESSORS:
                return platform
    raise ValueError(f"OpenMM cannot relax on {device!r} here ({reason}); choose auto")


def try_out(platform: Any) -> str:
    """Whose OpenCL it is, "" for others, found with a context of one particle.

    `OpenMMException` where the platform cannot be used.
    """
    openmm = load("openmm")
    system = openmm.System()
    system.addParticle(1.0)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, platform, properties_of(platform, 1))
    if platform.getName() != "OpenCL":
        return ""
    return platform.getPropertyValue(context, "OpenCLPlatformName")
