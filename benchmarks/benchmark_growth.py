"""How time and peak memory grow with length: an Evoformer block, and a fold of AlphaFold2.

Run `python benchmarks/benchmark_growth.py`, on a machine that does nothing else. Official widths
(pairs 128, MSA 256, heads 8 and 4), random weights, no gradients. Every figure comes from a process
of its own. Memory of a fold does not depend on depth, so by default it has one block of each kind.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

from benchmark_memory import features, status_bytes
from machine import ROOT, commit, machine, write_page

MIB = 2**20
GIGABYTES = (16, 139)  # for which the longest chain is told
QUICK = {"lengths": [16, 24, 32], "rows": 8, "rounds": 1}
KINDS = ("block", "fold")
NEAR = 0.15  # how far estimate and peak may lie apart
Results = dict[tuple[str, int], list[dict[str, Any]]]  # kind and residues: its rounds


def network(rows: int, depth: int) -> Any:
    """AlphaFold2's network without templates, `rows` clusters and as many extra rows."""
    from alphafold2_pytorch import Alphafold2
    from alphafold2_pytorch.presets import Sizes, alphafold2

    config = alphafold2(False, rows, True, Sizes(blocks=depth, extra_blocks=min(depth, 4)))
    clusters = {**config.options["clusters"], "max_msa_clusters": rows}
    return Alphafold2(replace(config, options={**config.options, "clusters": clusters})).eval()


def work(kind: str, n: int, options: argparse.Namespace) -> dict[str, Any]:
    """What one process does: build, warm up on a short chain, then once at length."""
    import torch

    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch import keep_freed_memory
    from alphafold2_pytorch.streams import Streams

    keep_freed_memory()  # as the command line does
    torch.manual_seed(0)
    device, rows = options.device, options.rows
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    model = network(rows, 1 if kind == "block" else options.depth).to(device)

    def inputs(length: int) -> Any:
        if kind == "fold":
            return features(length, rows, rows, 0).to(device)
        return Streams(
            pair=torch.randn(1, length, length, 128, device=device),
            msa=torch.randn(1, rows, length, 256, device=device),
            pair_mask=torch.ones(1, length, length, dtype=torch.bool, device=device),
            msa_mask=torch.ones(1, rows, length, dtype=torch.bool, device=device),
            owned=True,  # in place, as the model runs it
        )

    def run(x: Any) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        model.predict(x, recycles=options.recycles) if kind == "fold" else model.trunk.blocks(x)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def held(most: bool) -> int:
        if device == "cuda":
            used = torch.cuda.max_memory_allocated if most else torch.cuda.memory_allocated
            return used()
        return status_bytes("VmHWM" if most else "VmRSS")

    with torch.no_grad():
        run(inputs(16))  # libraries load and threads start on first use
        x = inputs(n)
        before = held(False)
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = run(x)
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    return {
        "seconds": seconds,
        "peak": held(True) - before,
        "estimate": model.memory_estimate(n, 2 * rows) if kind == "fold" else 0,
        "longest": longest(model, weights, 2 * rows),
        "weights": weights,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
    }


def longest(model: Any, weights: int, rows: int) -> list[int]:
    """Of `GIGABYTES` beside the weights, by the formula that `alphafold2 fold` asks."""
    from alphafold2_pytorch.memory import longest_chain

    return [longest_chain(model, size * 10**9 - weights, rows) for size in GIGABYTES]


def measure(kind: str, n: int, options: argparse.Namespace) -> dict[str, Any] | None:
    """Run `work` in a process of its own; None if it ran out of memory or of time.

    Ends the program with its output if it fails in another way.
    """
    words = [f"--{w}={getattr(options, w)}" for w in ("rows", "depth", "recycles", "device")]
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), *words]
    try:
        done = subprocess.run(
            [*command, "--work", kind, str(n)],
            capture_output=True,
            text=True,
            cwd=ROOT / "benchmarks",
            timeout=options.timeout,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode == -9 or "out of memory" in done.stderr or "t allocate" in done.stderr:
        return None
    if done.returncode:
        sys.exit(f"{kind}, {n} residues failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def exponent(points: list[tuple[float, float]]) -> float:
    """The slope of the line of least squares through the logarithms."""
    x, y = ([log(max(point[axis], 1e-9)) for point in points] for axis in (0, 1))
    middle = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - middle[0]) * (b - middle[1]) for a, b in zip(x, y, strict=True))
    return above / sum((a - middle[0]) ** 2 for a in x)


def fitted(points: list[tuple[float, float]]) -> str:
    """The exponent over all lengths, at the end (last two), and what it says of twice the last."""
    if len(points) < 2:
        return "too few lengths"
    last = exponent(points[-2:])
    twice = points[-1][1] * exp(last * log(2))
    return f"{exponent(points):.2f} | {last:.2f} | {twice:,.1f}"


def middles(results: Results, kind: str, what: str, scale: float) -> list[tuple[float, float]]:
    """The medians over the rounds at each length."""
    return [
        (n, median(each[what] for each in rounds) / scale)
        for (k, n), rounds in results.items()
        if k == kind and rounds
    ]


def table(results: Results) -> str:
    """Seconds and MiB of both, and the formula's estimate of the second."""
    lines = [
        "| residues | block | memory of a block | | fold | memory of a fold | estimate | "
        "estimate / peak |",
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for n in dict.fromkeys(n for _, n in results):
        cells = []
        for kind in KINDS:
            rounds = results.get((kind, n)) or []
            if not rounds:
                cells += ["no room or time", ""]
                continue
            seconds, peak = (median(each[w] for each in rounds) for w in ("seconds", "peak"))
            cells += [f"{seconds:.3f} s", f"{peak / MIB:,.0f} MiB"]
            if kind == "fold":
                estimate = rounds[0]["estimate"]
                cells += [f"{estimate / MIB:,.0f} MiB", f"{estimate / max(peak, 1):.2f}"]
        cells += [""] * (6 - len(cells))
        lines.append(f"| {n} | {cells[0]} | {cells[1]} | | {' | '.join(cells[2:])} |")
    return "\n".join(lines)


def fits(results: Results) -> str:
    """Exponents of all four curves."""
    lines = [
        "| of | exponent | between the last two | so at twice the last length |",
        "| --- | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        for what, scale, unit in (("seconds", 1, "s"), ("peak", MIB, "MiB")):
            points = middles(results, kind, what, scale)
            name = f"{kind}, {'time' if unit == 's' else 'memory'}"
            end = f" {unit} |" if len(points) > 1 else " | |"
            lines.append(f"| {name} | {fitted(points)}{end}")
    return "\n".join(lines)


def page(results: Results, options: argparse.Namespace) -> str:
    """The results page."""
    done = [each for rounds in results.values() for each in rounds]
    first = done[0]
    folds = [r[0] for (kind, _), r in results.items() if kind == "fold" and r]
    held = folds[0]["longest"] if folds else ["not measured"] * len(GIGABYTES)
    chains = "\n".join(
        f"| {size} GB | {n:,} |" if isinstance(n, int) else f"| {size} GB | {n} |"
        for size, n in zip(GIGABYTES, held, strict=True)
    )
    far = [each for each in folds if abs(each["estimate"] / max(each["peak"], 1) - 1) > NEAR]
    words = " ".join(f"--{w} {getattr(options, w)}" for w in ("rows", "depth", "recycles"))
    return f"""# How time and memory grow with length

{table(results)}

{fits(results)}

The longest chain, by the formula of `alphafold2_pytorch/memory.py` (which `alphafold2 fold` asks
before it starts), with {options.rows} clusters and as many extra rows, beside the weights:

| memory | residues |
| ---: | ---: |
{chains}

Formula and peak are within {NEAR:.0%} of each other at {len(folds) - len(far)} of {len(folds)}
lengths. What is short is dominated by what the allocator and the libraries keep.

- Block: one Evoformer block, pairs 128 and MSA 256 wide, heads 8 and 4, {options.rows} rows. Fold:
  `predict` of `model_3_ptm`'s network, {options.rows} clusters, as many extra rows, no templates,
  {options.depth} Evoformer blocks and {min(options.depth, 4)} of the extra MSA, eight iterations of
  the structure module, {options.recycles} recycles. Memory does not depend on depth; time does.
- Random weights and features, float32, no gradients. A fresh process for each figure, one call on
  16 residues to warm up, then one; median of {options.rounds} rounds. Memory is the rise of the
  peak over what was held before, inputs and weights left out.
- Exponents: least squares in the logarithms over all lengths, and between the last two.
- {first["device"]}, {first["threads"]} threads, torch {first["torch"]}. {machine()}. Commit
  `{commit()}`, {date.today():%Y-%m-%d}.
- Command: `python benchmarks/benchmark_growth.py --lengths {" ".join(map(str, options.lengths))} \
{words} --rounds {options.rounds} --device {options.device}`.
"""


def main() -> None:
    """Measure, print the page, and write it with its plot to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--rows", type=int, default=128, help="of the MSA, and extra ones")
    parser.add_argument("--depth", type=int, default=1, help="blocks of the fold (official: 48)")
    parser.add_argument("--recycles", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--timeout", type=float, help="seconds that one figure may take")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work[0], int(options.work[1]), options)))
        return
    if options.quick:
        vars(options).update(QUICK)
        if options.out is None:
            parser.error("--quick needs --out: its figures belong in no results folder")
    results: Results = {(kind, n): [] for n in sorted(options.lengths) for kind in KINDS}
    for number in range(options.rounds):
        for (kind, n), rounds in results.items():
            if (found := measure(kind, n, options)) is not None:
                rounds.append(found)
            told = f"{found['seconds']:.2f} s, {found['peak'] / MIB:,.0f} MiB" if found else "-"
            print(f"round {number + 1}: {kind}, {n} residues: {told}", flush=True)
    if not any(results.values()):
        sys.exit("nothing was measured: no room or time for any length")
    text = page(results, options)
    path = write_page("growth", text, options.out)
    print(f"\n{text}\nwritten to {path}")


if __name__ == "__main__":
    main()
