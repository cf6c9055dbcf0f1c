"""Block-sparse against dense attention along one axis: time and memory as the length grows.

Run `python benchmarks/benchmark_sparse.py` on a machine that does nothing else. Each figure comes
from a process of its own, so that peaks of memory do not mix; rounds alternate between the two.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from machine import ROOT, commit, machine, peak_bytes, write_page

LENGTHS = [256, 512, 1024]
SIZES = {"rows": 8, "heads": 8, "dim_head": 64, "repeats": 3}
KINDS, MODES = ("dense", "sparse"), ("forward", "backward")


def work(kind: str, mode: str, length: int, options: argparse.Namespace) -> dict:
    """What one process does: build one layer, call it once to warm up, then `repeats` times."""
    sys.path.insert(0, str(ROOT))
    import torch

    from alphafold2_pytorch.layers.attention import GatedAttention

    torch.manual_seed(0)
    dim = options.heads * options.dim_head
    layer = GatedAttention(dim, options.heads, options.dim_head, sparse=kind == "sparse")
    mask = torch.ones(1, options.rows, length, dtype=torch.bool)

    def once(n: int = length) -> float:
        x = torch.randn(1, options.rows, n, dim, requires_grad=mode == "backward")
        start = time.perf_counter()
        with torch.set_grad_enabled(mode == "backward"):
            out = layer(x, mask[..., :n])
            if mode == "backward":
                out.square().mean().backward()
        return time.perf_counter() - start

    once(32)  # libraries load on first use
    before = peak_bytes()
    once()
    return {
        "seconds": statistics.median(once() for _ in range(options.repeats)),
        "bytes": peak_bytes() - before,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def measure(kind: str, mode: str, length: int, options: argparse.Namespace) -> dict:
    """Run `work` in a process of its own; ends the program with its output if it fails."""
    sizes = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in SIZES]
    job = [sys.executable, str(Path(__file__).resolve()), "--work", kind, mode, str(length), *sizes]
    done = subprocess.run(job, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{kind} {mode} {length} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def share(length: int) -> float:
    """The part of all pairs of blocks that is computed."""
    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch.ops.sparse import block_table

    return float(block_table(length).float().mean())


Results = dict[tuple[str, str, int], list[dict]]


def table(results: Results, mode: str, lengths: list[int]) -> str:
    """Medians over the rounds, and the ratio dense / sparse of the medians."""
    lines = [
        "| length | blocks computed | dense | sparse | dense / sparse | dense | sparse "
        "| dense / sparse |",
        "| --- " * 8 + "|",
    ]
    for length in lengths:
        cells = [str(length), f"{share(length):.0%}"]
        for what, unit, scale in (("seconds", "ms", 1e-3), ("bytes", "MiB", 2**20)):
            dense, sparse = (
                statistics.median(each[what] / scale for each in results[kind, mode, length])
                for kind in KINDS
            )
            cells += [f"{dense:.0f} {unit}", f"{sparse:.0f} {unit}"]
            cells += [f"**{dense / sparse:.2f}**" if sparse else "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(results: Results, options: argparse.Namespace) -> str:
    """The results page, with all it takes to measure the same again."""
    [first, *_] = results["sparse", "forward", options.lengths[0]]
    command = " ".join(f"--{n.replace('_', '-')} {getattr(options, n)}" for n in SIZES)
    return f"""# Block-sparse against dense self attention

Forward, without gradients:

{table(results, "forward", options.lengths)}

Forward and backward:

{table(results, "backward", options.lengths)}

More than 1 in the columns of ratios is in favour of block-sparse attention. Memory is the rise of
the process's peak resident memory during the calls, the layer's input and output among it.
{options.rounds} rounds that alternate between the two, a fresh process for each figure in each
round, one call to warm up and the median of {options.repeats} more; then medians over the rounds.

- One `GatedAttention`, `heads={options.heads}`, `dim_head={options.dim_head}`, over \
{options.rows} rows, full masks, float32, CPU, no dropout. A pair
  representation has as many rows as columns: there time grows with the rows, too.
- The blocks are those of `block_table` in `alphafold2_pytorch/ops/sparse.py`. The backward pass of
  block-sparse attention computes its forward pass once more instead of keeping what it gathered.
- Commit `{commit()}`, torch {first["torch"]}, {first["threads"]} threads.
- Machine: {machine()}.
- Command: `python benchmarks/benchmark_sparse.py --lengths \
{" ".join(map(str, options.lengths))} --rounds {options.rounds} {command}`, {date.today():%Y-%m-%d}.
"""


def main() -> None:
    """Measure, print the page, and write it to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS,
                        help="positions (default: 256 512 1024)")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds (default: 3)")
    for name, value in SIZES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value,
                            help=f"(default: {value})")  # fmt: skip
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        kind, mode, length = options.work
        print(json.dumps(work(kind, mode, int(length), options)))
        return
    results: Results = {}
    for number in range(options.rounds):
        for length in options.lengths:
            for mode in MODES:
                for kind in KINDS:
                    result = measure(kind, mode, length, options)
                    results.setdefault((kind, mode, length), []).append(result)
                    told = f"{1e3 * result['seconds']:.0f} ms, {result['bytes'] / 2**20:.0f} MiB"
                    print(f"round {number + 1}: {kind} {mode} {length}: {told}", flush=True)
    text = page(results, options)
    out = write_page("sparse", text, options.out)
    print(f"\n{text}\nwritten to {out}")


if __name__ == "__main__":
    main()
