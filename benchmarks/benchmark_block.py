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

from machine import ROOT, matmul_rate, peak_bytes
from peers.sides import (
    LONG,
    PEERS,
    SIDES,
    SIZES,
    TOLERANCE,
    VENVS,
    Results,
    Size,
    Venv,
    size,
    told,
)


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
    whole, pairs = (ours.operations(*size, msa=msa) for msa in (True, False))
    return {"flops": {"block": whole, "pairs": pairs}}


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
    if subject.counted is not None:
        result["flops"] = subject.counted()
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
    """The Python of each side, and why peers are left out; one that was named must be there."""
    found, absent = {}, {}
    for name, side in SIDES.items():
        if side.venv and name not in (PEERS if options.peers is None else options.peers):
            absent[name] = "not asked for"
            continue
        python, why = make(VENVS[side.venv]) if side.venv else (Path(sys.executable), "")
        if python is not None:
            found[name] = python
            continue
        if options.peers is not None:
            sys.exit(f"{name} was asked for with --peers: {why}")
        absent[name] = why
        print(f"{name} is left out: {why}", flush=True)
    return found, absent


def own(words: list[str], options: argparse.Namespace) -> dict:
    """`call` with our Python; ends the program if it fails."""
    result, why = call(Path(sys.executable), words, options)
    if result is None:
        sys.exit(f"{' '.join(words)} failed:\n{why}")
    return result


def measure(folder: Path, options: argparse.Namespace) -> tuple[Results, dict[str, str], float]:
    """All rounds of all sides, who was left out and why, and the machine's GFLOP/s."""
    found, absent = pythons(options)
    results: Results = {}
    where = str(folder)
    flops = {each: own(["prepare", where, told(each)], options)["flops"] for each in options.sizes}
    rates, left_out = [], set()
    for number in range(options.rounds):
        rates.append(own(["rate", where, told(SIZES[0])], options)["gflops"])
        for each, name in runs(options, found):
            if (each, name) in left_out:
                continue
            result, why = call(found[name], [name, where, told(each)], options)
            if result is None:
                if not SIDES[name].venv or number or options.peers is not None:
                    sys.exit(f"{name} failed at {told(each)}:\n{why}")
                left_out.add((each, name))
                absent[f"{name} at {told(each)}"] = last_line(why)
                print(f"{name} at {told(each)} is left out: {last_line(why)}", flush=True)
                continue
            result.setdefault("flops", flops[each]["pairs" if SIDES[name].pairs else "block"])
            check(name, each, result)
            results.setdefault((each, name), []).append(result)
            gib = result["bytes"] / 2**30
            line = f"{told(each)}, {name}: {result['seconds']:.3f} s, {gib:.2f} GiB"
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
    told_peers = f"of {', '.join(PEERS)} (default: all that can be had; no name: ours alone)"
    parser.add_argument("--peers", nargs="*", choices=PEERS, metavar="PEER", help=told_peers)
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
            found = {"gflops": matmul_rate(options.threads)}
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
