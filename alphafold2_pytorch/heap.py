"""Freed memory that is kept for the next tensor."""

import ctypes
import os

LARGEST = 32 * 2**20  # bytes of a tensor whose memory is kept; of larger ones holes would remain
MOST = 256 * 2**20  # bytes that are kept free at the end of the heap
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of `mallopt`, as <malloc.h> has them
keeps = False  # whether this process does


def keep_freed_memory() -> bool:
    """Let this process keep up to 256 MiB of what it frees; False where the C library cannot, or
    where `MALLOC_MMAP_THRESHOLD_` or `MALLOC_TRIM_THRESHOLD_` of the environment already decide.

    glibc gives back to the system what tensors held, and each new one waits until the system has
    cleared its pages: on a CPU up to a tenth of the time of a short chain. This holds for the whole
    process, so importing the package does not do it: the command line does, when it starts.
    """
    global keeps
    if {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & set(os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc: macOS, Windows, musl
        return False
    keeps = bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, MOST))
    return keeps


def make_room(size: int) -> None:
    """Give back what `keep_freed_memory` has kept, if tensors of so many bytes cannot lie in it."""
    if keeps and size >= LARGEST:
        ctypes.CDLL(None).malloc_trim(0)
