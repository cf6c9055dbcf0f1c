"""Memory-compressed keys and values (Liu et al. 2018)."""

import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import nn

from alphafold2_pytorch.typing import Bool, Float, Tensor


class Compression(nn.Module):
    """Every `ratio` neighbours of a row become one, by a strided convolution within each head.

    Masked members enter as zero, and the sum over the others is scaled up by `ratio` / their
    number: the last group of a row that `ratio` does not divide is as strong as the others, and
    padding a row changes nothing. A group is kept if any of its members is. It starts as the mean
    of the members. `x` holds keys, then values, head by head. `ValueError` for a ratio below 1.
    """

    def __init__(self, heads: int, dim_head: int, ratio: int):
        super().__init__()
        if ratio < 1:
            raise ValueError(f"compress_ratio must be at least 1, got {ratio}")
        groups = 2 * heads  # of keys and of values; a bias would cancel in the softmax over keys
        width = groups * dim_head
        self.ratio = ratio
        self.conv = nn.Conv1d(width, width, ratio, stride=ratio, groups=groups, bias=False)
        with torch.no_grad():
            mean = torch.eye(dim_head).repeat(groups, 1) / ratio
            self.conv.weight.copy_(mean[..., None].expand_as(self.conv.weight))

    def forward(
        self, x: Float[Tensor, "b r m c"], mask: Bool[Tensor, "b r m"]
    ) -> tuple[Float[Tensor, "b r k c"], Bool[Tensor, "b r k"]]:
        missing = -x.shape[2] % self.ratio
        x = F.pad(x.masked_fill(~mask[..., None], 0.0), (0, 0, 0, missing))
        members = reduce(
            F.pad(mask, (0, missing)).to(x.dtype), "b r (k g) -> b r k", "sum", g=self.ratio
        )
        joined = self.conv(rearrange(x, "b r m c -> (b r) c m"))
        joined = rearrange(joined, "(b r) c k -> b r k c", r=x.shape[1])
        return joined * (self.ratio / members.clamp(min=1))[..., None], members > 0
