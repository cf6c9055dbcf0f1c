"""Sigmoid gates and other activations, in place where no gradient needs what was there."""

import torch
import torch.nn.functional as F

from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.typing import Shaped, Tensor

__all__ = ["relu", "sigmoid_gate"]


def relu(x: Shaped[Tensor, "*d"]) -> Shaped[Tensor, "*d"]:
    """`x` must be the caller's own. With gradients, writing into the view that a linear layer gives
    would copy it in the backward pass."""
    return F.relu(x, inplace=not torch.is_grad_enabled())
