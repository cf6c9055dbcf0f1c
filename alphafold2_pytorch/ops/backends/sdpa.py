"""PyTorch's own fused attention."""

import torch.nn.functional as F

from alphafold2_pytorch.ops.backends.base import BACKENDS, joint_bias, zero_empty
from alphafold2_pytorch.typing import Tensor


@BACKENDS.register("sdpa")
class Sdpa:
    """`scaled_dot_product_attention` with bias and mask joined into its additive mask."""

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        return None

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        return fused(q, k, v, bias, mask, dropout)


def fused(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None, dropout: float
) -> Tensor:
    """Shapes as in `Backend.run`."""
    b, r, h, n, _ = q.shape
    if (joint := joint_bias(bias, mask, q)) is not None:
        joint = joint.expand(b, r, h, n, k.shape[3]).flatten(0, 1)
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=joint, dropout_p=dropout)
    return zero_empty(out.unflatten(0, (b, r)), mask)
