"""Attention between the pairs and the MSA, for an MSA of any length."""

from einops import rearrange
from torch import nn

from alphafold2_pytorch.blocks.base import BLOCKS, Block
from alphafold2_pytorch.blocks.msa_updates import MsaTransition
from alphafold2_pytorch.blocks.pair_updates import PairTransition
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.layers.attention import GatedAttention
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Tensor


class CrossAttention(nn.Module):
    """Every entry of one stream attends to every entry of the other."""

    def __init__(
        self,
        writes: str,
        dim: int,
        dim_context: int,
        heads: int,
        dim_head: int,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.writes = writes
        self.norm, self.norm_context = nn.LayerNorm(dim), nn.LayerNorm(dim_context)
        self.context = linear(dim_context, dim, bias=False)
        self.attention = GatedAttention(dim, heads, dim_head, dropout)

    def forward(self, x: Streams) -> Tensor:
        """`b n n d` if it writes the pairs, `b s m d_msa` if it writes the MSA."""
        target, context, mask = x.pair, x.msa, x.msa_mask
        if self.writes == "msa":
            target, context, mask = x.msa, x.pair, x.pair_mask
        queries = rearrange(self.norm(target), "b i j d -> b 1 (i j) d")
        keys = rearrange(self.context(self.norm_context(context)), "b i j d -> b 1 (i j) d")
        update = self.attention(queries, rearrange(mask, "b i j -> b 1 (i j)"), context=keys)
        return update.reshape(target.shape)


@BLOCKS.register("cross")
class Cross(Block):
    """The pairs read the MSA, the MSA reads the pairs, each followed by a transition."""

    def __init__(
        self,
        dim: int,
        dim_msa: int | None = None,
        heads: int = 8,
        dim_head: int = 32,
        attn_dropout: float = 0.0,
        ff_dropout: float = 0.0,
    ):
        super().__init__()
        msa = dim_msa or dim
        self.pair_from_msa = CrossAttention("pair", dim, msa, heads, dim_head, attn_dropout)
        self.pair_transition = PairTransition(dim, dropout=ff_dropout)
        self.msa_from_pair = CrossAttention("msa", msa, dim, heads, dim_head, attn_dropout)
        self.msa_transition = MsaTransition(msa, dropout=ff_dropout)

    @classmethod
    def from_config(cls, config: Alphafold2Config, name: str, layer: int) -> Block:
        return cls.with_attention(config, name)
