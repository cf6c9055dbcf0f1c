"""The arrays of `residues.py` and `bonds.py` as tensors, copied once to each device."""

import numpy as np
import torch

from alphafold2_pytorch.chem import bonds, residues
from alphafold2_pytorch.typing import Int, Tensor

_ARRAYS = {**vars(bonds), **vars(residues)}.items()
TABLES = {k: torch.from_numpy(v) for k, v in _ARRAYS if isinstance(v, np.ndarray)}
_copies: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}


def table(name: str, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """An array of `chem.residues` or `bonds` by name, as a tensor that callers must not change."""
    dtype = TABLES[name].dtype if dtype is None else dtype
    if (name, device, dtype) in _copies:
        return _copies[name, device, dtype]
    if torch.compiler.is_compiling():  # a graph may reuse the memory of what it computed
        return TABLES[name].to(device, dtype)
    with torch.inference_mode(False):  # else the first prediction would leave it unfit to train
        _copies[name, device, dtype] = TABLES[name].to(device, dtype)
    return _copies[name, device, dtype]


def of_residue(name: str, seq: Int[Tensor, "*n"], dtype: torch.dtype | None = None) -> Tensor:
    """Each residue's rows of an array as in `table`; gap and mask are looked up as X.

    `dtype` is that of the result, else the array's own (float64 for numbers with a point).
    """
    return table(name, seq.device, dtype)[seq.clamp(max=residues.X)]
