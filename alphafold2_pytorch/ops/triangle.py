"""The sum over the third residue of a triangle."""

import torch

from alphafold2_pytorch.ops.runtime import Operation
from alphafold2_pytorch.typing import Float, Tensor


class TriangleMultiply(Operation):
    """out[i, j] = sum over k of left[i, k] * right[j, k], feature by feature.

    Jumper et al. (2021) Suppl. Alg. 11; Alg. 12 passes both transposed.
    """

    def forward(
        self, left: Float[Tensor, "b n n d"], right: Float[Tensor, "b n n d"]
    ) -> Float[Tensor, "b n n d"]:
        left, right = left.permute(0, 3, 1, 2), right.permute(0, 3, 2, 1)
        return torch.matmul(left, right).permute(0, 2, 3, 1)
