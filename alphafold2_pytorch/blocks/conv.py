"""Residual convolutions that mix one- and two-dimensional kernels (Si and Yan 2021)."""

from einops import rearrange
from torch import nn

from alphafold2_pytorch.blocks.base import BLOCKS, Block
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Tensor


class MixedConv(nn.Module):
    """The sum of convolutions of several kernel shapes over one stream, masked on the way in.

    A GELU follows, or with `gated` a gated linear unit. Kernel sizes must be odd, so that a stream
    keeps its size (`ValueError`).
    """

    def __init__(
        self,
        writes: str,
        dim: int,
        kernels: tuple[tuple[int, int], ...],
        dilation: int = 1,
        gated: bool = False,
    ):
        super().__init__()
        if not kernels:
            raise ValueError("a convolution needs at least one kernel, like (3, 3)")
        if even := [kernel for kernel in kernels if any(size % 2 == 0 for size in kernel)]:
            raise ValueError(f"convolution kernels must be odd along both axes, got {even}")
        self.writes = writes
        self.norm = nn.LayerNorm(dim)
        self.convs = nn.ModuleList(
            nn.Conv2d(dim, (1 + gated) * dim, kernel, padding="same", dilation=dilation)
            for kernel in kernels
        )
        self.activation = nn.GLU(dim=1) if gated else nn.GELU()
        self.out = linear(dim, dim, role="final")

    def forward(self, x: Streams) -> Tensor:
        """`b n n d` if it writes the pairs, `b s m d_msa` if it writes the MSA."""
        mask = x.pair_mask if self.writes == "pair" else x.msa_mask
        grid = self.norm(getattr(x, self.writes)) * mask[..., None]
        grid = rearrange(grid, "b i j d -> b d i j")
        mixed = self.activation(sum(conv(grid) for conv in self.convs))
        return self.out(rearrange(mixed, "b d i j -> b i j d"))


@BLOCKS.register("conv")
class Conv(Block):
    """One mixed convolution of the pairs and one of the MSA; `dilations` cycle over the layers."""

    def __init__(
        self,
        dim: int,
        dim_msa: int | None = None,
        seq_kernels: tuple[tuple[int, int], ...] = ((9, 1), (1, 9), (3, 3)),
        msa_kernels: tuple[tuple[int, int], ...] = ((1, 9), (3, 3)),
        dilation: int = 1,
        glu_gated: bool = False,
    ):
        super().__init__()
        self.pair = MixedConv("pair", dim, seq_kernels, dilation, glu_gated)
        self.msa = MixedConv("msa", dim_msa or dim, msa_kernels, dilation, glu_gated)

    @classmethod
    def from_config(cls, config: Alphafold2Config, name: str, layer: int) -> "Conv":
        nth = config.block_types[:layer].count(name)
        shared = {
            "dim_msa": config.width_msa,
            "seq_kernels": config.conv_seq_kernels,
            "msa_kernels": config.conv_msa_kernels,
            "dilation": config.dilations[nth % len(config.dilations)],
            "glu_gated": config.conv_glu_gated,
        }
        return cls(config.dim, **{**shared, **config.options.get(name, {})})
