"""AlphaFold2's way in: a clustered alignment, the rows beside it, and templates with all atoms."""

from dataclasses import replace

import torch
from torch import nn

from alphafold2_pytorch.chem.residues import NUM_TOKENS
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.data.clusters import ClusterSettings
from alphafold2_pytorch.data.featurize import featurize_clusters, read_msas, sample_rows
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs import channels
from alphafold2_pytorch.inputs.atom_templates import FIELDS, AtomTemplates, Templates
from alphafold2_pytorch.inputs.base import INPUTS, SEQUENCE, Asked, InputEmbedding
from alphafold2_pytorch.inputs.embeds import kept
from alphafold2_pytorch.inputs.once import EACH_TIME, Once
from alphafold2_pytorch.inputs.template_torsions import TemplateTorsions
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Recycled, Streams
from alphafold2_pytorch.typing import Float, Tensor

CLUSTERS = ("msa_profile", "deletion_mean")
EXTRA = ("extra_msa", "extra_deletions", "extra_msa_mask")
OF_PAIR = ("seq", "residue_index", "mask")  # fields that pairs are made of
TEMPLATES = ("template_seq", "template_atoms", "template_atom_mask", "template_exists")


@INPUTS.register("clusters")
class ClusterInputs(InputEmbedding):
    """Cluster centres with their profiles, extra MSA rows, and templates as pairs and as MSA rows.

    Jumper et al. (2021) Suppl. Alg. 2 to 5, 16, 17 and 32. Without `extra_msa_depth` or
    `template_attn_depth` there are no parameters for these. Options by the name "templates": those
    of `AtomTemplates`, `undefined` of `TemplateTorsions`, and `torsions=False` for no such rows; by
    the name "clusters" those of `ClusterSettings`, by which `fold` draws features.
    `ValueError` for keywords of other inputs, which would change nothing here.
    """

    reads = SEQUENCE.union(CLUSTERS, EXTRA, TEMPLATES)
    places_cbeta = False

    def __init__(self, config: Alphafold2Config):
        super().__init__(config)
        refuse_unread(config)
        dim, dim_msa = config.dim, config.width_msa
        self.settings = ClusterSettings.of(config)
        self.target_msa = linear(channels.TARGET, dim_msa)
        self.msa = linear(channels.CLUSTER, dim_msa)
        self.left, self.right = linear(channels.TARGET, dim), linear(channels.TARGET, dim)
        self.rows = Rows()
        self.extra_msa: nn.Linear | None = None
        if config.extra_msa_depth:
            self.extra_msa = linear(channels.EXTRA, config.dim_extra_msa)
        self.templates: AtomTemplates | None = None
        self.torsions: TemplateTorsions | None = None
        if config.template_attn_depth:
            options = dict(config.options.get("templates", {}))
            undefined = options.pop("undefined", "placeholder")
            if options.pop("torsions", True):
                self.torsions = TemplateTorsions(dim_msa, undefined)
            self.templates = AtomTemplates.from_config(config, **options)

    def forward(self, features: Features, recycled: Recycled, once: Once = EACH_TIME) -> Streams:
        refuse_missing(features, extra=self.extra_msa is not None)
        target, like = channels.target_channels(features.seq), self.msa.weight
        of_cluster = (features.tensors[name] for name in CLUSTERS)
        msa = channels.cluster_channels(features.msa, features.deletions, *of_cluster)
        target, msa = kept(target, features.mask, like), kept(msa, features.msa_mask, like)
        return self.embed(target, msa, features, recycled, once)

    def draw(self, asked: Asked, samples: int) -> list[Features]:
        """Each sample draws and masks cluster centres anew; with `max_rows` of the same rows."""
        sequence, msa, templates, max_rows, seed = asked
        found = [] if msa is None else read_msas(msa)
        found = [sample_rows(alignment, max_rows, seed) for alignment in found]
        drawn = featurize_clusters(sequence, found or None, templates, self.settings, seed, samples)
        return [each.features for each in drawn]

    def embed(
        self,
        target: Float[Tensor, "b n 22"],
        msa: Float[Tensor, "b s n 49"],
        features: Features,
        recycled: Recycled,
        once: Once = EACH_TIME,
    ) -> Streams:
        """From channels of the query and of the clusters; the rest is read from `features`.

        The MSA is not left to `once`: to embed it anew takes less than to hold it costs.
        """

        def of_query() -> Tensor:
            left, right = self.left(target)[:, :, None], self.right(target)[:, None]

            def embedded(start: int, stop: int) -> Tensor:
                some = slice(start, stop)
                pair = left[:, some] + right
                return pair + self.relative_position(features.residue_index, some)

            return self.rows.chunked(embedded, left.shape[1], 3 * right.nbytes, 1)

        pair_mask = features.mask[:, :, None] & features.mask[:, None, :]
        found, templates = Templates.of(features), self.templates
        maps: Tensor | None = None
        if found is not None and templates is not None:  # first, as they save most
            maps = once("templates", FIELDS, lambda: templates.maps(pair_mask, found))
        pair = self.recycling.onto_pair(once("pair", OF_PAIR, of_query), recycled)
        if found is not None and templates is not None and maps is not None:
            own = None if torch.is_grad_enabled() else pair
            update = templates.attention(pair, maps, found.exists, own)
            pair = pair if update is None else pair + update
            del maps
        rows, mask = self.msa(msa) + self.target_msa(target)[:, None], features.msa_mask
        rows = self.recycling.onto_first_row(rows, recycled)
        if found is not None and (torsions := self.torsions) is not None:
            more, where = once("torsions", FIELDS, lambda: torsions(found))
            rows, mask = torch.cat([rows, more.to(rows.dtype)], 1), torch.cat([mask, where], 1)
        x = Streams(pair, rows, pair_mask, mask, owned=True)
        return x if self.extra_msa is None else self._with_extra(x, features, self.extra_msa)

    def _with_extra(self, x: Streams, features: Features, layer: nn.Linear) -> Streams:
        msa, deletions, mask = (features.tensors[name] for name in EXTRA)

        def embedded(start: int, stop: int) -> Tensor:
            some = slice(start, stop)
            found = channels.extra_channels(msa[:, some], deletions[:, some])
            return layer(kept(found, mask[:, some], layer.weight))

        bytes_each = 4 * msa[:, 0].numel() * (2 * channels.EXTRA + layer.out_features)
        extra = self.rows.chunked(embedded, msa.shape[1], bytes_each, 1)
        return replace(x, extra=extra, extra_mask=mask)


def refuse_unread(config: Alphafold2Config) -> None:
    """`ValueError` for keywords of other inputs."""
    wanted = {"num_embedds": 0, "disable_token_embed": False, "num_tokens": NUM_TOKENS}
    given = {name: getattr(config, name) for name in wanted}
    if wrong := {name: value for name, value in given.items() if value != wanted[name]}:
        needed = {name: wanted[name] for name in wrong}
        raise ValueError(f"inputs='clusters' needs {needed}, got {wrong}")


def refuse_missing(features: Features, extra: bool) -> None:
    """`ValueError` for fields that are not there, and for an MSA that is not aligned."""
    given = features.tensors
    templates = TEMPLATES if any(name.startswith("template_") for name in given) else ()
    needed = CLUSTERS + (EXTRA if extra else ()) + templates
    if missing := [name for name in needed if name not in given]:
        raise ValueError(
            f"inputs='clusters' needs {missing}: `featurize_clusters` makes all that it reads of "
            "an alignment and templates"
        )
    if features.msa.shape[-1] != features.seq.shape[-1]:
        raise ValueError(
            f"the MSA has {features.msa.shape[-1]} columns and the sequence "
            f"{features.seq.shape[-1]} residues: inputs='clusters' needs them aligned"
        )
