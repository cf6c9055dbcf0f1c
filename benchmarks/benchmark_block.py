"""Our Evoformer block beside those of DeepMind (JAX), OpenFold-3, Boltz and ESMFold: time, memory.

Run `python benchmarks/benchmark_block.py`, on a machine that does nothing else. The peers get two
environments, `.venv-jax` and `.venv-block`, made on first use with pip; what cannot be had is left
out, and the page says so. Where the network is the same, equal outputs are checked. Every figure
comes from a process of its own; rounds alternate between the sides.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from machine import ROOT, peak_bytes


class Side(NamedTuple):
    label: str
    module: str  # of `peers/`
    words: dict[str, Any] = {}  # for its `load`
    venv: str = ""  # "": ours
    pairs: bool = False  # it updates pairs, and one row at most: compared by operations


class Venv(NamedTuple):
    folder: str
    needs: str  # a list of `peers/`
    bare: tuple[str, ...]  # installed without what they ask for


SIDES = {
    "ours": Side("ours", "ours"),
    "ours-bf16": Side("ours, autocast to bfloat16", "ours", {"half": True}),
    "deepmind": Side("DeepMind, JAX", "deepmind", venv="jax"),
    "openfold3": Side("OpenFold-3, Evoformer", "openfold3", venv="block"),
    "ours-pairs": Side("ours, `msa=False`", "ours", {"msa": False}, pairs=True),
    "boltz": Side("Boltz, Pairformer", "boltz", venv="block", pairs=True),
    "esmfold": Side("ESMFold (transformers)", "esmfold", venv="block", pairs=True),
}
PEERS = [name for name, side in SIDES.items() if side.venv]
VENVS = {
    "jax": Venv(".venv-jax", "jax.txt", ("alphafold-colabfold==2.3.27", "colabfold-kernels==0.9.0")),
    "block": Venv(
        ".venv-block", "block.txt", ("boltz==2.2.1", "openfold3==0.5.0", "transformers==5.23.0")
    ),
}
SIZES = ((128, 128), (256, 128), (256, 512))  # residues, rows
TOLERANCE = 1e-4  # of the largest output, between float32 sides that are the same network
LONG = 4.0  # seconds: of what is slower, fewer calls are timed
MATRIX = 3072  # of the machine's rate
Size = tuple[int, int]
Results = dict[tuple[Size, str], list[dict[str, Any]]]  # of each side the rounds


def fresh_peak() -> None:
    """On Linux, forget what loading and compiling held, which else would hide what a call holds."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def limit(threads: int) -> None:
    """This process, and all it starts, on as many cores: JAX asks for no other number."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < threads:
        sys.exit(f"{threads} threads on {len(cores)} cores: give --threads {len(cores)} or fewer")
    os.sched_setaffinity(0, cores[:threads])


def file_of(folder: Path, size: Size) -> Path:
    return folder / f"{size[0]}x{size[1]}.npz"


def prepare(folder: Path, size: Size) -> dict:
    """Write what all sides are given, and what our block makes of it."""
    import numpy as np
    from peers import ours

    arrays = ours.draw(*size)
    work = ours.load(arrays)
    msa, pair = work.results(work.run(work.copy()))
    np.savez(file_of(folder, size), **arrays, **{"out/msa": msa, "out/pair": pair})
    return {"flops": {msa: ours.operations(*size, msa=msa) for msa in (True, False)}}


def rate(threads: int) -> dict:
    """GFLOP/s of a large float32 matrix product; the best of five."""
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(2, MATRIX, MATRIX)

    def once() -> float:
        start = time.perf_counter()
        left @ right
        return time.perf_counter() - start

    return {"gflops": 2 * MATRIX**3 / min(once() for _ in range(5)) / 1e9}


def work(name: str, folder: Path, size: Size, options: argparse.Namespace) -> dict:
    """What one process does: load one side, call it once for its memory, then for its time."""
    import numpy as np

    side = SIDES[name]
    if side.venv != "jax":
        import torch

        torch.set_num_threads(options.threads)
    with np.load(file_of(folder, size), allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if not key.startswith("out/")}
    subject = importlib.import_module(f"peers.{side.module}").load(arrays, **side.words)
    given = subject.copy()
    fresh_peak()
    before, start = peak_bytes(), time.perf_counter()
    out = subject.run(given)
    first, rise = time.perf_counter() - start, peak_bytes() - before
    found = subject.results(out)
    seconds = []
    for _ in range(max(1, min(options.repeats, int(LONG / first)))):
        given = subject.copy()
        start = time.perf_counter()
        subject.run(given)
        seconds.append(time.perf_counter() - start)
    result = {"seconds": statistics.median(seconds), "bytes": rise, "version": subject.version}
    if not side.pairs:
        with np.load(file_of(folder, size), allow_pickle=False) as file:
            true = [file["out/msa"], file["out/pair"]]
        largest = max(float(abs(each).max()) for each in true)
        apart = [float(abs(a - b).max()) for a, b in zip(found, true, strict=True)]
        result |= {"difference": max(apart) / largest}
    if subject.count is not None:
        result["flops"] = subject.count()
    return result


def make(venv: Venv) -> tuple[Path | None, str]:
    """The Python of an environment, made if it is not there; or None and why."""
    folder = ROOT / venv.folder
    python, ready = folder / "bin" / "python", folder / ".ready"
    if ready.exists():
        return python, ""
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "-r", str(ROOT / "benchmarks" / "peers" / venv.needs)],
        [*pip, "--no-deps", *venv.bare],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return None, f"{venv.folder} could not be made: {last_line(done.stderr + done.stdout)}"
    ready.touch()
    return python, ""


def last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no message"])[-1]


def call(python: Path, words: list[str], options: argparse.Namespace) -> tuple[dict | None, str]:
    """Run this program's hidden part in a process of its own; None and the error if it fails."""
    numbers = [f"--{name}={getattr(options, name)}" for name in ("threads", "repeats")]
    command = [str(python), "-W", "ignore", str(Path(__file__).resolve()), *numbers]
    paths = [str(ROOT)] if python == Path(sys.executable) else []
    done = subprocess.run(
        [*command, "--work", *words],
        cwd=ROOT / "benchmarks",
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(options.threads),
            "JAX_PLATFORMS": "cpu",
        },
    )
    if done.returncode:
        return None, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), ""


def pythons(options: argparse.Namespace) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each side, and why peers are left out; one that was asked for must be there."""
    found, absent = {}, {}
    for name in SIDES:
        if (key := SIDES[name].venv) and name not in (options.peers or []):
            absent[name] = "not asked for"
            continue
        python, why = make(VENVS[key]) if key else (Path(sys.executable), "")
        if python is None:
            absent[name] = why
        else:
            found[name] = python
    return found, absent


def measure(folder: Path, options: argparse.Namespace) -> tuple[Results, dict[str, str], float]:
    """All rounds of all sides, who was left out and why, and the machine's GFLOP/s."""
    found, absent = pythons(options)
    results: Results = {}
    flops: dict[Size, dict[str, int]] = {}
    rates = []
    for size in options.sizes:
        made, why = call(Path(sys.executable), ["prepare", str(folder), told(size)], options)
        if made is None:
            sys.exit(f"our block failed:\n{why}")
        flops[size] = made["flops"]
    for number in range(options.rounds):
        made, why = call(Path(sys.executable), ["rate", str(folder), told(SIZES[0])], options)
        if made is None:
            sys.exit(f"the machine's rate could not be measured:\n{why}")
        rates.append(made["gflops"])
        for size, name in runs(options, found):
            if name in absent:
                continue
            result, why = call(found[name], [name, str(folder), told(size)], options)
            if result is None:
                if not SIDES[name].venv or number:
                    sys.exit(f"{name} failed at {told(size)}:\n{why}")
                absent[name] = last_line(why)
                results = {key: value for key, value in results.items() if key[1] != name}
                print(f"{name} is left out: {absent[name]}", flush=True)
                continue
            result.setdefault("flops", flops[size][str(not SIDES[name].pairs).lower()])
            check(name, size, result)
            results.setdefault((size, name), []).append(result)
            gib = result["bytes"] / 2**30
            line = f"{told(size)}, {name}: {result['seconds']:.3f} s, {gib:.2f} GiB"
            print(f"round {number + 1}: {line}", flush=True)
    return results, absent, statistics.median(rates)


def runs(options: argparse.Namespace, found: dict[str, Path]) -> list[tuple[Size, str]]:
    """Of the sides that read no MSA, each length once."""
    lengths = {size[0]: size for size in reversed(options.sizes)}
    return [
        (size, name)
        for size in options.sizes
        for name in found
        if not SIDES[name].pairs or lengths[size[0]] == size
    ]


def check(name: str, size: Size, result: dict) -> None:
    """End the program if the same network in float32 gave something else than ours."""
    if name != "ours-bf16" and result.get("difference", 0) > TOLERANCE:
        sys.exit(
            f"{name} at {told(size)} differs from our block by {result['difference']:.1e} of the "
            f"largest output, more than {TOLERANCE:g}: times of unequal outputs are not compared"
        )


def told(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def size(word: str) -> Size:
    """`256x128`: residues and rows."""
    try:
        residues, rows = (int(each) for each in word.split("x"))
    except ValueError:
        residues = rows = 0
    if min(residues, rows) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no size: give residues x rows, as 256x128")
    return residues, rows


def positive(word: str) -> int:
    if not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number of at least 1")
    return int(word)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=size, nargs="+", help="residues x rows, as 256x128")
    parser.add_argument("--rounds", type=positive, help="alternating rounds (default: 2)")
    parser.add_argument("--repeats", type=positive, help="timed calls a process (default: 3)")
    parser.add_argument("--threads", type=positive, default=2, help="(default: 2)")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, metavar="PEER",
                        help=f"of {', '.join(PEERS)} (default: all; no name: ours alone)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="24x8 once: does it run?")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.sizes = options.sizes or ([(24, 8)] if options.quick else list(SIZES))
    options.rounds = options.rounds or (1 if options.quick else 2)
    options.repeats = options.repeats or (1 if options.quick else 3)
    return options


def main() -> None:
    """Measure, print the page, and write it to `benchmarks/results/` or `--out`, with a plot."""
    options = parse()
    limit(options.threads)
    if options.work:
        name, folder, word = options.work
        if name == "prepare":
            found = prepare(Path(folder), size(word))
        elif name == "rate":
            found = rate(options.threads)
        else:
            found = work(name, Path(folder), size(word), options)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        results, absent, gflops = measure(Path(folder), options)
    from peers.page import write  # after the last process: what this one holds counts as theirs

    print(write(results, absent, gflops, options))


if __name__ == "__main__":
    main()
