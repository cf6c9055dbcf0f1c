"""Residual updates of the MSA: attention along its rows, its columns, and a transition."""

from einops import rearrange
from torch import nn

from alphafold2_pytorch.layers.attention import GatedAttention
from alphafold2_pytorch.layers.dropout import SharedDropout
from alphafold2_pytorch.layers.global_attention import GlobalAttention
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.layers.transition import Transition
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Float, Tensor


class MsaRowAttention(nn.Module):
    """Each alignment row attends within itself; with `dim_pair`, biased by the pair representation.

    Jumper et al. (2021) Suppl. Alg. 7. With a pair bias the MSA must be as long as the sequence
    (`ValueError`). `rotary`, `sparse` and `tied` as in `GatedAttention`.
    """

    writes = "msa"

    def __init__(
        self,
        dim: int,
        heads: int,
        dim_head: int,
        dim_pair: int | None = None,
        dropout: float = 0.0,
        attn_dropout: float = 0.0,
        rotary: bool = False,
        sparse: bool = False,
        tied: bool = False,
    ):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.bias = None
        if dim_pair is not None:
            self.bias = nn.Sequential(nn.LayerNorm(dim_pair), linear(dim_pair, heads, bias=False))
        self.attention = GatedAttention(dim, heads, dim_head, attn_dropout, rotary, sparse, tied)
        self.dropout = SharedDropout(dropout, "rows")
        self.rows = Rows()

    def forward(self, x: Streams) -> Float[Tensor, "b s m d_msa"] | None:
        bias = None
        if self.bias is not None:
            require_aligned(x)
            bias = self.rows(self.bias, x.pair, reads=(self.bias,))
            bias = rearrange(bias, "b i j h -> b h i j").contiguous()
        into = x.mine("msa", self)
        return self.dropout(self.attention(x.msa, x.msa_mask, bias, norm=self.norm, into=into))


class MsaColumnAttention(nn.Module):
    """Each column attends over the alignment's rows; Jumper et al. (2021) Suppl. Alg. 8."""

    writes = "msa"

    def __init__(self, dim: int, heads: int, dim_head: int, attn_dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = GatedAttention(dim, heads, dim_head, attn_dropout)

    def forward(self, x: Streams) -> Float[Tensor, "b s m d_msa"] | None:
        columns, mask = x.msa.transpose(1, 2), x.msa_mask.transpose(1, 2)
        into = x.mine("msa", self)
        into = into if into is None else into.transpose(1, 2)
        update = self.attention(columns, mask, norm=self.norm, into=into)
        return update if update is None else update.transpose(1, 2)


class MsaColumnGlobalAttention(nn.Module):
    """Each column's mean attends over the alignment's rows; Jumper et al. (2021) Suppl. Alg. 19.

    Its cost grows with the number of rows, not with its square.
    """

    writes = "msa"

    def __init__(self, dim: int, heads: int, dim_head: int, attn_dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = GlobalAttention(dim, heads, dim_head, attn_dropout)

    def forward(self, x: Streams) -> Float[Tensor, "b s m d_msa"]:
        columns, mask = x.msa.transpose(1, 2), x.msa_mask.transpose(1, 2)
        return self.attention(columns, mask, norm=self.norm).transpose(1, 2)


class MsaTransition(nn.Module):
    """A feed-forward update of every MSA entry; Jumper et al. (2021) Suppl. Alg. 9."""

    writes = "msa"

    def __init__(self, dim: int, widen: int = 4, dropout: float = 0.0):
        super().__init__()
        self.transition = Transition(dim, widen, dropout)

    def forward(self, x: Streams) -> Float[Tensor, "b s m d_msa"] | None:
        return self.transition(x.msa, x.mine("msa", self))


def require_aligned(x: Streams) -> None:
    """`ValueError` unless the MSA has one column a residue."""
    columns, length = x.msa.shape[2], x.pair.shape[1]
    if columns != length:
        raise ValueError(
            f"the MSA has {columns} columns and the sequence {length} residues: this block needs "
            "them aligned (the blocks 'self', 'cross' and 'conv' do not)"
        )
