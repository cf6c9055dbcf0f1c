"""The arrays of `residues.py` as tensors, made once for each device."""

import functools

import torch

from alphafold2_pytorch.chem import residues
from alphafold2_pytorch.typing import Int, Tensor


@functools.cache
def _tensor(name: str, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    with torch.inference_mode(False):  # else the first prediction would leave it unfit to train
        return torch.tensor(getattr(residues, name), device=device, dtype=dtype)


@torch.compiler.assume_constant_result
def table(name: str, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """An array of `chem.residues` by name, as a tensor that callers must not change."""
    return _tensor(name, device, dtype)


def of_residue(name: str, seq: Int[Tensor, "*n"], dtype: torch.dtype | None = None) -> Tensor:
    """Each residue's rows of an array of `chem.residues`; gap and mask are looked up as X.

    `dtype` is that of the result, else the array's own (float64 for numbers with a point).
    """
    return table(name, seq.device, dtype)[seq.clamp(max=residues.X)]
