"""How much memory is free, and in pieces of which size a model computes where nobody says it."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.typing import Tensor

LEAST = 2**20  # bytes of a piece
# Measured on a CPU: a piece of some MiB stays in its cache, and larger temporaries are given back
# to the system and come from it again page by page. A GPU must be filled by a piece.
MOST = {"cpu": 8 * 2**20, "cuda": 256 * 2**20}
SHARE = 16  # so many fit into what is free: what a prediction holds beside a piece is larger
GROUP = Path("/sys/fs/cgroup")  # a container's own limit, below what the machine has
# Files of a limit, of what is used, and of what it is used for, with the word there for cached
# file pages, which are given up when a program asks for memory: cgroup versions 2 and 1.
LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def free_memory(device: torch.device) -> int | None:
    """Bytes that can still be had on a device; None where the system does not tell."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    found = [each for each in (machine_memory(), group_memory()) if each is not None]
    return min(found, default=None)


def machine_memory() -> int | None:
    """What Linux says is available; elsewhere all the machine has, if it tells."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def group_memory() -> int | None:
    """What the container's limit leaves (Linux control groups), None without a limit."""
    for limit, current, stat, word in LIMITS:
        try:
            most = (GROUP / limit).read_text().strip()
            used = int((GROUP / current).read_text())
            files = (GROUP / stat).read_text().split()
        except (OSError, ValueError):
            continue
        if most == "max":
            return None
        cached = int(files[files.index(word) + 1]) if word in files else 0
        return max(0, int(most) - used + cached)
    return None


def choose_piece(device: torch.device) -> int:
    """Bytes of a piece for what is free now: a power of two from `LEAST` to `MOST`.

    In steps of two, so that it seldom differs between two predictions: blocks that were compiled
    are compiled for one size.
    """
    size, free = MOST.get(device.type, MOST["cpu"]), free_memory(device)
    while free is not None and size > LEAST and size * SHARE > free:
        size //= 2
    return size


def room(shape: list[int], like: Tensor) -> Tensor:
    """Uninitialised, for what pieces make together; of the dtype and on the device of `like`.

    On a CPU by NumPy, which asks Linux for large pages: 512 times fewer that the system must find
    and clear while it is filled.
    """
    if like.device.type != "cpu" or torch.compiler.is_compiling():
        return like.new_empty(shape)
    plain = np.empty(math.prod(shape) * like.element_size(), np.uint8)
    return torch.from_numpy(plain).view(like.dtype).view(shape)


@contextmanager
def pieces_chosen(model: nn.Module, device: torch.device) -> Iterator[None]:
    """While open, what is left open in `Runtime.chunk_bytes` is decided, for all modules alike."""
    waiting = {
        module: runtime
        for module in model.modules()
        if isinstance(runtime := getattr(module, "runtime", None), Runtime)
        and runtime.chunk_bytes is None
    }
    size = choose_piece(device) if waiting else 0
    try:
        for module, runtime in waiting.items():
            module.runtime = decided(runtime, size)  # type: ignore[assignment]
        yield
    finally:
        for module, runtime in waiting.items():
            module.runtime = runtime  # type: ignore[assignment]


@lru_cache(maxsize=64)
def decided(runtime: Runtime, size: int) -> Runtime:
    """With pieces of this size; the same object each time, as compiled blocks look for it."""
    return replace(runtime, chunk_bytes=size)
