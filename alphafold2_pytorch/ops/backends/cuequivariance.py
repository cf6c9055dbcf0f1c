"""NVIDIA's cuEquivariance: fused triangle attention, forward and backward (extra)."""

import torch

from alphafold2_pytorch.ops.backends.base import BACKENDS, HALF, no_cuda_kernel, zero_empty
from alphafold2_pytorch.ops.choice import extra, missing

PACKAGES = ("cuequivariance_torch", "cuequivariance_ops_torch")


@BACKENDS.register("cuequivariance")
class CuEquivariance:
    """`cuequivariance_torch.triangle_attention` as of version 0.13, in memory O(N^2).

    What its kernels do not serve it would compute in plain PyTorch, so it is refused here. Below
    about a hundred keys it takes plain PyTorch all the same, by its own measurements.
    """

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        if refusal := no_cuda_kernel(q, dropout, (*HALF, torch.float32)):
            return refusal
        step, widest = (4, 32) if q.dtype == torch.float32 else (8, 128)
        if (width := q.shape[-1]) % step or width > widest:
            return (
                f"heads in {q.dtype} must be a multiple of {step} and at most {widest} wide, "
                f"got {width}"
            )
        return missing(PACKAGES, extra("cuequivariance"))

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        from cuequivariance_torch import triangle_attention

        b, _, h, n, _ = q.shape
        if bias is None:  # it asks for one
            bias = q.new_zeros(b, h, n, k.shape[3])
        keep = None if mask is None else mask[:, :, None, None]
        return zero_empty(triangle_attention(q, k, v, bias[:, None], keep), mask)
