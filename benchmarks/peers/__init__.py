"""The sides that `benchmark_block.py` measures, a file each, in environments of their own.

A side has `load(arrays) -> Work`. The arrays are one Evoformer block's parameters by DeepMind's
names below the block (`/msa_transition/transition1//weights`), and the streams `in/msa` (s, n, 256)
and `in/pair` (n, n, 128). Nothing here is imported before its environment is there.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Arrays = Mapping[str, Any]  # of numpy


class Work(NamedTuple):
    """How one side is called: `run(copy())` is a forward pass, finished when it returns."""

    copy: Callable[[], Any]  # of the streams, as `run` may overwrite them
    run: Callable[[Any], Any]
    results: Callable[[Any], tuple[Any, Any]]  # MSA and pairs as numpy arrays, in float32
    counted: Callable[[], int] | None = None  # floating-point operations; None: those of our block
    version: str = ""
