"""What the model computes (`Alphafold2Config`) and how it is run (`Runtime`)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Alphafold2Config:
    """The keywords of `Alphafold2(...)`: all that changes the numbers, saved with the weights.

    `depth` counts layers of `('conv',)` (only with `use_conv`) + `('self', 'cross')`; with
    `custom_block_types` the list itself says how deep the trunk is. `options` are each part's own
    keywords by its registered name: `options={"evoformer": {"dim_hidden": 16}}`.
    Raises `ValueError` for values that do not fit together.
    """

    dim: int
    dim_msa: int | None = None  # None: as wide as `dim`
    depth: int | None = None
    heads: int = 8
    dim_head: int = 64
    num_tokens: int = 23
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0
    use_conv: bool = False
    conv_seq_kernels: tuple[tuple[int, int], ...] = ((9, 1), (1, 9), (3, 3))
    conv_msa_kernels: tuple[tuple[int, int], ...] = ((1, 9), (3, 3))
    dilations: tuple[int, ...] = (1,)
    custom_block_types: tuple[str, ...] = ()
    predict_coords: bool = False
    structure_module_type: str = "ipa"
    structure_module_dim: int = 128
    structure_module_depth: int = 4
    structure_module_heads: int = 8
    structure_module_dim_head: int = 16
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("dim", "heads", "dim_head", "num_tokens", "structure_module_depth"):
            if not isinstance(value := getattr(self, name), int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        for name in ("attn_dropout", "ff_dropout"):
            if not 0.0 <= (value := getattr(self, name)) < 1.0:
                raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}")
        if not self.custom_block_types and self.depth is None:
            raise ValueError("give depth, or custom_block_types to list the trunk's blocks")
        if self.custom_block_types and self.depth is not None:
            per_layer = 3 if self.use_conv else 2
            raise ValueError(
                f"custom_block_types lists {len(self.custom_block_types)} blocks: leave out depth, "
                f"which counts layers of {per_layer} blocks without a list (got {self.depth})"
            )
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth must be at least 1, got {self.depth}")

    @property
    def width_msa(self) -> int:
        """The width of the MSA representation."""
        return self.dim if self.dim_msa is None else self.dim_msa

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
        except json.JSONDecodeError as error:
            raise ValueError(f"the model's configuration is not JSON: {error}") from None
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Alphafold2Config":
        """`ValueError` names keys that no keyword of this version has."""
        known = {f.name: f.default for f in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown model keywords {unknown}; possible are {sorted(known)}")
        tuples = {k for k in values if isinstance(known[k], tuple)}  # JSON has only lists
        return cls(**{k: as_tuple(v) if k in tuples else v for k, v in values.items()})


def as_tuple(value: Any) -> Any:
    """Lists, and lists inside them, as tuples."""
    return tuple(as_tuple(each) for each in value) if isinstance(value, list | tuple) else value


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """Speed and memory only: any two give the same numbers, and a test says so."""

    attention: str = "auto"  # a backend of `ops/backends`, or the first that does not refuse
    chunk_bytes: int = 256 * 2**20  # without gradients, temporaries are cut to about this size
    checkpoint: bool = False  # with gradients, recompute each block instead of keeping it
