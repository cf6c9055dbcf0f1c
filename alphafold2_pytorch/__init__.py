"""AlphaFold2 in PyTorch, to import, rewire and train; start with `Alphafold2`.

Names load on first use (PEP 562), so that the command line starts without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphafold2_pytorch.blocks import Block, register_block
    from alphafold2_pytorch.config import Alphafold2Config, Runtime
    from alphafold2_pytorch.features import Features, Prediction
    from alphafold2_pytorch.heap import keep_freed_memory
    from alphafold2_pytorch.model import Alphafold2
    from alphafold2_pytorch.ops.explain import explain
    from alphafold2_pytorch.structure.egnn import EGNN
    from alphafold2_pytorch.structure.en import EnTransformer
    from alphafold2_pytorch.structure.equiformer import Equiformer
    from alphafold2_pytorch.structure.point_attention import (
        InvariantPointAttention,
        IPABlock,
        IPATransformer,
    )
    from alphafold2_pytorch.structure.se3 import SE3Transformer

__all__ = [
    "EGNN",
    "Alphafold2",
    "Alphafold2Config",
    "Block",
    "EnTransformer",
    "Equiformer",
    "Features",
    "IPABlock",
    "IPATransformer",
    "InvariantPointAttention",
    "Prediction",
    "Runtime",
    "SE3Transformer",
    "explain",
    "keep_freed_memory",
    "register_block",
]
_HOMES = {
    "EGNN": "structure.egnn",
    "Alphafold2": "model",
    "Alphafold2Config": "config",
    "Block": "blocks",
    "EnTransformer": "structure.en",
    "Equiformer": "structure.equiformer",
    "Features": "features",
    "IPABlock": "structure.point_attention",
    "IPATransformer": "structure.point_attention",
    "InvariantPointAttention": "structure.point_attention",
    "Prediction": "features",
    "Runtime": "config",
    "SE3Transformer": "structure.se3",
    "explain": "ops.explain",
    "keep_freed_memory": "heap",
    "register_block": "blocks",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module(f"{__name__}.cli.results").package_version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next use no longer comes here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
