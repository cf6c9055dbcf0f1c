"""The queries of `alphafold2 fold --ray` on a Ray cluster: workers with models, and who has what.

A worker is a process that keeps its models and folds one query at a time by the code of a run
without Ray. All machines see the same files under the same names: a worker goes to the folder the
command was called in, and writes the results itself. Ray carries the words of the command to the
workers and their messages back, nothing else.
"""

import io
import os
import re
import socket
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from logging import ERROR
from pathlib import Path
from typing import Any

from alphafold2_pytorch.cli.batch import Batch
from alphafold2_pytorch.cli.device import DEVICES, choose_device
from alphafold2_pytorch.cli.main import RAY_ADDRESS, is_user_error, print_error
from alphafold2_pytorch.cli.models import Models, Settings
from alphafold2_pytorch.cli.preparation import Sought
from alphafold2_pytorch.cli.queries import Job
from alphafold2_pytorch.cli.results import prepare_folder, versions
from alphafold2_pytorch.cli.settings import Truth
from alphafold2_pytorch.heap import keep_freed_memory

ATTEMPTS = 3  # at a query whose worker dies
PATIENCE = 30  # seconds without news before a line says what is waited for
REACHED = 10  # seconds in which a cluster's port has to answer


@dataclass(frozen=True)
class Facts:
    """All that a worker needs to be told; paths are as in the command, so records are the same."""

    folder: Path  # where the command was called
    command: tuple[str, ...]
    out: Path
    weights: tuple[Path, ...]
    device: str
    threads: int
    settings: Settings
    compiled: bool
    truth: tuple[Path, str | None] | None
    overwrite: bool
    save_features: bool
    relax: str
    report: bool
    sought: Sought
    versions: dict[str, str]

    @classmethod
    def of(cls, batch: Batch, device: str) -> "Facts":
        """Those of a run, whose workers use a device of this kind."""
        import torch

        models, truth = batch.models, batch.truth
        return cls(
            folder=Path.cwd(),
            command=tuple(sys.argv[1:]),
            out=batch.out,
            weights=tuple(path for path in models.paths if path is not None),
            device=device,
            threads=torch.get_num_threads(),
            settings=models.settings,
            compiled=models.compiled,
            truth=None if truth is None else (truth.file, truth.chain),
            overwrite=batch.overwrite,
            save_features=batch.save_features,
            relax=batch.relaxation.choice,
            report=batch.reports,
            sought=batch.preparation.sought,
            versions=versions(),
        )

    def batch(self) -> Batch:
        """The run as a worker has it, with models that were looked at.

        `OSError` for files that are not to be seen from here, `ValueError` for other versions.
        """
        import torch

        os.chdir(self.folder)
        sys.argv[1:] = self.command  # settings.json has it
        if (found := versions()) != self.versions:
            raise ValueError(f"has {told(found)}, the command runs with {told(self.versions)}")
        if not self.out.is_dir():
            raise FileNotFoundError(2, "the folder of the results is not to be seen", str(self.out))
        prepare_folder(self.out)
        torch.set_num_threads(self.threads)
        device = choose_device(self.device)
        models = Models([*self.weights], device, self.settings, compiled=self.compiled)
        models.check()
        truth = None if self.truth is None else Truth.read(*self.truth)
        return Batch(
            self.out,
            models,
            self.overwrite,
            truth,
            self.save_features,
            self.relax,
            self.report,
            self.sought,
        )


def told(found: dict[str, str]) -> str:
    """Versions in words."""
    return ", ".join(f"{name} {version}" for name, version in found.items())


@dataclass
class Report:
    """What a worker has to say: texts for `stdout` and `stderr`, failures and rows of the table."""

    said: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    table: list[dict[str, str]] = field(default_factory=list)

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Take down what is printed."""
        with redirect_stdout(Ear("stdout", self.said)), redirect_stderr(Ear("stderr", self.said)):
            yield

    def print(self) -> None:
        """Say it here."""
        for stream, text in self.said:
            print(text, end="", file=getattr(sys, stream), flush=True)


class Ear(io.TextIOBase):
    """A stream that notes what is written into it, beside the stream's name."""

    def __init__(self, name: str, said: list[tuple[str, str]]):
        self.name, self.said = name, said

    def write(self, text: str) -> int:
        self.said.append((self.name, text))
        return len(text)


class Worker:
    """A process of the cluster; Ray makes an actor of this class."""

    def start(self, facts: Facts) -> Report:
        """Check the files and load the models; a report with failures is of a worker unfit."""
        keep_freed_memory()  # as the command itself did
        report = Report()
        where = f"worker on {socket.gethostname()}"
        with report.hearing():
            try:
                self.batch = facts.batch()
            except Exception as error:
                if not is_user_error(error):
                    traceback.print_exc()
                print_error(error, where)
                report.failed.append(where)
        return report

    def fold(self, job: Job, count: str) -> Report:
        """One query, whose files are on the disk when this returns."""
        batch, report = self.batch, Report()
        batch.failed, batch.table = report.failed, report.table
        with report.hearing(), batch.noting_failure(job.name, where=job.name):
            batch.fold(job, count)
        return report


class Cluster:
    """A Ray cluster by its address: `local` is one of this machine, for this command alone.

    `auto` is one that runs here, others are `HOST:PORT`; RAY_ADDRESS of the environment, which Ray
    sets for its own jobs, goes before `local`. `ValueError` for what is no address or device,
    `ImportError` where there is no Ray.
    """

    def __init__(self, address: str, device: str):
        if not re.fullmatch(RAY_ADDRESS, address):
            raise ValueError(f"--ray {address}: an address is local, auto or HOST:PORT")
        if device not in DEVICES:
            raise ValueError(f"unknown device {device!r}; choose from {', '.join(DEVICES)}")
        self.address = address
        if address == "local":
            self.address = os.environ.get("RAY_ADDRESS") or address
        if self.address != "local":
            # to say that nothing answers, Ray takes 40 seconds an attempt, and makes twenty
            os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
        # nobody is told that Ray is used, neither by this process nor by those it starts
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray  # noqa: F401
        except ImportError:
            raise ImportError(
                "--ray needs Ray: pip install 'alphafold2-pytorch[cluster]'"
            ) from None
        self.device = device

    def join(self) -> None:
        """Start Ray or find it; `ConnectionError` if nobody answers."""
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": ERROR}
        if self.address == "local":
            ray.init("local", include_dashboard=False, **quiet)
            return
        if found := re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d+)", self.address):
            # Ray itself would warn and try again for a while
            try:
                socket.create_connection((found[1], int(found[2])), REACHED).close()
            except (OSError, OverflowError) as error:
                raise self.unreached(error) from None
        try:
            ray.init(self.address, **quiet)
        except (ConnectionError, RuntimeError) as error:
            raise self.unreached(error) from None

    def unreached(self, error: BaseException) -> ConnectionError:
        """What to raise where no cluster is."""
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return ConnectionError(f"--ray {self.address}: there is no Ray cluster ({said})")

    def run(self, batch: Batch, jobs: list[Job]) -> None:
        """Fold the queries on all workers, and note in `batch` what it would have noted alone."""
        import ray

        self.join()
        try:
            spread = Spread(batch, jobs, *self.room(batch))
            try:
                spread.run()
            finally:  # also with Ctrl-C: what is being folded is given up
                spread.dismiss()
        finally:
            ray.shutdown()

    def room(self, batch: Batch) -> tuple[Facts, int, dict[str, int]]:
        """What workers are told, how many there is room for, and what each takes of a machine.

        `ValueError` if there is room for none.
        """
        import ray

        machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = sum(int(each.get("GPU", 0)) for each in machines)
        if self.device == "cuda" and not gpus:
            raise ValueError(f"--device cuda: the machines of --ray {self.address} have no GPU")
        if gpus and self.device != "cpu":
            return Facts.of(batch, "cuda"), gpus, {"num_gpus": 1, "num_cpus": 1}
        facts = Facts.of(batch, "cpu")
        count = sum(int(each.get("CPU", 0)) // facts.threads for each in machines)
        if not count:
            most = max((int(each.get("CPU", 0)) for each in machines), default=0)
            raise ValueError(
                f"a worker computes with {facts.threads} threads, as this process does, and the "
                f"largest machine of --ray {self.address} has {most} CPUs; OMP_NUM_THREADS says "
                "how many threads there are"
            )
        return facts, count, {"num_gpus": 0, "num_cpus": facts.threads}


class Spread:
    """Which worker has which query. The shortest is first, as it is on one machine.

    A query whose worker dies goes to another one, up to `ATTEMPTS` times; one that fails with an
    error has failed. A worker that is unfit from its start (see `Facts.batch`) gets none.
    """

    def __init__(
        self, batch: Batch, jobs: list[Job], facts: Facts, workers: int, takes: dict[str, int]
    ):
        import ray

        self.batch, self.jobs, self.facts, self.takes = batch, jobs, facts, takes
        self.make: Callable[[], Any] = ray.remote(Worker).options(**takes).remote
        self.waiting = deque(range(len(jobs)))
        self.deaths: Counter[int] = Counter()  # of workers, by the query they had
        self.reports: dict[int, Report] = {}
        self.idle: list[Any] = []
        # by what Ray will answer: the worker, and the number of its query; None: it starts
        self.busy: dict[Any, tuple[Any, int | None]] = {}
        for _ in range(min(workers, len(jobs))):
            self.hire()

    def hire(self) -> None:
        """Start a worker."""
        worker = self.make()
        self.busy[worker.start.remote(self.facts)] = worker, None

    def run(self) -> None:
        """Until each query has a report, or there is no worker any more."""
        import ray

        patient = True
        while len(self.reports) < len(self.jobs) and self.busy:
            done, _ = ray.wait(list(self.busy), timeout=PATIENCE)
            if not done and patient and all(job is None for _, job in self.busy.values()):
                patient = False
                takes = f"{self.takes['num_cpus']} CPUs and {self.takes['num_gpus']} GPUs"
                self.batch.say(f"waiting for the cluster: a worker takes {takes}")
            for answer in done:
                self.hear(answer)
            while self.waiting and self.idle:
                worker, at = self.idle.pop(), self.waiting.popleft()
                job = worker.fold.remote(self.jobs[at], f"{at + 1} of {len(self.jobs)}")
                self.busy[job] = worker, at
        self.conclude()

    def hear(self, answer: Any) -> None:
        """Take a worker's report, or note its death."""
        import ray

        worker, at = self.busy.pop(answer)
        try:
            report = ray.get(answer)
        except ray.exceptions.RayError as error:
            ray.kill(worker)  # for where it is another fault
            self.bury(at, error)
            return
        report.print()
        if at is not None:
            self.reports[at] = report
        if at is None and report.failed:
            ray.kill(worker)
        else:
            self.idle.append(worker)

    def bury(self, at: int | None, error: Exception) -> None:
        """Give the query of a dead worker to another, or up."""
        lines = [line for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else type(error).__name__
        if at is None:  # for instance because its machine lacks this package: the cause is last
            print_error(ValueError(f"a worker did not start: {lines[-1] if lines else said}"))
            return
        self.deaths[at] += 1
        name, deaths = self.jobs[at].name, self.deaths[at]
        if deaths < ATTEMPTS:
            self.batch.say(f"{name}: its worker died, attempt {deaths + 1} of {ATTEMPTS}")
            self.waiting.appendleft(at)
        else:
            print_error(ValueError(f"its worker died {deaths} times: {said}"), name)
            self.reports[at] = Report(failed=[name])
        if len(self.waiting) > len(self.idle):
            self.hire()

    def conclude(self) -> None:
        """Note in the batch what there is, in the order of a run without Ray."""
        for at, job in enumerate(self.jobs):
            report = self.reports.get(at) or Report(failed=[job.name])
            self.batch.failed += report.failed
            self.batch.table += report.table
        if left := len(self.jobs) - len(self.reports):
            print_error(ValueError(f"no worker is left for {left} of {len(self.jobs)} queries"))

    def dismiss(self) -> None:
        """End all workers at once."""
        import ray

        for worker in (*self.idle, *(worker for worker, _ in self.busy.values())):
            ray.kill(worker)
