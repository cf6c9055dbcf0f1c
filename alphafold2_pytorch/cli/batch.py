"""All queries of one call of `alphafold2 fold`: each is folded, written and told of."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphafold2_pytorch.cli.clock import Clock
from alphafold2_pytorch.cli.compare import match_chain
from alphafold2_pytorch.cli.layout import Outcome, finished, result_files
from alphafold2_pytorch.cli.models import Models
from alphafold2_pytorch.cli.prediction import Predictor
from alphafold2_pytorch.cli.preparation import Preparation, Sought
from alphafold2_pytorch.cli.queries import Job, files_of, read_jobs, shortest_first
from alphafold2_pytorch.cli.ranking import Folded, ranked, ranking_line
from alphafold2_pytorch.cli.relaxation import Relaxation
from alphafold2_pytorch.cli.results import PAGE, RANKING, refuse_foreign, versions, write_results
from alphafold2_pytorch.cli.settings import MSA, Told, Truth, describe, ingredients
from alphafold2_pytorch.cli.work import Work

if TYPE_CHECKING:
    from alphafold2_pytorch.cli.cluster import Cluster
    from alphafold2_pytorch.data.parse.records import Template

MOST_TEMPLATES = 4  # of those that were searched: as many as AlphaFold reads


class Batch(Work):
    """One call of the command: what it was asked, what it folded, what failed.

    A query is finished, with all models, before the next one begins: its files are on the disk
    whatever happens later, and no more than one query's results are in memory. The price is that
    several models are loaded anew for each query.
    """

    def __init__(
        self,
        out: Path,
        models: Models,
        overwrite: bool,
        truth: Truth | None = None,
        save_features: bool = False,
        relax: str = "none",
        report: bool = False,
        sought: Sought | None = None,
    ):
        super().__init__()
        self.out, self.models, self.overwrite, self.truth = out, models, overwrite, truth
        self.save_features, self.reports = save_features, report
        relax_device = "cpu" if models.device == "cpu" else "auto"
        self.relaxation = Relaxation(out, relax, relax_device, self.say)
        self.preparation = Preparation(out, sought or Sought(), overwrite)
        self.predictor = Predictor(models, self.say, save_features)

    def read(self, paths: Iterable[Path]) -> list[Job]:
        """The queries of all files and folders that can be read, the shortest first."""
        files: list[Path] = []
        for path in paths:
            with self.noting_failure(str(path), where=""):  # errors name the file
                files += files_of(path)
        jobs: dict[str, Job] = {}
        for file in files:
            found: list[Job] = []
            with self.noting_failure(str(file), where=""):
                found = read_jobs(file)
            for job in found:
                with self.noting_failure(job.name, where=job.name):
                    if job.name in jobs:
                        raise ValueError(f"{file} would overwrite the results of another query")
                    jobs[job.name] = self.preparation.mark(job)
        return shortest_first(jobs.values())

    def run(self, jobs: Iterable[Job], cluster: "Cluster | None" = None) -> None:
        """Do what is not done yet, then tell of all; exit code 1 if anything failed."""
        waiting = [job for each in jobs if (job := self.left(each)) is not None]
        if not all(job.folded for job in waiting):
            self.models.check()
            self.refuse_unread_templates()
        if len(waiting) > 1:
            self.say(f"{len(waiting):,} queries, the shortest first")
        if cluster is not None and waiting:
            cluster.run(self, waiting)
            waiting = []
        for number, job in enumerate(waiting, start=1):
            with self.noting_failure(job.name, where=job.name):
                self.fold(job, f"{number} of {len(waiting)}" if len(waiting) > 1 else "")
        if self.reports and len(self.table) > 1:
            self.say(f"all of them: {self.write_index()}")
        self.conclude()

    def refuse_unread_templates(self) -> None:
        """`ValueError` for templates that no model reads."""
        files = self.models.files
        if self.preparation.sought.templates and not any(file.reads_templates for file in files):
            names = ", ".join(file.name for file in files)
            raise ValueError(f"templates are asked for: {names} cannot read templates")

    def left(self, job: Job) -> Job | None:
        """The query, marked where it is folded; None if it is done, or has other results."""
        with self.noting_failure(job.name, where=job.name):
            record = self.out / f"{job.name}.json"
            refuse_foreign(self.out / job.name)
            if self.overwrite or not record.exists():
                return job
            made_of = ingredients(job, self.models, self.truth)
            if not finished(self.out, job, made_of, self.save_features):
                return job
            lacks_page = self.reports and not (self.out / job.name / PAGE).exists()
            if lacks_page or self.relaxation.left(job.name):
                return job._replace(folded=True)
            before, relax = self.relaxation.before(job.name), self.relaxation.choice
            kept = f" with --relax {before}" if relax == "none" != before else ""
            self.say(f"{job.name}: skipped, {record} exists{kept} (--overwrite replaces it)")
        return None

    def fold(self, job: Job, count: str) -> None:
        """One query through all stages that are not done."""
        from alphafold2_pytorch.data.search import read_rows

        if job.folded:
            self.say(f"{job.name}: folded already")
            if (read := self.out / job.name / MSA).exists():  # that was searched, too
                job = job._replace(rows=len(read_rows(read)))
        else:
            clock = Clock()
            job = self.preparation.run(job, clock)
            if not self.find_structure(job, count, clock):
                return
        self.relaxation.run(job.name)
        best = Told.read(self.out / job.name / RANKING).parts("models")[0]
        self.table.append(cells(job, best.values_by_name, self.models.several))
        if self.reports:
            self.report(job)

    def find_structure(self, job: Job, count: str, clock: Clock) -> bool:
        """Whether any model folded the query, whose files are then there, not relaxed yet."""
        with clock.time("templates"):
            templates = self.read_templates(job)
        found = self.predict(job, templates, count, clock)
        if found:
            self.write(job, ranked(found, self.models.settings.rank_by or "plddt"), clock)
        return bool(found)

    def read_templates(self, job: Job) -> "list[Template]":
        """The templates on the residues of this query, best first."""
        from alphafold2_pytorch.data.template_file import read_templates_npz
        from alphafold2_pytorch.data.templates import read_template

        files = self.models.settings.templates
        found = [read_template(path, job.letters, chain) for path, chain in files]
        if job.templates is not None:
            found += read_templates_npz(job.templates, job.letters)[:MOST_TEMPLATES]
        return found

    def predict(
        self, job: Job, templates: "list[Template]", count: str, clock: Clock
    ) -> list[Folded]:
        """What each model finds; those that fail are told and left out."""
        truth = None
        if self.truth is not None:
            truth = self.truth, match_chain(job.letters, self.truth.structure)
        found: list[Folded] = []
        for weights in self.models.files:
            label = f"{job.name} with {weights.name}" if self.models.several else job.name
            with self.noting_failure(label, where=label):
                start = time.monotonic()
                one = self.predictor.run(weights, job, templates, truth, label, count, clock)
                found.append(one)
                self.tell(label, one, time.monotonic() - start)
        return found

    def tell(self, label: str, found: Folded, seconds: float) -> None:
        """A line on one model's result, and on what it did not do."""
        asked, result = self.models.settings, found.result
        said = f"{label}: took {seconds:.1f} s"
        if found.cycles < asked.cycles:
            said += f" and {found.cycles} of {asked.cycles} cycles"
        sought = self.preparation.sought.templates
        if (asked.templates or sought) and not found.weights.reads_templates:
            said += ", read no templates"
        ptm = "" if result.ptm is None else f", pTM {result.ptm:.3f}"
        self.say(f"{said}: mean pLDDT {result.mean_plddt:.1f}{ptm}")

    def write(self, job: Job, order: list[Folded], clock: Clock) -> None:
        """The result files, all or none."""
        by = self.models.settings.rank_by or "plddt"
        if self.models.several:
            self.say(f"{job.name}: {ranking_line(order, by)}")
        succeeded = {each.weights.path for each in order}
        chunks = {each.weights.model: self.models.chunk_bytes(each.weights.path) for each in order}
        outcome = Outcome(
            job=job,
            order=order,
            by=by,
            failed=[file.name for file in self.models.files if file.path not in succeeded],
            settings=describe(job, self.models, self.truth, self.save_features, chunks),
            record=self.record(job, order[0]),
            clock=clock,
        )
        picture = self.truth is None or self.has("matplotlib", "no picture")
        modelcif = self.has("modelcif", f"no ModelCIF in {self.out / job.name}")
        with clock.time("write"):
            paths = write_results(
                self.out, job.name, result_files(outcome, self.out, picture, modelcif)
            )
        top = [path for path in paths if path.parent == self.out]
        self.say(f"{job.name}: wrote {', '.join(map(str, top))} and {self.out / job.name}/")

    def report(self, job: Job) -> None:
        """The page of a query; results stay whatever happens to it."""
        from alphafold2_pytorch.report.page import write_report

        with self.noting_failure(f"report of {job.name}", where=f"{job.name}, its report"):
            self.say(f"{job.name}: look at {write_report(self.out / job.name)}")

    def write_index(self) -> Path:
        """The page of all queries in the folder."""
        from alphafold2_pytorch.report.index import write_index

        return write_index(self.out, dict.fromkeys(self.failed, "see what was told"))

    def has(self, extra: str, otherwise: str) -> bool:
        """Whether a package for pictures and reports is there; a line says what is lacking."""
        try:
            __import__(extra)
        except ImportError:
            self.say(f"{otherwise}: pip install 'alphafold2-pytorch[report]'")
            return False
        return True

    def record(self, job: Job, best: Folded) -> dict[str, Any]:
        """What the JSON file says beside the result itself."""
        truth = None
        if self.truth is not None and best.comparison is not None:
            truth = {"file": str(self.truth.file), **best.comparison.scores()}
        return {
            "name": job.name,
            "sequence": job.letters,
            "msa_rows": job.rows,
            **best.rows,
            "cycles": best.cycles,
            "settings": best.weights.settings(self.models.settings, self.models.device),
            "versions": versions(),
            "weights_sha256": best.weights.sha256,
            "truth": truth,
        }


def cells(job: Job, best: Mapping[str, Any], several: bool) -> dict[str, str]:
    """A query's row of the table, by headings; `best` is of its ranking."""
    row = {"query": job.name, "residues": f"{len(job.letters):,}", "rows": f"{job.rows:,}"}
    if several:
        row["best model"] = best["preset"] or best["weights"]
    row["mean pLDDT"] = f"{best['mean_plddt']:.1f}"
    if best["ptm"] is not None:
        row["pTM"] = f"{best['ptm']:.3f}"
    if (truth := best["truth"]) is not None:
        row["lDDT-Cα"], row["TM-score"] = f"{truth['lddt_ca']:.3f}", f"{truth['tm_score']:.3f}"
        row["RMSD-Cα"] = f"{truth['rmsd_ca']:.2f} Å"
    return row
