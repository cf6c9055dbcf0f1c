"""The only sum: tokens, relative positions and recycled embeddings."""

import torch
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs.recycling import RecyclingEmbedding
from alphafold2_pytorch.inputs.relpos import RelativePosition
from alphafold2_pytorch.inputs.tokens import MsaTokens, PairTokens
from alphafold2_pytorch.streams import Recycled, Streams


class InputEmbedding(nn.Module):
    """Features and `Recycled` to `Streams`; Jumper et al. (2021) Suppl. Alg. 2 lines 1-6."""

    def __init__(self, config: Alphafold2Config):
        super().__init__()
        self.dims = config.dim, config.width_msa
        self.pair_tokens = PairTokens(config.num_tokens, config.dim)
        self.msa_tokens = MsaTokens(config.num_tokens, config.width_msa)
        self.relative_position = RelativePosition(config.dim)
        self.recycling = RecyclingEmbedding(config.dim, config.width_msa, config.predict_coords)

    def first(self, features: Features) -> Recycled:
        """What the first cycle sees in place of a last one: zeros."""
        (b, n), (dim, dim_msa) = features.seq.shape, self.dims
        like = self.relative_position.embed.weight
        zeros = torch.zeros(b, n, 3, device=like.device)
        aligned = features.msa.shape[-1] == n
        return Recycled(
            pair=like.new_zeros(1, 1, 1, dim).expand(b, n, n, dim),
            msa_first=like.new_zeros(b, n, dim_msa) if aligned else None,
            cbeta=zeros if self.recycling.distances is not None else None,
        )

    def forward(self, features: Features, recycled: Recycled) -> Streams:
        pair = self.pair_tokens(features) + self.relative_position(features.residue_index)
        pair = pair + self.recycling.pair(recycled)
        msa = self.msa_tokens(features)
        if (first := self.recycling.msa_first(recycled)) is not None:
            msa = torch.cat([msa[:, :1] + first[:, None], msa[:, 1:]], dim=1)
        pair_mask = features.mask[:, :, None] & features.mask[:, None, :]
        return Streams(pair, msa, pair_mask, features.msa_mask, owned=True)
