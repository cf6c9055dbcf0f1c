"""DeepSpeed's Evoformer attention (DS4Sci); `install_deepspeed.sh` installs it."""

from alphafold2_pytorch.ops.backends.base import (
    BACKENDS,
    HALF,
    key_bias,
    no_cuda_kernel,
    zero_empty,
)
from alphafold2_pytorch.ops.choice import missing

WIDEST = 64  # head of which its backward pass keeps a tile
SHORTEST = 17  # sequence that it takes


@BACKENDS.register("deepspeed")
class DeepSpeed:
    """`DS4Sci_EvoformerAttention` as of version 0.19, in memory O(N^2); half precision only.

    It takes as many keys as queries, more than 16 of them.
    """

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        if refusal := no_cuda_kernel(q, dropout, HALF):
            return refusal
        *_, queries, width = q.shape
        if width % 8 or width > WIDEST:
            return f"heads must be a multiple of 8 and at most {WIDEST} wide, got {width}"
        if queries != (keys := k.shape[3]):
            return f"it takes as many keys as queries, got {keys} and {queries}"
        if queries < SHORTEST:
            return f"it takes at least {SHORTEST} positions, got {queries}"
        return missing(("deepspeed",), "run install_deepspeed.sh")

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        from deepspeed.ops import deepspeed4science

        keys = None if mask is None else key_bias(mask, q)
        pairs = None if bias is None else bias[:, None].to(q.dtype)
        positions_first = (x.transpose(2, 3) for x in (q, k, v))  # b r n h d
        out = deepspeed4science.DS4Sci_EvoformerAttention(*positions_first, [keys, pairs])
        return zero_empty(out.transpose(2, 3), mask)
