"""Sigmoid gates and other activations, in place where no gradient needs what was there."""

import torch
import torch.nn.functional as F

from alphafold2_pytorch.typing import Shaped, Tensor


def sigmoid_gate(value: Shaped[Tensor, "*d"], logits: Shaped[Tensor, "*d"]) -> Shaped[Tensor, "*d"]:
    """value * sigmoid(logits); `logits` must be the caller's own, it may be overwritten."""
    if torch.is_grad_enabled():
        return value * logits.sigmoid()
    return logits.sigmoid_().mul_(value)


def relu(x: Shaped[Tensor, "*d"]) -> Shaped[Tensor, "*d"]:
    """`x` must be the caller's own. With gradients, writing into the view that a linear layer gives
    would copy it in the backward pass."""
    return F.relu(x, inplace=not torch.is_grad_enabled())
