"""settings.json: what a result was made of, and all that it takes to make it again."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphafold2_pytorch.cli.models import Models
from alphafold2_pytorch.cli.queries import Job
from alphafold2_pytorch.cli.results import versions

if TYPE_CHECKING:
    from alphafold2_pytorch.data.parse.structure import Chain

SETTINGS = "settings.json"
MSA, TEMPLATES = "msa.a3m", "templates.npz"  # beside it
PLAIN = ("recycles", "seed", "max_rows", "ensemble", "tolerance", "rank_by")  # of `Settings`


@dataclass(frozen=True, eq=False)
class Truth:
    """The structure to compare with, and where it was read."""

    file: Path
    chain: str | None
    structure: "Chain"

    @classmethod
    def read(cls, file: Path, chain: str | None) -> "Truth":
        """`FileNotFoundError` and `ValueError` as `read_structure`."""
        from alphafold2_pytorch.data.parse.structure import read_structure

        return cls(file, chain, read_structure(file, chain))


def ingredients(job: Job, models: Models, truth: Truth | None) -> dict[str, Any]:
    """What decides how a query folds: equal ones give the same files, whatever they are called."""
    asked = models.settings
    given = {"alignment": job.alignment, "template_file": job.templates}
    for searched, name in (("msa", "alignment"), ("templates", "template_file")):
        if searched in job.sought:  # known by what is searched, before it is
            given[name] = None
    return {
        "sequence": job.letters,
        **{name: path and hash_of(path) for name, path in given.items()},
        "sought": dict(job.sought),
        **{name: getattr(asked, name) for name in PLAIN},
        "weights": sorted(models.sha256(path) for path in models.paths),
        "templates": [{"sha256": hash_of(file), "chain": chain} for file, chain in asked.templates],
        "truth": truth and {"sha256": hash_of(truth.file), "chain": truth.chain},
    }


def hash_of(path: Path) -> str:
    """The fingerprint of a file's content."""
    from alphafold2_pytorch.data.parse.files import sha256

    return sha256(path)


def describe(
    job: Job,
    models: Models,
    truth: Truth | None,
    save_features: bool,
    chunks: dict[str, int],
) -> dict[str, Any]:
    """The content of settings.json; `chunks` says of each model in which pieces it computed.

    Nothing is relaxed yet; see `relaxation.new_settings`.
    """
    import torch

    device = models.device
    return {
        "name": job.name,
        "command": ["alphafold2", *sys.argv[1:]],
        "ingredients": ingredients(job, models, truth),
        "alignment_file": None if job.alignment is None else str(job.alignment.absolute()),
        "weights": [
            {
                "model": file.model,
                "file": None if file.path is None else str(file.path.absolute()),
                "sha256": file.sha256,
                "preset": file.preset,
                "chunk_bytes": chunks.get(file.model),
            }
            for file in models.files
        ],
        "template_files": [str(file.absolute()) for file, _ in models.settings.templates],
        "truth_file": None if truth is None else str(truth.file.absolute()),
        "relax": {"models": "none"},
        "save_features": save_features,
        "compiled": models.compiled,
        "device": device,
        "device_name": torch.cuda.get_device_name() if device == "cuda" else None,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


@dataclass(frozen=True)
class Told:
    """JSON of a file, whose values are looked at before they are used."""

    path: Path
    values_by_name: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Told":
        """`ValueError` for what is no JSON object."""
        from alphafold2_pytorch.data.parse.files import read_json

        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"{path} has no settings: it is not a JSON object")
        return cls(path, content)

    def value(self, name: str, *kinds: type) -> Any:
        """One value; `ValueError` if it is missing or of another kind."""
        found = self.values_by_name.get(name, self)
        # True and False are numbers to Python
        if not isinstance(found, kinds) or (isinstance(found, bool) and bool not in kinds):
            raise self.damaged(name)
        return found

    def damaged(self, name: str) -> ValueError:
        """What to raise for a value that is missing or odd."""
        return ValueError(f"{self.path} is not of alphafold2 fold: {name!r} is missing or odd")

    def values(self, name: str, kind: type) -> list[Any]:
        """A list of values of one kind."""
        found = self.value(name, list)
        return [Told(self.path, {name: each}).value(name, kind) for each in found]

    def part(self, name: str) -> "Told":
        """An object inside."""
        return Told(self.path, self.value(name, dict))

    def parts(self, name: str) -> list["Told"]:
        """The objects of a list."""
        return [Told(self.path, each) for each in self.values(name, dict)]

    def same_chain(self, file: str, known: "Told") -> tuple[Path, str | None]:
        """A structure's file, which is to be as it was, and its chain."""
        check_same(Path(file), known.value("sha256", str), self.path)
        return Path(file), known.value("chain", str, type(None))


def check_same(path: Path, known: str, settings: Path) -> None:
    """`ValueError` for a file that is no longer what it was, `FileNotFoundError` for none."""
    from alphafold2_pytorch.data.parse.files import check_file

    if hash_of(check_file(path)) != known:
        raise ValueError(
            f"{path} is not the file that {settings} was made with: its content is new"
        )
