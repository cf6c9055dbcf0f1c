"""The sigmoid gate, in place where no gradient needs what was there."""

import torch

from alphafold2_pytorch.typing import Shaped, Tensor


def sigmoid_gate(value: Shaped[Tensor, "*d"], logits: Shaped[Tensor, "*d"]) -> Shaped[Tensor, "*d"]:
    """value * sigmoid(logits); `logits` must be the caller's own, it may be overwritten."""
    if torch.is_grad_enabled():
        return value * logits.sigmoid()
    return value * logits.sigmoid_()  # which is in one piece, as the layer after it wants it
