"""`alphafold2 fold`: sequences and alignments to structures on disk."""

import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TimeElapsedColumn
from rich.table import Table

from alphafold2_pytorch.cli.compare import Comparison, compare, match_chain
from alphafold2_pytorch.cli.device import choose_device, free_memory
from alphafold2_pytorch.cli.main import is_user_error, print_error
from alphafold2_pytorch.cli.picture import draw_comparison
from alphafold2_pytorch.cli.results import (
    prepare_folder,
    versions,
    write_record,
    write_results,
    write_text,
)

if TYPE_CHECKING:
    from alphafold2_pytorch.data.parse.structure import Chain
    from alphafold2_pytorch.features import Prediction

MAX_ROWS = 256  # rows of an alignment that are read; more are sampled


def run(
    queries: Annotated[
        list[Path],
        typer.Argument(
            metavar="QUERY",
            help="FASTA (each record is folded alone), a3m or Stockholm (the first row is folded), "
            "plain or gzipped. Results are named after records, and after files of alignments.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Weights from alphafold2 train; default: those of the package."
        ),
    ] = None,
    recycles: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often the result is fed back.")
    ] = 3,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", help=f"Draws {MAX_ROWS} rows of a larger alignment."),
    ] = 0,
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda", help="Where to run; auto: a GPU if there is one."),
    ] = "auto",
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="PDB or mmCIF file to compare with: adds scores and a picture."
        ),
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(metavar="X", help="The chain of --truth; default: its first protein."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist; default: skip them.")
    ] = False,
) -> None:
    """Fold proteins: NAME.pdb, NAME.cif (pLDDT as B-factor) and NAME.json for each query.

    Queries that fail are reported and the others folded; the exit code is then 1.
    """
    device = choose_device(device)
    batch = Batch(out, recycles, seed, overwrite, truth, read_truth(truth, chain))
    prepare_folder(out)
    jobs = [job for job in batch.read(queries) if not batch.skips(job)]
    if jobs:
        batch.load(weights, device)
    for number, job in enumerate(jobs, start=1):
        with batch.noting_failure(job.name, where=job.name):
            batch.fold(job, f"{number} of {len(jobs)}" if len(jobs) > 1 else "")
    batch.conclude()


def read_truth(path: Path | None, chain: str | None) -> "Chain | None":
    """The structure to compare with."""
    from alphafold2_pytorch.data.parse.structure import read_structure

    if path is not None:
        return read_structure(path, chain)
    if chain is not None:
        raise ValueError(f"--chain {chain} is a chain of --truth FILE, which is missing")
    return None


class Job(NamedTuple):
    """One query; `name` is that of its result files."""

    name: str
    letters: str
    rows: int
    alignment: Path | None


class Batch:
    """One call of the command: what it was asked, what it folded, what failed."""

    def __init__(
        self,
        out: Path,
        recycles: int,
        seed: int,
        overwrite: bool,
        truth_file: Path | None,
        truth: "Chain | None",
    ):
        self.out, self.recycles, self.seed, self.overwrite = out, recycles, seed, overwrite
        self.truth_file, self.truth = truth_file, truth
        self.console = Console(highlight=False)
        self.failed: list[str] = []
        self.names: set[str] = set()
        self.table = Table(box=SIMPLE_HEAD, show_edge=False)
        for heading in ("query", "residues", "rows", "mean pLDDT"):
            self.table.add_column(heading, justify="left" if heading == "query" else "right")
        if truth is not None:
            for heading in ("lDDT-Cα", "TM-score", "RMSD-Cα"):
                self.table.add_column(heading, justify="right")

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def noting_failure(self, name: str, where: str) -> Iterator[None]:
        """Report an error and go on with the next query; a fault of this program with its trace."""
        try:
            yield
        except Exception as error:
            if not is_user_error(error):
                traceback.print_exc()
            print_error(error, where)
            self.failed.append(name)

    def read(self, paths: Iterable[Path]) -> Iterator[Job]:
        """The queries of all files that can be read."""
        from alphafold2_pytorch.data.parse.query import read_query, safe_name
        from alphafold2_pytorch.data.parse.records import Msa

        for path in paths:
            queries = []
            with self.noting_failure(str(path), where=""):  # its errors name the file
                queries = read_query(path)
            for query in queries:
                name = safe_name(query.name)
                with self.noting_failure(name, where=name):
                    if name in self.names:
                        raise ValueError(f"{path} would overwrite the results of another query")
                    self.names.add(name)
                    if isinstance(query, Msa):
                        yield Job(name, query.query, len(query.rows), path)
                    else:
                        yield Job(name, query.letters, 1, None)

    def skips(self, job: Job) -> bool:
        """Whether there are results already, which are to stay."""
        path = self.out / f"{job.name}.json"
        if self.overwrite or not path.exists():
            return False
        self.say(f"{job.name}: skipped, {path} exists (--overwrite replaces it)")
        return True

    def load(self, weights: Path | None, device: str) -> None:
        """Make the model and note what it is."""
        from alphafold2_pytorch.model import Alphafold2
        from alphafold2_pytorch.weights.io import embedded_weights, sha256

        self.device = device
        self.model = Alphafold2.from_pretrained(weights).to(device)
        self.record: dict[str, Any] = {
            "settings": {
                "recycles": self.recycles,
                "seed": self.seed,
                "max_rows": MAX_ROWS,
                "device": device,
                "weights": "embedded" if weights is None else weights.name,
            },
            "versions": versions(),
            "weights_sha256": sha256(embedded_weights() if weights is None else weights),
        }

    def fold(self, job: Job, count: str) -> None:
        """One query, from the check of memory to its files and its row of the table."""
        self.check_memory(job)
        pairs = None if self.truth is None else match_chain(job.letters, self.truth)
        start = time.monotonic()
        with cycles_shown(f"{job.name} {count}".strip(), self.recycles + 1) as show:
            prediction = self.model.fold(
                job.letters,
                job.alignment,
                recycles=self.recycles,
                seed=self.seed,
                max_rows=MAX_ROWS,
                progress=show,
                name=job.name,
            )
        seconds = time.monotonic() - start
        comparison = None
        if self.truth is not None and pairs is not None:
            comparison = compare(prediction, self.truth, pairs)
        paths = self.write(job, prediction, comparison)
        self.say(f"{job.name}: took {seconds:.1f} s, wrote {', '.join(map(str, paths))}")
        scores = [f"{float(prediction.plddt.mean()):.1f}"]
        if comparison is not None:
            scores += [f"{comparison.lddt_ca:.3f}", f"{comparison.tm_score:.3f}"]
            scores += [f"{comparison.rmsd_ca:.2f} Å"]
        self.table.add_row(job.name, f"{len(job.letters):,}", f"{job.rows:,}", *scores)

    def check_memory(self, job: Job) -> None:
        """Say what a query needs; `MemoryError` if that is more than there is."""
        read = min(job.rows, MAX_ROWS)
        needed, free = self.model.memory_estimate(len(job.letters), read), free_memory(self.device)
        rows = f"{read} of {job.rows:,} rows" if read < job.rows else f"{read} rows"
        what = f"{len(job.letters):,} residues" + (f", {rows}" if job.rows > 1 else "")
        have = "" if free is None else f" of {free / 1e9:.1f} GB free"
        self.say(f"{job.name}: {what}, needs about {needed / 1e9:.1f} GB{have} on {self.device}")
        if free is not None and needed > free:
            raise MemoryError(
                f"{what} need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
            )

    def write(
        self, job: Job, prediction: "Prediction", comparison: Comparison | None
    ) -> list[Path]:
        """The result files; without matplotlib the picture is left out with a notice."""
        record = {
            "name": job.name,
            "sequence": job.letters,
            "msa_rows": job.rows,
            "msa_rows_read": prediction.features.size("s"),
            **self.record,
            "truth": None,
        }
        writers = {
            "pdb": lambda path: write_text(path, prediction.to_pdb()),
            "cif": lambda path: write_text(path, prediction.to_mmcif()),
        }
        if comparison is not None:
            record["truth"] = {"file": str(self.truth_file), **comparison.scores()}
            try:
                import matplotlib  # noqa: F401
            except ImportError:
                self.say("no picture: pip install 'alphafold2-pytorch[report]'")
            else:
                writers["png"] = partial(draw, prediction=prediction, comparison=comparison)
        writers["json"] = partial(write_record, prediction=prediction, record=record)
        return write_results(self.out, job.name, writers)

    def conclude(self) -> None:
        """The table, and the list of failures with exit code 1."""
        if self.table.row_count:
            self.console.print(self.table)
        if not self.failed:
            return
        if len(self.failed) + self.table.row_count > 1:
            print_error(ValueError(f"{len(self.failed)} failed: {', '.join(self.failed)}"))
        raise typer.Exit(1)


@contextmanager
def cycles_shown(what: str, cycles: int) -> Iterator[Any]:
    """A progress bar on stderr that goes away; gives the function to call after each cycle."""
    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        "cycles",
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    silent = not console.is_terminal
    with Progress(
        SpinnerColumn(), *columns, console=console, transient=True, disable=silent
    ) as bar:
        task = bar.add_task(what, total=cycles)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def draw(path: Path, prediction: "Prediction", comparison: Comparison) -> None:
    """The picture of one prediction."""
    title = (
        f"{prediction.name}: lDDT-Cα {comparison.lddt_ca:.2f}, TM-score {comparison.tm_score:.2f}, "
        f"RMSD-Cα {comparison.rmsd_ca:.1f} Å"
    )
    draw_comparison(
        path,
        title,
        prediction.expected_distance[0].cpu().numpy(),
        comparison.distance,
        prediction.plddt[0].cpu().numpy(),
        comparison.lddt_per_residue,
    )
