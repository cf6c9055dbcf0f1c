"""The light way in: tokens, embeddings, relative positions, recycled results and templates."""

from dataclasses import replace

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.data.featurize import featurize
from alphafold2_pytorch.data.templates import alpha_templates
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs.base import INPUTS, SEQUENCE, Asked, InputEmbedding
from alphafold2_pytorch.inputs.embeds import MsaEmbeds, PairEmbeds
from alphafold2_pytorch.inputs.once import EACH_TIME, Once
from alphafold2_pytorch.inputs.templates import FIELDS, TemplateEmbedding
from alphafold2_pytorch.inputs.tokens import MsaTokens, PairTokens
from alphafold2_pytorch.streams import Recycled, Streams
from alphafold2_pytorch.typing import Float, Tensor

MAX_ROWS = 256  # of an alignment; more are sampled
OF_PAIR = ("seq", "residue_index", "mask", "embeds")  # fields that pairs, and MSA, are made of
OF_MSA = ("seq", "mask", "msa", "deletions", "msa_mask", "embeds", "msa_embeds")


@INPUTS.register("tokens")
class TokenInputs(InputEmbedding):
    """Tokens of the sequence and of each MSA entry; after Jumper et al. (2021) Suppl. Alg. 2 and 3.

    What the config rules out has no parameters: token tables (`disable_token_embed`), projections
    of embeddings (`num_embedds=0`), templates (`template_attn_depth=0`).
    """

    reads = SEQUENCE | {
        "embeds",
        "msa_embeds",
        "template_seq",
        "template_coords",
        "template_mask",
        "template_sidechains",
    }

    def __init__(self, config: Alphafold2Config):
        super().__init__(config)
        tokens = 0 if config.disable_token_embed else config.num_tokens
        width = config.num_embedds
        self.pair_tokens = PairTokens(tokens, config.dim) if tokens else None
        self.msa_tokens = MsaTokens(tokens, config.width_msa)
        self.pair_embeds = PairEmbeds(width, config.dim) if width else None
        self.msa_embeds = MsaEmbeds(width, config.width_msa) if width else None
        self.templates = (
            TemplateEmbedding.from_config(config) if config.template_attn_depth else None
        )

    def forward(self, features: Features, recycled: Recycled, once: Once = EACH_TIME) -> Streams:
        coords, templates = features.template_coords, self.templates
        found: tuple[Tensor, ...] = ()
        if templates is not None and coords is not None and coords.shape[1]:
            # first, as they save most
            found = once("templates", FIELDS, lambda: templates.maps(features))
        pair = once("pair", OF_PAIR, lambda: self._pair(features))
        pair = self.recycling.onto_pair(pair, recycled)
        if templates is not None and found:
            pair = pair + templates.over_templates(pair, *found)
            del found
        msa = once("msa", OF_MSA, lambda: self._msa(features))
        msa = self.recycling.onto_first_row(msa, recycled)
        pair_mask = features.mask[:, :, None] & features.mask[:, None, :]
        return Streams(pair, msa, pair_mask, features.msa_mask, owned=True)

    def _pair(self, features: Features) -> Float[Tensor, "b n n d"]:
        pair = self.relative_position(features.residue_index)
        if self.pair_tokens is not None:
            pair = self.pair_tokens(features) + pair
        if self.pair_embeds is not None and features.embeds is not None:
            pair = pair + self.pair_embeds(features.embeds, features.mask)
        return pair

    def _msa(self, features: Features) -> Float[Tensor, "b s m d_msa"]:
        msa = self.msa_tokens(features)
        if self.msa_embeds is not None and (embeds := self.msa_embeds(features)) is not None:
            msa = msa + embeds
        return msa

    def draw(self, asked: Asked, samples: int) -> list[Features]:
        """The same for every cycle; of a template CA and the direction to C."""
        rows = asked.max_rows or MAX_ROWS
        features = featurize(asked.sequence, asked.msa, max_rows=rows, seed=asked.seed)
        templates = alpha_templates(asked.templates, features.size("n"))
        return [replace(features, **templates)] * samples
