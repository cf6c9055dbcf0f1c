"""What every benchmark page says about where and when it was made, and how memory is read."""

import os
import platform
import re
import resource
import subprocess
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


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
    """The state of the repository."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def page_path(what: str) -> Path:
    """Where a page belongs: `results/{what}_{hardware}_{yyyymm}.md`."""
    hardware = re.sub(r"\W+", "_", f"{processor()} {os.cpu_count()} cores").strip("_").lower()
    return RESULTS / f"{what}_{hardware}_{date.today():%Y%m}.md"


def write_page(what: str, text: str, out: Path | None = None) -> Path:
    """Write a page, by default to `page_path(what)`."""
    path = out or page_path(what)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
