"""What every benchmark page says about where and when it was made, and how memory is read."""

import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from plots import RECIPES, illustrate

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SLOW = 5.0  # seconds; a slower forward pass is timed once
MATRIX = 3072  # rows and columns of the product that tells what the machine can do
QUICK = 0.5  # seconds; of what is quicker, calls fill as long a time, and it is warmed up as long


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def cost(once: Callable[[bool], float], model: Any, repeats: int) -> dict:
    """What `once(train)` takes, which returns its seconds: forward pass and training step.

    Memory is the rise of the process's peak; each is called once to warm up, or with no `repeats`
    just once. What takes milliseconds is called more often: caches and threads settle late.
    """
    import torch

    before = peak_bytes()
    forward = typical(once, False, repeats)
    forward_bytes = peak_bytes() - before
    return {
        "forward": forward,
        "forward_bytes": forward_bytes,
        "step": typical(once, True, repeats),
        "step_bytes": peak_bytes() - before,
        "parameters": sum(each.numel() for each in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def typical(once: Callable[[bool], float], train: bool, repeats: int) -> float:
    """The median of the seconds of several calls."""
    first = once(train)
    if not repeats:
        return first
    if first > SLOW:
        return once(train)
    if first < QUICK:
        count = max(repeats, int(QUICK / max(min(first, once(train)), 1e-3)))
        for _ in range(count):
            once(train)
        repeats = count
    return statistics.median([once(train) for _ in range(repeats)])


def matmul_rate(threads: int) -> float:
    """GFLOP/s of a large float32 matrix product; the best of five.

    Of the two libraries torch multiplies with, the faster: `@` asks MKL, which on AMD leaves half
    of the machine unused, and oneDNN uses it.
    """
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(2, MATRIX, MATRIX)
    products = [lambda: left @ right]
    if torch.backends.mkldnn.is_available():
        onednn = torch.ops.mkldnn._linear_pointwise
        products.append(lambda: onednn(left, right, None, "none", [], ""))

    def once(product: Callable[[], Any]) -> float:
        start = time.perf_counter()
        product()
        return time.perf_counter() - start

    best = min(once(product) for product in products for _ in range(5))
    return 2 * MATRIX**3 / best / 1e9


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def machine() -> str:
    """One line on the computer."""
    return (
        f"{processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def commit() -> str:
    """The state of the repository, whatever pages this run has written."""

    def git(*words: str) -> str:
        command = ["git", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    return git("describe", "--always", "--abbrev=12") + ("-dirty" if changed else "")


def page_path(what: str) -> Path:
    """Where a page belongs: `results/{what}_{hardware}_{yyyymm}.md`."""
    maker = re.sub(r"\(R\)|\(TM\)|processor|@.*", "", processor(), flags=re.IGNORECASE)
    hardware = re.sub(r"\W+", "_", f"{maker} {os.cpu_count()} cores").strip("_").lower()
    return RESULTS / f"{what}_{hardware}_{date.today():%Y%m}.md"


def write_page(what: str, text: str, out: Path | None = None) -> Path:
    """Write a page, by default to `page_path(what)`, with the plot that `plots.py` draws of it."""
    path = out or page_path(what)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if what in RECIPES:
        illustrate(path, what)
    return path
