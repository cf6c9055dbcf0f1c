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
# What the allocator and the libraries keep is no sum of tensors. With these two, estimates of 256
# to 3,104 residues on a CPU lay within 10 % of the peaks (docs/memory.md); at 64 they decide.
SHARE = 1.04
REST = 16 * 2**20


@runtime_checkable
class Model(Protocol):
    """What is read of `Alphafold2`."""

    config: Alphafold2Config
    inputs: InputEmbedding
    trunk: Trunk
    structure: StructureModule | None
    heads: nn.ModuleDict


def predict_bytes(
    model: Model, residues: int, rows: int, templates: int = 0, ensemble: int = 1
) -> int:
    """Bytes that `predict` needs at its peak beyond weights and features, without gradients.

    The sum of what is alive at once, for the step that has most of it; docs/memory.md has the
    measured peaks beside it. `rows` of the alignment, of which a model with clusters reads some as
    these and some as extra rows.
    """
    return Peak(model, residues, rows, templates, ensemble).bytes()


def longest_chain(model: Model, free: int, rows: int, templates: int = 0, ensemble: int = 1) -> int:
    """The most residues whose `predict_bytes` fit in `free` bytes; 0 if not even one does."""

    def fits(residues: int) -> bool:
        return predict_bytes(model, residues, rows, templates, ensemble) <= free

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

    def __init__(self, model: Model, residues: int, rows: int, templates: int, ensemble: int):
        if model.trunk.buckets:
            residues, rows = bucket(residues), bucket(rows)
        self.model, self.n, self.ensemble, config = model, residues, ensemble, model.config
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
        """At the step that needs most. The pairs of the last cycle are let go of once all members
        of the ensemble have embedded them; what follows has those of this cycle, and the MSA.
        """
        kept = self.kept()
        steps = [self.of_structure(), self.of_heads(), self.msa]  # the MSA once more as it is made
        steps += [self.step(block, self.msa) for block in self.model.trunk.blocks]
        steps += [self.extra + self.step(block, self.extra) for block in self.model.trunk.extra]
        most = max(self.of_inputs(kept), self.pair + self.msa + max(steps))
        return int(SHARE * FLOAT * (sum(kept.values()) + self.of_members() + most)) + REST

    def kept(self) -> dict[str, int]:
        """Of the input embeddings, from one cycle to the next; `inputs.once` has the rule."""
        own = {} if isinstance(self.model.inputs, ClusterInputs) else {"msa": self.msa}
        free = room(FLOAT * self.chunk) // FLOAT
        kept: dict[str, int] = {}
        for name, term in {"maps": self.of_maps(), "pair": self.pair, **own}.items():
            if sum(kept.values()) + term <= free:
                kept[name] = term
        return kept

    def of_members(self) -> int:
        """The sum of those of an ensemble that are done, and the last cycle for those to come."""
        if self.ensemble == 1:
            return 0
        return self.pair + self.msa + (self.pair if self.ensemble > 2 else 0)

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

    def of_inputs(self, kept: dict[str, int]) -> int:
        """Beside what is kept: templates' maps, which are made first, then the pairs of the last
        cycle, those of the features, and their sum, to which the maps are added.
        """
        maps = 0 if "maps" in kept else self.of_maps()
        sums = (2 if "pair" in kept else 3) * self.pair + self.piece(3 * self.pair)
        over_templates = self.n**2 * 64 * 2 * (1 + 2 * self.templates)
        return maps + max(
            sums, self.pair + self.of_template_blocks(), self.pair + self.piece(over_templates)
        )

    def of_template_blocks(self) -> int:
        """The updates of as many templates as are computed at once."""
        module = getattr(self.model.inputs, "templates", None)
        if not self.templates or module is None:
            return 0
        maps = self.n**2 * module.dim
        at_once = max(1, min(self.templates, self.chunk // (self.n**2 * 176 + 4 * maps)))
        return 4 * at_once * maps + self.piece(4 * at_once * maps)

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
