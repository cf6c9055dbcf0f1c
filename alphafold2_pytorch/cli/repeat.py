"""`alphafold2 repeat`: a prediction once more, exactly as its settings.json tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alphafold2_pytorch.cli.batch import Batch
from alphafold2_pytorch.cli.device import choose_device
from alphafold2_pytorch.cli.models import Models, Settings
from alphafold2_pytorch.cli.options import Out
from alphafold2_pytorch.cli.queries import Job
from alphafold2_pytorch.cli.relaxation import read_choice
from alphafold2_pytorch.cli.results import prepare_folder, versions
from alphafold2_pytorch.cli.settings import MSA, TEMPLATES, Told, Truth, check_same, hash_of

MOST_THREADS = 4096
NUMBERS = {"recycles": (int,), "seed": (int,), "ensemble": (int,), "max_rows": (int, type(None))}
KINDS = NUMBERS | {"tolerance": (int, float, type(None)), "rank_by": (str, type(None))}


def run(
    settings_file: Annotated[
        Path,
        typer.Argument(
            metavar="SETTINGS",
            help="The settings.json of a result; its alignment, msa.a3m, lies beside it.",
        ),
    ],
    out: Out,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Where weights are now, if they were moved; may be repeated."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist; default: skip them.")
    ] = False,
) -> None:
    """Fold a query once more with all that settings.json tells, for the same files.

    Weights, templates and the structure compared with are read where they were and must have the
    same content. Other versions of Python or torch are told: results may differ in last digits.
    """
    import torch

    again = Again.read(settings_file, weights or [])
    models = Models(
        again.weights,
        choose_device(again.device),
        again.settings,
        again.chunk_bytes,
        again.compiled,
    )
    truth = None if again.truth is None else Truth.read(*again.truth)
    batch = Batch(out, models, overwrite, truth, again.save_features, again.relax)
    prepare_folder(out)
    torch.set_num_threads(again.threads)
    for line in again.differences():
        batch.say(line)
    batch.run([again.job])


@dataclass(frozen=True)
class Again:
    """A run as settings.json tells it, with what it was made of found again and compared."""

    job: Job
    weights: list[Path]
    chunk_bytes: dict[Path | None, int]
    settings: Settings
    truth: tuple[Path, str | None] | None
    device: str
    threads: int
    save_features: bool
    compiled: bool
    relax: str
    versions: dict[str, str]

    @classmethod
    def read(cls, path: Path, weights: list[Path]) -> "Again":
        """From a file; `weights`: where they are now, if not where they were.

        `ValueError` for a file that is not whole, and where an alignment, weights, a template or
        the truth are no longer what they were; `FileNotFoundError` where they are gone.
        """
        told = Told.read(path)
        made = told.part("ingredients")
        files = found_weights(told, weights)
        chunks = {
            file: each.value("chunk_bytes", int)
            for file, each in zip(files, told.parts("weights"), strict=True)
            if each.value("chunk_bytes", int, type(None)) is not None
        }
        return cls(
            job=found_job(told, made),
            weights=[file for file in files if file is not None],
            chunk_bytes=chunks,
            settings=Settings(
                templates=tuple(found_templates(told, made)),
                **{name: made.value(name, *kinds) for name, kinds in KINDS.items()},
            ),
            truth=found_truth(told, made),
            device=told.value("device", str),
            threads=min(max(told.value("threads", int), 1), MOST_THREADS),
            save_features=told.value("save_features", bool),
            compiled=told.value("compiled", bool),
            relax=read_choice(told),
            versions=told.value("versions", dict),
        )

    def differences(self) -> list[str]:
        """A line for each version that is another than it was."""
        now = versions()
        return [
            f"{name} is {now.get(name)}, it was {before}: results may differ in their last digits"
            for name, before in self.versions.items()
            if now.get(name) != before
        ]


def found_job(told: Told, made: Told) -> Job:
    """The query: its letters, its alignment and templates, which lie beside the settings."""
    from alphafold2_pytorch.data.parse.query import safe_name

    name, letters = safe_name(told.value("name", str)), made.value("sequence", str)
    templates = found_beside(told, TEMPLATES, "templates_sha256")
    path = found_beside(told, MSA, "msa_sha256")
    if path is None:
        from alphafold2_pytorch.data.parse.records import check_letters

        check_letters(letters, f"{told.path}: the sequence", gaps=False)
        return Job(name, letters, 1, None, templates)
    from alphafold2_pytorch.data.parse.query import read_query
    from alphafold2_pytorch.data.parse.records import Msa

    [msa] = read_query(path)
    if not isinstance(msa, Msa) or msa.query != letters:
        raise ValueError(f"{path} is not the alignment of the sequence in {told.path}")
    return Job(name, letters, len(msa.rows), path, templates)


def found_beside(told: Told, file: str, known: str) -> Path | None:
    """A file beside the settings that is as it was; None if there was none."""
    if known not in told.values_by_name:
        return None
    path = told.path.parent / file
    check_same(path, told.value(known, str), told.path)
    return path


def found_weights(told: Told, given: list[Path]) -> list[Path | None]:
    """The files of weights, in their order; None for those of the package."""
    from alphafold2_pytorch.data.parse.files import check_file
    from alphafold2_pytorch.weights.io import embedded_weights

    by_hash = {hash_of(check_file(path)): path for path in given}
    found: list[Path | None] = []
    for each in told.parts("weights"):
        known, file = each.value("sha256", str), each.value("file", str, type(None))
        if known in by_hash:
            found.append(by_hash[known])
            continue
        path = embedded_weights() if file is None else Path(file)
        if not path.is_file():
            raise FileNotFoundError(2, "no such file; --weights FILE says where it is", str(path))
        check_same(path, known, told.path)
        found.append(None if file is None else path)
    if not found or (None in found and len(found) > 1):
        raise told.damaged("weights")
    return found


def found_templates(told: Told, made: Told) -> list[tuple[Path, str | None]]:
    """The template files with their chains."""
    files, parts = told.values("template_files", str), made.parts("templates")
    if len(files) != len(parts):
        raise told.damaged("template_files")
    return [told.same_chain(file, part) for file, part in zip(files, parts, strict=True)]


def found_truth(told: Told, made: Told) -> tuple[Path, str | None] | None:
    """The file that was compared with, and its chain."""
    file = told.value("truth_file", str, type(None))
    return None if file is None else told.same_chain(file, made.part("truth"))
