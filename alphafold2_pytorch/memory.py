"""How much memory a prediction will take, before it is made."""

from typing import Protocol, cast, runtime_checkable

from torch import nn

from alphafold2_pytorch.blocks.evoformer import Evoformer
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.heads.base import Head
from alphafold2_pytorch.inputs.base import InputEmbedding
from alphafold2_pytorch.inputs.clusters import ClusterInputs
from alphafold2_pytorch.inputs.once import room
from alphafold2_pytorch.layers.msa_updates import MsaColumnGlobalAttention
from alphafold2_pytorch.ops.pieces import choose_piece
from alphafold2_pytorch.structure import StructureModule
from alphafold2_pytorch.trunk import Trunk, bucket

FLOAT = 4  # bytes
KEPT = 1.02  # from 128 residues on peaks lay between 0.87 and 1.15 of the estimate (docs/memory.md)


@runtime_checkable
class Model(Protocol):
    """What is read of `Alphafold2`."""

    config: Alphafold2Config
    inputs: InputEmbedding
    trunk: Trunk
    structure: StructureModule | None
    heads: nn.ModuleDict


def predict_bytes(model: Model, residues: int, rows: int, templates: int = 0) -> int:
    """Bytes that `predict` needs at its peak beyond weights and features, without gradients.

    The sum of what is alive at once, for the step that has most of it; docs/memory.md has the
    measured peaks beside it. `rows` of the alignment, of which a model with clusters reads some as
    these and some as extra rows.
    """
    return Peak(model, residues, rows, templates).bytes()


def longest_chain(model: Model, free: int, rows: int, templates: int = 0) -> int:
    """The most residues whose `predict_bytes` fit in `free` bytes; 0 if not even one does."""

    def fits(residues: int) -> bool:
        return predict_bytes(model, residues, rows, templates) <= free

    above = 1
    while fits(above):
        above *= 2
    low = above // 2  # fits, or is 0; `above` does not fit
    while above - low > 1:
        middle = (low + above) // 2
        low, above = (middle, above) if fits(middle) else (low, middle)
    return low


class Peak:
    """All sizes are counts of float32 numbers."""

    def __init__(self, model: Model, residues: int, rows: int, templates: int):
        if model.trunk.buckets:
            residues, rows = bucket(residues), bucket(rows)
        self.model, self.n, config = model, residues, model.config
        device = next(model.trunk.parameters()).device
        self.chunk = (model.trunk.blocks.runtime.chunk_bytes or choose_piece(device)) // FLOAT
        self.pair, self.extra, self.templates = residues**2 * config.dim, 0, 0
        if isinstance(model.inputs, ClusterInputs):
            settings = model.inputs.settings
            extra, rows = rows - settings.centres, min(rows, settings.centres)
            if config.extra_msa_depth:
                extra = max(1, min(extra, settings.max_extra_msa))
                self.extra = extra * residues * config.dim_extra_msa
            if model.inputs.templates is not None:
                self.templates = min(templates, settings.max_templates * settings.use_templates)
                rows += self.templates
        self.msa = rows * residues * config.width_msa

    def bytes(self) -> int:
        """At the step that needs most. Each has the pair representations of this cycle and of the
        last one, and the MSA.
        """
        kept = self.kept()
        held = 2 * self.pair + self.msa + kept
        trunk = (self.step(block, self.msa) for block in self.model.trunk.blocks)
        extra = (self.extra + self.step(block, self.extra) for block in self.model.trunk.extra)
        inputs = max(3 * self.pair, 2 * self.msa, self.of_templates() - min(kept, self.of_maps()))
        after = max(self.of_structure(), self.of_heads() - self.pair)
        return int(KEPT * FLOAT * (held + max(inputs, after, *trunk, *extra)))

    def kept(self) -> int:
        """Of the input embeddings, from one cycle to the next; `inputs.once` has the rule."""
        own = [] if isinstance(self.model.inputs, ClusterInputs) else [self.msa]
        kept, free = 0, room(FLOAT * self.chunk) // FLOAT
        for term in (self.of_maps(), self.pair, *own):
            kept += term if kept + term <= free else 0
        return kept

    def of_maps(self) -> int:
        """What templates say of pairs."""
        module = getattr(self.model.inputs, "templates", None)
        if not self.templates or module is None:
            return 0
        return self.templates * self.n**2 * module.dim

    def piece(self, numbers: int) -> int:
        """Temporaries of a step that is cut into pieces, with what products take on their way."""
        return min(2 * self.chunk, numbers)

    def step(self, block: object, msa: int) -> int:
        """Of a block the step that needs most: what it computes on its way, and its update where
        that is not added to the stream piece by piece.
        """
        if not isinstance(block, Evoformer):
            attention = max(self.pair + self.piece(7 * self.pair), msa + self.piece(8 * msa))
            return max(attention, 5 * self.pair)
        # the bias, once as it is made and once with its heads in front
        attention = 2 * block.starting.attention.heads * self.n**2 + self.piece(8 * msa)
        if isinstance(getattr(block, "column", None), MsaColumnGlobalAttention):
            attention = max(attention, msa + self.piece(8 * msa))
        triangle = outer = 0
        if block.outgoing is not None:
            product = self.n**2 * block.outgoing.out.in_features
            triangle = 2 * product + 2 * self.piece(2 * (self.pair + product))
        if block.outer_product is not None:
            left = block.outer_product.left
            sides = 4 * left.out_features * msa // left.in_features
            joint = self.piece(2 * (self.n * left.out_features) ** 2)
            outer = sides + joint
        return max(attention, triangle, outer)

    def of_templates(self) -> int:
        """The maps of all, beside the updates of those that are computed at once."""
        module = getattr(self.model.inputs, "templates", None)
        if not self.templates or module is None:
            return 0
        maps = self.n**2 * module.dim
        at_once = max(1, min(self.templates, self.chunk // (self.n**2 * 176 + 4 * maps)))
        blocks = 4 * at_once * maps + self.piece(4 * at_once * maps)
        pointwise = self.pair + self.piece(self.n**2 * 64 * 2 * (1 + 2 * self.templates))
        return self.templates * maps + max(blocks, pointwise)

    def of_structure(self) -> int:
        """The normed pairs, and maps of attention."""
        if self.model.structure is None:
            return 0
        return self.pair + 4 * self.model.config.structure_module_heads * self.n**2

    def of_heads(self) -> int:
        """Logits of all, and the widest once more while it is made."""
        widths = [cast(Head, head).pair_channels for head in self.model.heads.values()]
        masked = self.msa // self.model.config.width_msa * 23
        return (sum(widths) + 2 * max(widths)) * self.n**2 + masked
