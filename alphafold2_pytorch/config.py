"""What the model computes (`Alphafold2Config`) and how it is run (`Runtime`)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from typing import Any

# Keywords of the earliest library of this name that mean nothing here, and what does their work.
REPLACED = {
    "attn_types": "custom_block_types lists the trunk's blocks",
    "coords_module": "register a structure module and name it in structure_module_type",
    "max_num_msas": "an alignment may have any number of rows",
    "max_num_templates": "there may be any number of templates",
    "num_custom_blocks": "repeat the list: custom_block_types=('conv', 'self') * n",
    "se3_edges_fourier_encodings": "structure modules read the pair representation itself",
    "structure_module_adj_dim": "structure modules read the pair representation itself",
    "structure_module_adj_neighbors": "structure_module_knn limits the neighbours",
    "template_embedder_type": "templates are embedded as invariants of their coordinates",
    "trunk_embeds_to_se3_edges": "structure modules read the pair representation itself",
    "use_eigen_mds": "utils.MDScaling(eigen=True)",
}
# Which block reads a keyword: set without such a block, it would change nothing.
READ_BY = {
    "sparse_self_attn": "self",
    "msa_tie_row_attn": "self",
    "inter_msa_self_attn": "self",
    "cross_attn_linear": "cross",
    "cross_attn_linear_projection_update_every": "cross",
    "cross_attn_kron_primary": "cross",
    "cross_attn_kron_msa": "cross",
    "cross_attn_compress_ratio": "cross",
    "disable_cross_attn_rotary": "cross",
    "conv_seq_kernels": "conv",
    "conv_msa_kernels": "conv",
    "conv_glu_gated": "conv",
    "dilations": "conv",
}
PER_LAYER = ("sparse_self_attn", "cross_attn_linear")  # one value, or one for each such block
# Slots in atom14's order (N, CA, C, O, CB, then the side chain) by the word of `atoms`.
ATOM_SETS = {
    "backbone": (0, 1, 2),
    "backbone-with-cbeta": (0, 1, 2, 4),
    "backbone-with-oxygen": (0, 1, 2, 3),
    "backbone-with-cbeta-and-oxygen": (0, 1, 2, 3, 4),
    "all": tuple(range(14)),
}
COUNTS = (
    "dim",
    "heads",
    "dim_head",
    "num_tokens",
    "dim_extra_msa",
    "cross_attn_compress_ratio",
    "cross_attn_linear_projection_update_every",
    "structure_module_dim",
    "structure_module_depth",
    "structure_module_heads",
    "structure_module_dim_head",
)
COUNTS_OR_NONE = (
    "num_embedds",
    "template_attn_depth",
    "extra_msa_depth",
)  # 0: the model reads none
MAY_BE_NONE = (
    "dim_msa",
    "depth",
    "max_seq_len",
    "mds_iters",
    "structure_module_refinement_iters",
    "structure_module_knn",
)
DEPTHS = ("depth", "extra_msa_depth", "template_attn_depth", "structure_module_depth")
MOST_LAYERS = 1000  # DeepMind's has 48: a damaged file may ask for any number


@dataclass(frozen=True, kw_only=True)
class Alphafold2Config:
    """The keywords of `Alphafold2(...)`: all that changes the numbers, saved with the weights.

    `depth` counts layers of `('conv',)` (only with `use_conv`) + `('self', 'cross')`; with
    `custom_block_types` the list itself says how deep the trunk is. `options` are each part's own
    keywords by its registered name: `options={"evoformer": {"dim_hidden": 16}}`.
    Raises `ValueError` for values that do not fit together or that no part would read.
    """

    dim: int
    dim_msa: int | None = None  # None: as wide as `dim`
    depth: int | None = None
    heads: int = 8
    dim_head: int = 64
    max_seq_len: int | None = None  # residues; a longer input is refused
    inputs: str = "tokens"  # which features are embedded; "clusters": AlphaFold2's
    extra_msa_depth: int = 0  # blocks of the stack that only extra MSA rows pass; 0: none
    dim_extra_msa: int = 64
    empty_attention: str = "zero"  # of a row without keys; "average": the mean, as AlphaFold2's
    num_tokens: int = 23
    num_embedds: int = 1280  # width of `embeds` and `msa_embeds`; 0: the model reads none
    disable_token_embed: bool = False  # only `embeds` and `msa_embeds` say what a residue is
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0
    reversible: bool = False
    rotary: bool = False
    custom_block_types: tuple[str, ...] = ()
    use_conv: bool = False
    conv_seq_kernels: tuple[tuple[int, int], ...] = ((9, 1), (1, 9), (3, 3))
    conv_msa_kernels: tuple[tuple[int, int], ...] = ((1, 9), (3, 3))
    conv_glu_gated: bool = False
    dilations: tuple[int, ...] = (1, 3, 5)
    sparse_self_attn: bool | tuple[bool, ...] = False
    msa_tie_row_attn: bool = False
    inter_msa_self_attn: bool = True
    cross_attn_linear: bool | tuple[bool, ...] = False
    cross_attn_linear_projection_update_every: int = 1000  # training steps
    cross_attn_kron_primary: bool = False
    cross_attn_kron_msa: bool = False
    cross_attn_compress_ratio: int = 1
    disable_cross_attn_rotary: bool = False
    template_attn_depth: int = 2  # layers; 0: the model reads no templates
    predict_angles: bool = False
    symmetrize_omega: bool = True
    predict_real_value_distances: bool = False
    predict_masked_msa: bool = False
    predict_resolved: bool = False  # which atoms an experiment would resolve
    predict_pae: bool = False  # the predicted aligned error, and pTM
    predict_coords: bool = False
    return_aux_logits: bool = False  # `forward` returns them beside the coordinates
    mds_iters: int | None = None  # of the first coordinates; None: the structure module's choice
    structure_module_type: str | bool = "ipa"  # False: "en"
    structure_module_dim: int = 128
    structure_module_depth: int = 4  # layers; of "ipa" the iterations, which share weights
    structure_module_heads: int = 8
    structure_module_dim_head: int = 16
    structure_module_refinement_iters: int | None = None  # None: the module's choice, as below
    structure_module_knn: int | None = None  # neighbours of each point
    structure_num_global_nodes: int | None = None  # summaries of the chain that every point sees
    atoms: Any = "backbone"  # those `forward` returns: a word of `ATOM_SETS`, or 14 of 0 or 1
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        for name in COUNTS + COUNTS_OR_NONE:
            value, low = getattr(self, name), int(name in COUNTS)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}")
        for name in MAY_BE_NONE:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        for name in DEPTHS:
            if (value := getattr(self, name) or 0) > MOST_LAYERS:
                raise ValueError(f"{name} must be at most {MOST_LAYERS}, got {value}")
        for name in ("attn_dropout", "ff_dropout"):
            if not 0.0 <= (value := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
        if not self.custom_block_types and self.depth is None:
            raise ValueError("give depth, or custom_block_types to list the trunk's blocks")
        listed = len(self.custom_block_types)
        if listed and (self.depth not in (None, listed) or self.use_conv):
            what = "use_conv" if self.use_conv else f"depth={self.depth}"
            raise ValueError(
                f"custom_block_types lists {listed} blocks: leave out {what}, which says "
                " what the layers are where there is no list"
            )
        self._check_per_layer()
        self._check_read()
        self._check_structure()

    def _check_structure(self) -> None:
        if self.structure_module_type is False:
            object.__setattr__(self, "structure_module_type", "en")
        if not isinstance(self.structure_module_type, str):
            raise ValueError(
                "structure_module_type must be the name of a structure module, or False for "
                f"'en', got {self.structure_module_type!r}"
            )
        nodes = self.structure_num_global_nodes
        if nodes is not None and (not isinstance(nodes, int) or nodes < 0):
            raise ValueError(f"structure_num_global_nodes must be at least 0, got {nodes!r}")
        object.__setattr__(self, "atoms", chosen_atoms(self.atoms))

    def _check_per_layer(self) -> None:
        for name in PER_LAYER:
            value, block = getattr(self, name), READ_BY[name]
            count = self.block_types.count(block)
            if isinstance(value, tuple) and len(value) != count:
                raise ValueError(
                    f"{name} has {len(value)} entries for {count} {block!r} blocks: give one "
                    "value, or one for each of them"
                )
        if not self.dilations:
            raise ValueError("dilations is empty: give at least one whole number")

    def _check_read(self) -> None:
        """A keyword that changes nothing is a mistake of whoever gave it."""
        own = {"self", "cross", "conv", "evoformer", "covariance"}
        if set(self.block_types) <= own:  # a block of a user may read any keyword
            for name, block in READ_BY.items():
                if getattr(self, name) != getattr(type(self), name) and not self._has(block):
                    raise ValueError(f"{name} is read by {block!r} blocks; this trunk has none")
        kron = self.cross_attn_kron_primary or self.cross_attn_kron_msa
        linear = any_of(self.cross_attn_linear)
        redraw = "cross_attn_linear_projection_update_every"
        if getattr(self, redraw) != getattr(type(self), redraw) and not linear:
            raise ValueError(f"{redraw} would change nothing without cross_attn_linear")
        needs = {
            "rotary": self._has("self") or kron,
            "disable_cross_attn_rotary": self.rotary and kron,
            "return_aux_logits": self.predict_coords,
            "mds_iters": self.predict_coords,
            "predict_resolved": self.predict_coords,
            "predict_pae": self.predict_coords,
        }
        for name, met in needs.items():
            if getattr(self, name) and not met:
                raise ValueError(f"{name}={getattr(self, name)!r} would change nothing here")
        if not self.symmetrize_omega and not self.predict_angles:
            raise ValueError("symmetrize_omega=False would change nothing without predict_angles")
        if self.rotary and self.dim_head % 2:
            raise ValueError(f"rotary turns pairs of features: dim_head={self.dim_head} is odd")
        if linear and self.cross_attn_compress_ratio > 1:
            raise ValueError("linear cross attention has no keys to compress: choose one of them")
        if self.disable_token_embed and not self.num_embedds:
            raise ValueError("disable_token_embed leaves only embeds: num_embedds must not be 0")
        if self.extra_msa_depth and self.inputs == "tokens":
            raise ValueError("extra_msa_depth needs extra MSA rows, as inputs='clusters' has them")
        if any_of(self.sparse_self_attn) and self.max_seq_len is None:
            raise ValueError("sparse_self_attn needs max_seq_len, the longest input to be read")

    def _has(self, block: str) -> bool:
        return block in self.block_types

    def of_layer(self, name: str, layer: int) -> Any:
        """What a keyword that may be a tuple says for block number `layer` of the trunk."""
        value = getattr(self, name)
        if not isinstance(value, tuple):
            return value
        return value[self.block_types[:layer].count(READ_BY[name])]

    @property
    def width_msa(self) -> int:
        """The width of the MSA representation."""
        return self.dim if self.dim_msa is None else self.dim_msa

    @property
    def atom_slots(self) -> tuple[int, ...]:
        """The atom14 slots that `atoms` chooses, in increasing order."""
        if isinstance(self.atoms, str):
            return ATOM_SETS[self.atoms]
        return tuple(slot for slot, chosen in enumerate(self.atoms) if chosen)

    @property
    def block_types(self) -> tuple[str, ...]:
        """The trunk's blocks in order."""
        if self.custom_block_types:
            return self.custom_block_types
        layer = (("conv",) if self.use_conv else ()) + ("self", "cross")
        return layer * (self.depth or 0)

    def to_json(self) -> str:
        """A text that `from_json` reads back to an equal config."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Alphafold2Config":
        """`ValueError` names keys that no keyword of this version has."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the model's configuration is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"the model's configuration is no JSON object, got {text[:40]!r}")
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Alphafold2Config":
        """`ValueError` names keys that no keyword of this version has, or says what is odd."""
        parts = values.get("options", {})
        if not isinstance(parts, Mapping) or not all(
            isinstance(p, Mapping) for p in parts.values()
        ):
            raise ValueError(f"options must be keywords of parts by their names, got {parts!r}")
        known = {f.name: f.default for f in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown model keywords {unknown}; possible are {sorted(known)}")
        tuples = {k for k in values if isinstance(known[k], tuple)} | set(PER_LAYER)
        options = {part: {k: as_tuple(v) for k, v in own.items()} for part, own in parts.items()}
        read = {k: as_tuple(v) if k in tuples else v for k, v in values.items()}
        try:
            return cls(**{**read, "options": options})
        except TypeError as error:  # JSON may hold a word where a number should be
            said = " ".join(str(error).split())
            raise ValueError(f"a model keyword is of another kind than it should: {said}") from None

    @classmethod
    def from_keywords(cls, **keywords: Any) -> "Alphafold2Config":
        """`TypeError` for a keyword there is not, with what took its place or comes near it."""
        known = [f.name for f in fields(cls)]
        for name in keywords:
            if name in REPLACED:
                raise TypeError(f"there is no keyword {name!r}: {REPLACED[name]}")
            if name not in known:
                near = get_close_matches(name, known) or sorted(known)
                raise TypeError(f"there is no keyword {name!r}; did you mean one of {near}?")
        return cls(**keywords)


def chosen_atoms(atoms: Any) -> str | tuple[int, ...]:
    """`atoms` as a word of `ATOM_SETS` or fourteen 0 or 1; `ValueError` for anything else."""
    if isinstance(atoms, str):
        if atoms not in ATOM_SETS:
            raise ValueError(f"unknown atoms {atoms!r}; choose from {sorted(ATOM_SETS)}")
        return atoms
    values = atoms.tolist() if hasattr(atoms, "tolist") else atoms
    right = isinstance(values, list | tuple) and len(values) == 14
    if not right or not all(value in (0, 1) for value in values) or not any(values):
        raise ValueError(
            f"atoms must be one of {sorted(ATOM_SETS)} or 14 values of 0 or 1, one for each atom14 "
            f"slot and not all 0, got {atoms!r}"
        )
    return tuple(int(value) for value in values)


def any_of(value: bool | tuple[bool, ...]) -> bool:
    """Whether a keyword that may be a tuple is on anywhere."""
    return any(value) if isinstance(value, tuple) else value


def as_tuple(value: Any) -> Any:
    """Lists, and lists inside them, as tuples."""
    return tuple(as_tuple(each) for each in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Speed and memory only: any two give the same numbers, and a test says so."""

    attention: str = "auto"  # a backend of `ops/backends`, or the first that does not refuse
    triangle: str = "auto"  # likewise a backend of `ops/triangles`, for triangle multiplications
    linear: str = "auto"  # "torch", or "onednn": on CPUs, in float32
    chunk_bytes: int | None = None  # of temporaries without gradients, about; None: by what is free
    checkpoint: bool = False  # with gradients, recompute each block instead of keeping it
    # on CPUs, of pieces' graphs that training keeps instead of computing these pieces again, in all
    # of the process; None: 576 MiB, or nothing with `checkpoint`
    kept_bytes: int | None = None

    @property
    def kept(self) -> int:
        """`kept_bytes`, decided."""
        if self.kept_bytes is not None:
            return self.kept_bytes
        return 0 if self.checkpoint else 576 * 2**20
