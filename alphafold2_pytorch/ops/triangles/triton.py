"""Our own Triton kernels of the triangle multiplication (extra), forward and backward."""

from alphafold2_pytorch.ops.backends.triton import refuses_device
from alphafold2_pytorch.ops.triangles.base import TRIANGLES


@TRIANGLES.register("triton")
class Triton:
    """`ops/kernels/triangle.py`; with `TRITON_INTERPRET=1` on a CPU too, slowly, for tests."""

    @staticmethod
    def refuses(pair, mask, outgoing, weights):
        if refusal := refuses_device(pair):
            return refusal
        from alphafold2_pytorch.ops.kernels.triangle import limits

        return limits(pair)

    @staticmethod
    def run(pair, mask, outgoing, weights, rows):
        from alphafold2_pytorch.ops.kernels.triangle import triangle_update

        return triangle_update(pair, mask, outgoing, weights)
