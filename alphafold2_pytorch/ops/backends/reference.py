"""Attention as its definition: what every other backend is tested against."""

import torch
import torch.nn.functional as F
from einops import einsum

from alphafold2_pytorch.ops.backends.base import BACKENDS, zero_empty
from alphafold2_pytorch.typing import Bool, Float, Tensor


@BACKENDS.register("reference")
class Reference:
    """softmax(q k / sqrt(d) + bias) v in five lines."""

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        return None

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        weights = F.dropout(softmax_weights(q, k, bias, mask), dropout)
        return zero_empty(einsum(weights, v, "b r h i j, b r h j d -> b r h i d"), mask)


def softmax_weights(
    q: Float[Tensor, "b r h n d"],
    k: Float[Tensor, "b r h m d"],
    bias: Float[Tensor, "b h n m"] | None,
    mask: Bool[Tensor, "b r m"] | None,
) -> Float[Tensor, "b r h n m"]:
    """softmax(q k / sqrt(d) + bias) over the keys that `mask` keeps; even where it keeps none."""
    logits = einsum(q, k, "b r h i d, b r h j d -> b r h i j") / q.shape[-1] ** 0.5
    if bias is not None:
        logits = logits + bias[:, None]
    if mask is not None:
        logits = logits.masked_fill(~mask[:, :, None, None], torch.finfo(q.dtype).min)
    return logits.softmax(-1)
