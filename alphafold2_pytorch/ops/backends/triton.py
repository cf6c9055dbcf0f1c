"""Our own Triton kernels (extra): forward and backward in memory O(N^2)."""

import os

from alphafold2_pytorch.ops.backends.base import BACKENDS
from alphafold2_pytorch.ops.choice import extra, missing


@BACKENDS.register("triton")
class Triton:
    """`ops/kernels/attention.py`; with `TRITON_INTERPRET=1` on a CPU too, slowly, for tests."""

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        if refusal := refuses_device(q):
            return refusal
        if dropout:
            return "it has no dropout"
        from alphafold2_pytorch.ops.kernels.attention import limits

        return limits(q)

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        from alphafold2_pytorch.ops.kernels.attention import attend

        return attend(q, k, v, bias, mask)


def refuses_device(x) -> str | None:
    """Why no kernel of ours can run where `x` is, or None."""
    if x.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "it runs on CUDA only"
    return missing(("triton",), extra("triton"))
