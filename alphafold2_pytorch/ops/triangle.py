"""The sum over the third residue of a triangle."""

import torch

from alphafold2_pytorch.ops.runtime import Operation
from alphafold2_pytorch.typing import Float, Tensor


class TriangleMultiply(Operation):
    """out[d, i, j] = sum over k of left[d, i, k] * right[d, j, k].

    Jumper et al. (2021) Suppl. Alg. 11; Alg. 12 passes both transposed.
    """

    def forward(
        self, left: Float[Tensor, "b d n n"], right: Float[Tensor, "b d n n"]
    ) -> Float[Tensor, "b d n n"]:
        return torch.matmul(left, right.mT)
