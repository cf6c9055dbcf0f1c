"""One query with one model: how much memory it may take, and what is found."""

import gc
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from alphafold2_pytorch.cli.clock import Clock, Cycles
from alphafold2_pytorch.cli.compare import compare
from alphafold2_pytorch.cli.device import free_memory
from alphafold2_pytorch.cli.main import is_out_of_memory
from alphafold2_pytorch.cli.models import Models, Weights
from alphafold2_pytorch.cli.queries import Job
from alphafold2_pytorch.cli.ranking import Folded
from alphafold2_pytorch.cli.settings import Truth

if TYPE_CHECKING:
    import numpy as np

    from alphafold2_pytorch.data.parse.records import Template

LEAST_CHUNK = 2**20  # bytes; smaller pieces save little beside what is held anyway
MIB = 2**20


class Predictor:
    """Asks a model; what does not fit the memory is computed in smaller pieces.

    Smaller pieces stay for the queries that come after, which are longer.
    """

    def __init__(self, models: Models, say: Callable[[str], None], save_features: bool):
        self.models, self.say, self.save_features = models, say, save_features

    def run(
        self,
        weights: Weights,
        job: Job,
        templates: "list[Template]",
        truth: "tuple[Truth, np.ndarray] | None",
        label: str,
        count: str,
        clock: Clock,
    ) -> Folded:
        """What a model finds, and how it compares with a truth at matched pairs of residues.

        `MemoryError` if there is not enough for the smallest pieces, too.
        """
        self.models.load(weights.path)
        # counts for the query that it was done for: none, where the model is there already
        clock.add(f"load_{weights.model}", self.models.seconds.pop(weights.path, 0.0))
        before, made = self.models.chunk_bytes(weights.path), self.models.programs()
        try:
            self.fit(weights, job, len(templates), label)
            for chunk in halves(self.models.chunk_bytes(weights.path)):
                self.models.cut(weights.path, chunk)
                try:
                    found = self.predict(weights, job, templates, truth, f"{label} {count}", clock)
                    self.tell_programs(job, label, self.models.programs() - made)
                    return found
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    told = str(error).splitlines()[0] if str(error) else ""
                # only now is what the failed attempt held let go
                gc.collect()
                free_memory(self.models.device)
                if chunk > LEAST_CHUNK:
                    self.say(f"{label}: out of memory, tried again in pieces of half the size")
            raise MemoryError(
                f"{size_of(job, job.rows)} do not fit, not even in pieces of {chunk // MIB} MiB; "
                f"fewer rows (--max-rows) need less ({told})"
            )
        except MemoryError:
            self.models.cut(weights.path, before)
            raise

    def fit(self, weights: Weights, job: Job, templates: int, label: str) -> None:
        """Say what a query needs, in pieces that are small enough for what is free beside a model.

        `MemoryError` if none are.
        """
        model, device = self.models.load(weights.path), self.models.device
        read = min(job.rows, self.models.settings.max_rows or weights.max_rows or job.rows)
        free, what = free_memory(device), size_of(job, read)
        ensemble = self.models.settings.ensemble
        for chunk in halves(self.models.chunk_bytes(weights.path)):
            self.models.cut(weights.path, chunk)
            needed = model.memory_estimate(len(job.letters), read, templates, ensemble)
            if free is None or needed <= free:
                break
        have = "" if free is None else f" of {free / 1e9:.1f} GB free"
        self.say(f"{label}: {what}, needs about {needed / 1e9:.1f} GB{have} on {device}")
        if free is not None and needed > free:
            from alphafold2_pytorch.memory import longest_chain

            longest = longest_chain(model, free, read, templates, ensemble)
            raise MemoryError(
                f"{what} need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; the "
                f"longest chain that this memory holds with as many rows is about "
                f"{longest:,} residues"
            )

    def tell_programs(self, job: Job, label: str, made: int) -> None:
        """A line if `torch.compile` had something to do, which takes minutes."""
        if made:
            from alphafold2_pytorch.trunk import bucket

            up_to = bucket(len(job.letters))
            programs = "1 program" if made == 1 else f"{made} programs"
            self.say(f"{label}: compiled {programs} for chains padded to {up_to:,} residues")

    def predict(
        self,
        weights: Weights,
        job: Job,
        templates: "list[Template]",
        truth: "tuple[Truth, np.ndarray] | None",
        label: str,
        clock: Clock,
    ) -> Folded:
        """One attempt, with a bar of its cycles, and a line on the result."""
        asked, start = self.models.settings, time.monotonic()
        with Cycles(label.strip(), asked.cycles) as cycles:
            prediction = self.models.load(weights.path).fold(
                job.letters,
                job.alignment,
                recycles=asked.recycles,
                seed=asked.seed,
                max_rows=asked.max_rows,
                progress=cycles,
                name=job.name,
                templates=templates if weights.reads_templates else (),
                ensemble=asked.ensemble,
                tolerance=asked.tolerance,
            )
        clock.add(f"features_{weights.model}", cycles.ready - start)
        clock.add(f"predict_{weights.model}", time.monotonic() - cycles.ready)
        comparison = None
        if truth is not None:
            comparison = compare(prediction, truth[0].structure, truth[1])
        return Folded.of(weights, prediction, cycles.done, comparison, self.save_features)


def halves(chunk: int) -> Iterator[int]:
    """A number of bytes, its half and so on, down to `LEAST_CHUNK`."""
    yield chunk
    while chunk > LEAST_CHUNK:
        chunk = max(chunk // 2, LEAST_CHUNK)
        yield chunk


def size_of(job: Job, read: int) -> str:
    """A query's size, of whose rows so many are read."""
    rows = f"{read:,} of {job.rows:,} rows" if read < job.rows else f"{read:,} rows"
    return f"{len(job.letters):,} residues" + (f", {rows}" if job.rows > 1 else "")
