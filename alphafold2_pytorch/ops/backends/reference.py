"""Attention as its definition: what every other backend is tested against."""

import torch
import torch.nn.functional as F
from einops import einsum

from alphafold2_pytorch.ops.backends.base import BACKENDS, zero_empty


@BACKENDS.register("reference")
class Reference:
    """softmax(q k / sqrt(d) + bias) v in five lines."""

    @staticmethod
    def refuses(q):
        return None

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        logits = einsum(q, k, "b r h i d, b r h j d -> b r h i j") / q.shape[-1] ** 0.5
        if bias is not None:
            logits = logits + bias[:, None]
        if mask is not None:
            logits = logits.masked_fill(~mask[:, :, None, None], torch.finfo(q.dtype).min)
        weights = F.dropout(logits.softmax(-1), dropout)
        return zero_empty(einsum(weights, v, "b r h i j, b r h j d -> b r h i d"), mask)
