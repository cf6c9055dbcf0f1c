"""Linear layers by the part they play; Jumper et al. (2021) Suppl. Sec. 1.11.4."""

import torch
from torch import nn

from alphafold2_pytorch.ops.linear import Linear

TRUNCATED_STD = 0.87962566  # of a unit normal cut at two standard deviations
VARIANCES = {"plain": 1.0, "relu": 2.0, "small": 1e-4}  # of the output, for input of variance 1


def linear(dim: int, dim_out: int, bias: bool = True, role: str = "plain") -> Linear:
    """A linear layer whose start suits its `role`.

    `plain`: LeCun normal; `relu`: He normal, before a ReLU; `final`: zero, so that a residual
    update starts as nothing; `small`: a hundredth of `plain`, for what moves points;
    `gate`: weight 0 and bias 1, so that a sigmoid gate starts open.
    """
    layer = Linear(dim, dim_out, bias=bias)
    with torch.no_grad():
        if role in ("final", "gate"):
            layer.weight.zero_()
        elif role in VARIANCES:
            std = (VARIANCES[role] / dim) ** 0.5 / TRUNCATED_STD
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        else:
            raise ValueError(f"unknown role {role!r}; choose from plain, relu, small, final, gate")
        if bias:
            layer.bias.fill_(1.0 if role == "gate" else 0.0)
    return layer


def embedding(num: int, dim: int) -> nn.Embedding:
    """A lookup that starts like a linear layer on one-hot input."""
    table = nn.Embedding(num, dim)
    nn.init.normal_(table.weight, std=num**-0.5)
    return table
