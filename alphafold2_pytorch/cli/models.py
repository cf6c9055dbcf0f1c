"""The models of `alphafold2 fold`: all files are checked first, then one at a time is used."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from alphafold2_pytorch.model import Alphafold2

RANK_BY = {"plddt": "mean pLDDT", "ptm": "pTM"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How every query is folded, in the words of `Alphafold2.fold`.

    `templates` are files with a chain each, `rank_by` one of `RANK_BY`, None where it was not said.
    """

    recycles: int
    seed: int
    max_rows: int | None
    ensemble: int
    tolerance: float | None
    templates: tuple[tuple[Path, str | None], ...]
    rank_by: str | None

    @property
    def cycles(self) -> int:
        """How many there are without an early stop."""
        return self.recycles + 1


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One file of weights, and what is known of its model without having it in memory."""

    path: Path | None  # None: those of the package
    name: str
    model: str  # what its files are called: the stem of `name`
    sha256: str
    preset: str | None  # the model of DeepMind's that the file is named after
    max_rows: int | None  # of an alignment, that it reads if not told otherwise; None: all
    clusters: dict[str, Any] | None  # how it draws from an alignment; None: the same in each cycle
    most_templates: int | None  # None: any number
    has_ptm: bool

    @classmethod
    def of(cls, path: Path | None, model: "Alphafold2", sha256: str) -> "Weights":
        """What a model says of itself; `sha256` is the fingerprint of its file."""
        from alphafold2_pytorch.data.parse.query import safe_name
        from alphafold2_pytorch.inputs.clusters import ClusterInputs
        from alphafold2_pytorch.inputs.light import MAX_ROWS
        from alphafold2_pytorch.presets import preset_of

        clusters = None
        if isinstance(model.inputs, ClusterInputs):
            clusters = asdict(model.inputs.settings)
        most = None if clusters is None else clusters["max_templates"]
        return cls(
            path=path,
            name="embedded" if path is None else path.name,
            model="embedded" if path is None else safe_name(path.stem),
            sha256=sha256,
            preset=preset_of(path) if path is not None and clusters else None,
            max_rows=None if clusters else MAX_ROWS,
            clusters=clusters,
            most_templates=most if model.config.template_attn_depth else 0,
            has_ptm="pae" in model.heads,
        )

    def settings(self, asked: Settings, device: str) -> dict[str, Any]:
        """What a record tells of how this model was used."""
        used = {each.name: getattr(asked, each.name) for each in fields(asked)}
        del used["rank_by"]
        files = asked.templates if self.reads_templates else ()
        used["templates"] = [str(file) + (f":{chain}" if chain else "") for file, chain in files]
        used["max_rows"] = asked.max_rows or self.max_rows
        if self.clusters is not None:
            used["clusters"] = self.clusters
        return used | {"device": device, "weights": self.name, "preset": self.preset}

    @property
    def reads_templates(self) -> bool:
        """Whether it can be given any."""
        return self.most_templates != 0


class Models:
    """The models of one call, of which one is in memory at a time.

    `chunk_bytes` says of a path in which pieces its model computes; the others do it in those of
    `Runtime`. `compiled` ones run blocks that `torch.compile` made. `ValueError` for a file that is
    given twice, and a ranking of one model.
    """

    def __init__(
        self,
        paths: list[Path],
        device: str,
        settings: Settings,
        chunk_bytes: Mapping[Path | None, int] | None = None,
        compiled: bool = False,
    ):
        if twice := [path for at, path in enumerate(paths) if path in paths[:at]]:
            raise ValueError(f"--weights {twice[0]} is given twice")
        if settings.rank_by is not None and len(paths) < 2:
            raise ValueError("--rank-by orders what several --weights find, and there is one model")
        self.paths: list[Path | None] = [*paths] or [None]
        self.device, self.settings, self.compiled = device, settings, compiled
        self.files: list[Weights] = []
        self.loaded: tuple[Path | None, Alphafold2] | None = None
        self.chunks: dict[Path | None, int] = dict(chunk_bytes or {})
        self.hashes: dict[Path | None, str] = {}
        self.seconds: dict[Path | None, float] = {}  # that the last loading took

    @property
    def several(self) -> bool:
        """Whether there is something to rank."""
        return len(self.paths) > 1

    def check(self) -> None:
        """Load each file once, the first one last: what is wrong is told before hours are spent.

        `ValueError` for a file that is no model's, and for settings that a model cannot follow.
        """
        found = {
            path: Weights.of(path, self.load(path), self.sha256(path))
            for path in reversed(self.paths)
        }
        self.files = named_apart([found[path] for path in self.paths])
        for file in self.files:
            refuse_unserved(file, self.settings)
        if self.settings.templates and not any(file.reads_templates for file in self.files):
            names = ", ".join(file.name for file in self.files)
            raise ValueError(f"--template: {names} cannot read templates")

    def load(self, path: Path | None) -> "Alphafold2":
        """The model of a file; the one before is let go first."""
        import torch

        from alphafold2_pytorch.model import Alphafold2
        from alphafold2_pytorch.trunk import compile_blocks

        if self.loaded is None or self.loaded[0] != path:
            self.loaded, start = None, time.monotonic()
            try:
                model = Alphafold2.from_pretrained(path)
            except ValueError as error:
                said = str(error)
                named = path is None or path.name in said
                raise ValueError(said if named else f"{path}: {said}") from None
            self.loaded = path, model.to(self.device)
            if self.compiled:
                compile_blocks(model.trunk, torch.device(self.device), lengths=True)
            self.seconds[path] = time.monotonic() - start
            self.cut(path, self.chunk_bytes(path))
        return self.loaded[1]

    def programs(self) -> int:
        """How many `torch.compile` has made so far, of all models."""
        if not self.compiled:
            return 0
        from alphafold2_pytorch.trunk import programs

        return programs()

    def sha256(self, path: Path | None) -> str:
        """The fingerprint of a file of weights, which is read for it once."""
        from alphafold2_pytorch.data.parse.files import check_file, sha256
        from alphafold2_pytorch.weights.io import embedded_weights

        if path not in self.hashes:
            self.hashes[path] = sha256(embedded_weights() if path is None else check_file(path))
        return self.hashes[path]

    def chunk_bytes(self, path: Path | None) -> int:
        """How large temporaries may get, about; see `Runtime`."""
        import torch

        from alphafold2_pytorch.ops.pieces import choose_piece

        return self.chunks.get(path) or choose_piece(torch.device(self.device))

    def cut(self, path: Path | None, chunk_bytes: int) -> None:
        """Let a model compute in pieces of this size, now and when it is loaded again."""
        from alphafold2_pytorch.config import Runtime
        from alphafold2_pytorch.ops import set_runtime

        self.chunks[path] = chunk_bytes
        if self.loaded is not None and self.loaded[0] == path:
            set_runtime(self.loaded[1], Runtime(chunk_bytes=chunk_bytes))


def named_apart(files: list[Weights]) -> list[Weights]:
    """The same with a number behind what would be called alike: `a/best.npz` and `b/best.npz`."""
    taken: set[str] = set()
    for at, file in enumerate(files):
        name, number = file.model, 1
        while name in taken:
            number += 1
            name = f"{file.model}_{number}"
        taken.add(name)
        files[at] = replace(file, model=name)
    return files


def refuse_unserved(file: Weights, settings: Settings) -> None:
    """`ValueError` for what this model would not follow."""
    if settings.rank_by == "ptm" and not file.has_ptm:
        raise ValueError(
            f"--rank-by ptm: {file.name} predicts no aligned errors, so no pTM (DeepMind's _ptm "
            "models do)"
        )
    if settings.ensemble > 1 and file.clusters is None:
        raise ValueError(
            f"--ensemble {settings.ensemble}: {file.name} reads the same in each cycle, so there "
            "is nothing to average"
        )
    count, most = len(settings.templates), file.most_templates
    if most and count > most:
        raise ValueError(f"{count} times --template: {file.name} reads at most {most} templates")


def show_presets(wanted: bool) -> bool:
    """The answer to `--preset`: DeepMind's models, by the names of their files."""
    if wanted:
        from alphafold2_pytorch.presets import PRESETS, preset

        table = Table(box=SIMPLE_HEAD, show_edge=False)
        for heading in ("preset", "file", "templates", "extra MSA rows", "pTM"):
            table.add_column(heading, justify="right" if "rows" in heading else "left")
        for name in PRESETS:
            config = preset(name)
            rows = config.options["clusters"]["max_extra_msa"]
            read, ptm = (
                "yes" if each else "no" for each in (config.template_attn_depth, config.predict_pae)
            )
            table.add_row(name, f"params_{name}.npz", read, f"{rows:,}", ptm)
        Console(highlight=False).print(table)
        raise typer.Exit
    return wanted
