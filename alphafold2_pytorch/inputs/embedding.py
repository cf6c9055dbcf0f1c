"""The only sum: tokens, embeddings, relative positions, recycled results and templates."""

import torch
from torch import nn

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs.embeds import MsaEmbeds, PairEmbeds
from alphafold2_pytorch.inputs.recycling import RecyclingEmbedding
from alphafold2_pytorch.inputs.relpos import RelativePosition
from alphafold2_pytorch.inputs.templates import TemplateEmbedding
from alphafold2_pytorch.inputs.tokens import MsaTokens, PairTokens
from alphafold2_pytorch.streams import Recycled, Streams


class InputEmbedding(nn.Module):
    """Features and `Recycled` to `Streams`; Jumper et al. (2021) Suppl. Alg. 2 lines 1-13.

    What the config rules out has no parameters: token tables (`disable_token_embed`), projections
    of embeddings (`num_embedds=0`), templates (`template_attn_depth=0`).
    """

    def __init__(self, config: Alphafold2Config):
        super().__init__()
        self.dims = config.dim, config.width_msa
        tokens = 0 if config.disable_token_embed else config.num_tokens
        width = config.num_embedds
        self.pair_tokens = PairTokens(tokens, config.dim) if tokens else None
        self.msa_tokens = MsaTokens(tokens, config.width_msa)
        self.pair_embeds = PairEmbeds(width, config.dim) if width else None
        self.msa_embeds = MsaEmbeds(width, config.width_msa) if width else None
        self.templates = (
            TemplateEmbedding.from_config(config) if config.template_attn_depth else None
        )
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
        pair = self.relative_position(features.residue_index)
        if self.pair_tokens is not None:
            pair = self.pair_tokens(features) + pair
        if self.pair_embeds is not None and features.embeds is not None:
            pair = pair + self.pair_embeds(features.embeds, features.mask)
        pair = pair + self.recycling.pair(recycled)
        coords = features.template_coords
        if self.templates is not None and coords is not None and coords.shape[1]:
            pair = pair + self.templates(pair, features)
        msa = self.msa_tokens(features)
        if self.msa_embeds is not None and (embeds := self.msa_embeds(features)) is not None:
            msa = msa + embeds
        if (first := self.recycling.msa_first(recycled)) is not None:
            msa = torch.cat([msa[:, :1] + first[:, None], msa[:, 1:]], dim=1)
        pair_mask = features.mask[:, :, None] & features.mask[:, None, :]
        return Streams(pair, msa, pair_mask, features.msa_mask, owned=True)
