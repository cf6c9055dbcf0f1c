"""Residue tokens and alignment columns."""

import torch
from torch import nn

from alphafold2_pytorch.features import Features
from alphafold2_pytorch.layers.init import embedding, linear
from alphafold2_pytorch.typing import Float, Tensor


class PairTokens(nn.Module):
    """Each pair starts as the sum of its two residues; Jumper et al. (2021) Suppl. Alg. 3."""

    def __init__(self, num_tokens: int, dim: int):
        super().__init__()
        self.left, self.right = embedding(num_tokens, dim), embedding(num_tokens, dim)

    def forward(self, features: Features) -> Float[Tensor, "b n n d"]:
        return self.left(features.seq)[:, :, None] + self.right(features.seq)[:, None]


class MsaTokens(nn.Module):
    """Each MSA entry starts as its token, its deletions and, where aligned, the query's residue.

    Deletion counts d enter as "any" and as 2/pi arctan(d / 3); Jumper et al. (2021) Suppl. Table 1.
    With `num_tokens` 0 they are all there is: embeddings say what a residue is.
    """

    def __init__(self, num_tokens: int, dim: int):
        super().__init__()
        self.row = embedding(num_tokens, dim) if num_tokens else None
        self.query = embedding(num_tokens, dim) if num_tokens else None
        self.deletions = linear(2, dim, bias=False)

    def forward(self, features: Features) -> Float[Tensor, "b s m d"]:
        count = features.deletions
        gaps = torch.stack([(count > 0).to(count.dtype), torch.atan(count / 3) * 2 / torch.pi], -1)
        msa = self.deletions(gaps.to(self.deletions.weight.dtype))
        if self.row is None or self.query is None:
            return msa
        msa = self.row(features.msa) + msa
        if features.msa.shape[-1] == features.seq.shape[-1]:
            msa = msa + self.query(features.seq)[:, None]
        return msa
