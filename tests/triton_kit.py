"""Runs a script of Triton checks once, in a process of its own, for all tests that read it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ABSENT = "Triton is not installed: pip install 'alphafold2-pytorch[triton]'"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason=ABSENT)

CASES: dict[str, dict[str, tuple]] = {
    "attention": {  # batch, rows, heads, queries, keys, width, dtype, with bias, with mask
        "17 float32": (1, 2, 2, 17, 17, 16, "float32"),
        "17 float32 without bias": (1, 2, 2, 17, 17, 32, "float32", False),
        "17 float32 without mask": (1, 2, 2, 17, 17, 32, "float32", True, False),
        "17 float32 a batch, 9 keys": (2, 2, 1, 17, 9, 24, "float32"),
        "33 bfloat16": (1, 2, 2, 33, 33, 32, "bfloat16"),
        "64 float16": (1, 2, 2, 64, 64, 64, "float16"),
        "33 bfloat16 wide": (1, 2, 1, 33, 70, 128, "bfloat16"),
        "17 float32, rows in shares": (1, 33, 1, 17, 17, 16, "float32"),
        "199 float32": (1, 2, 1, 199, 199, 32, "float32"),
        "199 bfloat16": (1, 2, 1, 199, 199, 32, "bfloat16"),
    },
    "triangle": {  # batch, length, width, hidden width, dtype, outgoing
        "17 float32 outgoing": (1, 17, 16, 16, "float32", True),
        "17 float32 incoming, a batch": (2, 17, 24, 40, "float32", False),
        "33 bfloat16 outgoing": (1, 33, 32, 32, "bfloat16", True),
        "33 float16 incoming": (1, 33, 40, 24, "float16", False),
        "64 bfloat16 incoming": (1, 64, 16, 16, "bfloat16", False),
        "199 float32 outgoing": (1, 199, 16, 16, "float32", True),
    },
}


ROUNDINGS = 8 * 2**-23


def lines_of(factory: pytest.TempPathFactory, script: str, *arguments: str) -> list[dict]:
    """What the script printed; workers of one session share the first one's run."""
    from filelock import FileLock  # torch brings it

    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    done = base / "-".join((Path(script).stem, *arguments))
    with FileLock(f"{done}.lock"):
        if not done.is_file():
            environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
            environment["PYTHONPATH"] = os.pathsep.join((str(HERE.parent), *sys.path))
            command = [sys.executable, str(HERE / script), *arguments]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True)
            if ran.returncode:
                raise RuntimeError(f"{script} failed:\n{ran.stderr[-4000:]}")
            done.write_text(ran.stdout)
    return [json.loads(line) for line in done.read_text().splitlines()]


def check_errors(found: dict[str, list[float]]) -> None:
    """At most twice plain PyTorch's own error in the same dtype, and small beside the numbers.

    Beside that eight roundings of float32: how exact plain PyTorch's sums over all pairs are is
    another matter on each processor; on an Intel Xeon ours were off by up to five times as much.
    """
    wrong = {
        name: f"off by {ours:.2e}, plain PyTorch by {plain:.2e}, of {size:.2e}"
        for name, (ours, plain, size) in found.items()
        if not (ours <= 2 * plain + ROUNDINGS * size and ours < 0.02 * size)
    }
    assert not wrong, wrong


def check_compiled(lines: list[dict], kernels: set[str], stack: int = 512) -> None:
    """Every kernel was built, and fits: an H100 lends a program 227 KB of shared memory.

    `stack`: bytes of a thread that may be spilled into memory.
    """
    assert {line["kernel"] for line in lines} == kernels
    for line in lines:
        assert line["shared"] <= 227 * 1024, line
        assert line["registers"] <= 255, line
        assert line["stack"] <= stack, line
