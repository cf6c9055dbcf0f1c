"""What `benchmark_gpu.py` counts and times with: operations, bytes, the device's own limits."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

ROUNDS = 3
REFUSED = "refuses this input: "
LEAST = 0.03  # seconds that a round takes at least


@dataclass(frozen=True)
class Figure:
    """One line of the page. `share`: of the time that the device's limits would allow, or None."""

    section: str
    what: str
    value: float | None  # None: not measured; `note` says why
    unit: str
    share: float | None = None
    peak: int | None = None  # bytes
    note: str = ""

    def told(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """What the device reached in this run: operations a second in `dtype`, bytes a second."""

    rate: float
    bandwidth: float

    def seconds(self, operations: float, moved: float) -> float:
        """The least that so many operations and bytes take (Williams et al. 2009: the roofline)."""
        return max(operations / self.rate, moved / self.bandwidth)


@dataclass(frozen=True)
class Work:
    """Operations (two a multiplication and addition) and the bytes that have to be moved."""

    operations: float
    moved: float

    def times(self, operations: float, moved: float) -> "Work":
        return Work(self.operations * operations, self.moved * moved)


def excuse(error: Exception) -> str:
    """Why there is no figure; a `ValueError` that is no backend's refusal is raised again."""
    said = " ".join(str(error).split())
    if isinstance(error, torch.OutOfMemoryError):
        return "no room on the device"
    if isinstance(error, ImportError):
        return f"not installed: {said}"
    if isinstance(error, RuntimeError):  # a kernel that does not build or run
        return f"FAILED: {said[:200]}"
    if REFUSED not in said:
        raise error
    return "refused: " + said.partition(REFUSED)[2]


class Bench:
    """A device, and how calls on it are timed. `dry`: tiny sizes, to see that all of it works."""

    def __init__(self, device: str, dry: bool, seconds: float):
        self.device, self.dry = device, dry
        self.ends = time.monotonic() + seconds
        self.kind = torch.device(device).type

    def left(self) -> float:
        """Seconds that this section still has."""
        return self.ends - time.monotonic()

    def sync(self) -> None:
        if self.kind == "cuda":
            torch.cuda.synchronize()

    def once(self, run: Callable[[], Any], count: int = 1) -> float:
        """Seconds that a call takes, as the mean of several in a row."""
        self.sync()
        start = time.perf_counter()
        for _ in range(count):
            run()
        self.sync()
        return (time.perf_counter() - start) / count

    def time(self, run: Callable[[], Any]) -> tuple[float, int | None]:
        """The median of `ROUNDS` rounds after two calls to warm up, and the peak of bytes."""
        run()
        first = self.once(run)
        before = None
        if self.kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        count = max(1, int(LEAST / max(first, 1e-6)))
        rounds = 1 if self.dry or first * ROUNDS > self.left() else ROUNDS
        seconds = statistics.median(self.once(run, count) for _ in range(rounds))
        peak = None if before is None else torch.cuda.max_memory_allocated() - before
        return seconds, peak

    def measure(
        self, section: str, what: str, run: Callable[[], Any], least: float | None = None
    ) -> Figure:
        """Time a call, in ms. What is refused or has no room is a figure without a value."""
        try:
            seconds, peak = self.time(run)
        except (RuntimeError, ValueError, ImportError) as error:
            return Figure(section, what, None, "ms", note=excuse(error))
        finally:
            self.clear()
        share = None if least is None else least / seconds
        return Figure(section, what, 1e3 * seconds, "ms", share, peak)

    def clear(self) -> None:
        if self.kind == "cuda":
            torch.cuda.empty_cache()


class Growing:
    """Measures series of growing length, and leaves out what would not end in time.

    A length is foreseen to take what the last one took, grown by the power of three. A series whose
    programs take long to build, as compiled ones do for each shape, ends.
    """

    def __init__(self, bench: Bench, section: str):
        self.bench, self.section = bench, section
        self.longest_build = bench.left() / 10
        self.last: dict[str, tuple[int, float, float]] = {}

    def measure(
        self,
        name: str,
        what: str,
        length: int,
        make: Callable[[], Callable[[], Any]],
        least: float | None = None,
    ) -> Figure:
        """`make` builds inputs and returns the call; `name` says which series it belongs to."""
        old, seconds, build = self.last.get(name, (length, 0.0, 0.0))
        foreseen = seconds * (length / old) ** 3 * (ROUNDS + 2) + build
        if max(foreseen, 1.0) > self.bench.left():
            return Figure(self.section, what, None, "ms", note="left out: it would take too long")
        if build > self.longest_build:
            note = f"left out: {build:.0f} s to build the one before"
            return Figure(self.section, what, None, "ms", note=note)
        start = time.monotonic()
        try:
            run = make()
        except torch.OutOfMemoryError as error:
            return Figure(self.section, what, None, "ms", note=excuse(error))
        figure = self.bench.measure(self.section, what, run, least)
        if figure.value is not None:
            seconds = figure.value / 1e3
            rounds = max(ROUNDS * LEAST, ROUNDS * seconds) + 2 * seconds
            build = max(0.0, time.monotonic() - start - rounds)
            self.last[name] = length, seconds, build
        return figure


def limits(bench: Bench) -> Iterator[Figure | Limits]:
    """Measured: the rate of a large product in bfloat16, and copies within the device's memory."""
    n, size = (256, 2**20) if bench.dry else (8192, 2**30)
    a = torch.randn(n, n, device=bench.device, dtype=torch.bfloat16)
    rate = 2 * n**3 / bench.time(lambda: a @ a)[0]
    x = torch.empty(size, dtype=torch.uint8, device=bench.device)
    y = torch.empty_like(x)
    bandwidth = 2 * size / bench.time(lambda: y.copy_(x))[0]
    yield Figure("limits", f"product of two {n} x {n} in bfloat16", rate / 1e12, "TFLOP/s")
    yield Figure("limits", f"copy of {size / 2**20:,.0f} MiB", bandwidth / 1e9, "GB/s")
    yield Limits(rate, bandwidth)


def attention_work(rows: int, n: int, heads: int, dim: int, width: int = 2) -> Work:
    """softmax(q k + bias) v for each row: two products; q, k, v, out and the bias moved once."""
    tensors = 4 * rows * n * heads * dim + heads * n * n
    return Work(4 * rows * n * n * heads * dim, width * tensors)


def multiplication_work(n: int, dim: int, hidden: int, width: int = 2) -> Work:
    """Suppl. Alg. 11 with its projections. Moved at least: pairs in twice (edges, gate) and out
    once, edges and their sum written once and read once."""
    linear = 2 * n * n * (4 * hidden * dim + hidden * dim + dim * dim)
    return Work(linear + 2 * n**3 * hidden, width * n * n * (3 * dim + 6 * hidden))


def block_work(n: int, rows: int, pair: int = 128, msa: int = 256, width: int = 2) -> Work:
    """One Evoformer block of the official widths, heads 8 and 4 of 32, outer product 32 x 32.

    Moved at least: each update reads its stream and writes it once.
    """
    cells, pairs = rows * n, n * n
    biases = 2 * pairs * pair * (8 + 4 + 4)
    projections = 2 * 5 * (2 * cells * msa * msa + 2 * pairs * pair * pair)
    attention = attention_work(rows, n, 8, 32), attention_work(n, rows, 8, 32)
    triangles = attention_work(n, n, 4, 32)
    # with few rows, the last layer is cheaper before the sum over them than after it
    after = pairs * rows * 32**2 + pairs * 32**2 * pair
    before = cells * 32**2 * pair + pairs * rows * 32 * pair
    outer = 2 * cells * msa * 64 + 2 * min(after, before)
    transitions = 4 * (cells * msa * 4 * msa + pairs * pair * 4 * pair)
    multiply = multiplication_work(n, pair, pair)
    total = biases + projections + outer + transitions + 2 * multiply.operations
    total += sum(each.operations for each in attention) + 2 * triangles.operations
    return Work(total, width * (7 * cells * msa + 12 * pairs * pair))
