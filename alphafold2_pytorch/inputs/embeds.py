"""Embeddings of a language model, beside or in place of the tokens."""

import torch
from torch import nn

from alphafold2_pytorch.features import Features
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.typing import Bool, Float, Tensor


class PairEmbeds(nn.Module):
    """The sum of the two residues of a pair, as `PairTokens` has it."""

    def __init__(self, dim_embeds: int, dim: int):
        super().__init__()
        self.left, self.right = linear(dim_embeds, dim, bias=False), linear(dim_embeds, dim)

    def forward(
        self, embeds: Float[Tensor, "b n e"], mask: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b n n d"]:
        embeds = kept(embeds, mask, self.left.weight)
        return self.left(embeds)[:, :, None] + self.right(embeds)[:, None]


class MsaEmbeds(nn.Module):
    """Each MSA entry and, where aligned, the query's residue, as `MsaTokens` has it."""

    def __init__(self, dim_embeds: int, dim: int):
        super().__init__()
        self.row, self.query = linear(dim_embeds, dim), linear(dim_embeds, dim, bias=False)

    def forward(self, features: Features) -> Float[Tensor, "b s m d"] | None:
        """None: there is nothing to add."""
        msa: Tensor | None = None
        if features.msa_embeds is not None:
            msa = self.row(kept(features.msa_embeds, features.msa_mask, self.row.weight))
        if features.embeds is not None and features.msa.shape[-1] == features.seq.shape[-1]:
            query = self.query(kept(features.embeds, features.mask, self.query.weight))[:, None]
            msa = query.expand(*features.msa.shape, -1) if msa is None else msa + query
        return msa


def kept(
    embeds: Float[Tensor, "*b e"], mask: Bool[Tensor, "*b"], like: Tensor
) -> Float[Tensor, "*b e"]:
    """Zero where masked, whatever stood there, in the type of `like`."""
    return torch.where(mask[..., None], embeds, 0).to(like.dtype)
