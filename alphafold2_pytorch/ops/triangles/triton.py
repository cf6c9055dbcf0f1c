"""Our own Triton kernels of the triangle multiplication (extra), forward and backward."""

from alphafold2_pytorch.ops.backends.triton import refuses_device
from alphafold2_pytorch.ops.runtime import added
from alphafold2_pytorch.ops.triangles.base import TRIANGLES


@TRIANGLES.register("triton")
class Triton:
    """`ops/kernels/triangle.py`; with `TRITON_INTERPRET=1` on a CPU too, slowly, for tests."""

    @staticmethod
    def refuses(pair, mask, outgoing, weights):
        if refusal := refuses_device(pair):
            return refusal
        from alphafold2_pytorch.ops.kernels.triangle import limits

        inside = pair.new_empty(1, 1, 1, weights.out_weight.shape[1])  # as wide as what is summed
        return limits(pair) or limits(inside)

    @staticmethod
    def run(pair, mask, outgoing, weights, rows, into=None):
        from alphafold2_pytorch.ops.kernels.triangle import triangle_update

        return added(triangle_update(pair, mask, outgoing, weights), into)
