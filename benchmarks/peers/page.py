"""The page and the plot of `benchmark_block.py`."""

import argparse
import statistics
from datetime import date
from pathlib import Path
from typing import Any

from machine import MATRIX, commit, machine, write_page

from peers.sides import LONG, SIDES, TOLERANCE, VENVS, Results, Size, told

FASTER, SMALLER = 1.5, 2.0  # targets, against every peer


def middle(rounds: list[dict[str, Any]], what: str) -> float:
    return statistics.median(each[what] for each in rounds)


def ratios(theirs: list[dict], ours: list[dict], what: str, each: bool = False) -> list[float]:
    """Theirs through ours, of each round; with `each`, for each operation."""
    scale = ours[0]["flops"] / theirs[0]["flops"] if each else 1.0
    pairs = zip(theirs, ours, strict=True)
    return [scale * their[what] / max(our[what], 1e-9) for their, our in pairs]


def cell(found: list[float]) -> str:
    return f"**{statistics.median(found):.2f}** ({min(found):.2f} to {max(found):.2f})"


def line(size: Size, name: str, results: Results, gflops: float) -> str:
    side, rounds = SIDES[name], results[size, name]
    ours = results[size, "ours-pairs" if side.pairs else "ours"]
    seconds, flops = middle(rounds, "seconds"), rounds[0]["flops"]
    speed = flops / seconds / 1e9
    share = "" if name == "ours-bf16" else f"{100 * speed / gflops:.0f} %"
    worst = max((each["difference"] for each in rounds if "difference" in each), default=None)
    cells = [
        side.label,
        f"{seconds:.3f} s",
        f"{flops / 1e9:.1f}",
        f"{speed:.0f}",
        share,
        f"{middle(rounds, 'bytes') / 2**20:,.0f} MiB",
        "" if rounds is ours else cell(ratios(rounds, ours, "seconds", side.pairs)),
        "" if rounds is ours else cell(ratios(rounds, ours, "bytes")),
        "" if worst is None or name == "ours" else f"{worst:.1e}",
    ]
    return f"| {' | '.join(cells)} |"


def table(size: Size, results: Results, gflops: float, pairs: bool) -> str:
    """One size, of the sides that are a whole block or of those that update pairs."""
    names = [name for of, name in results if of == size and SIDES[name].pairs == pairs]
    if not names:
        return ""
    time = "time an operation" if pairs else "time"
    head = f"| | time | GFLOP | GFLOP/s | of the rate | memory | {time}, / ours | memory, / ours |"
    lines = [line(size, name, results, gflops) for name in names]
    where = f"{size[0]} residues" + ("" if pairs else f" x {size[1]} rows")
    title = f"### {where}, {'pairs alone' if pairs else 'the block'}"
    return "\n".join([title, "", f"{head} difference |", "| --- |" + " ---: |" * 8, *lines])


def targets(results: Results) -> list[str]:
    """Each target at each size: what was reached."""
    found = []
    for size in dict.fromkeys(of for of, _ in results):
        for name in (each for of, each in results if of == size and SIDES[each].venv):
            pairs = SIDES[name].pairs
            ours = results[size, "ours-pairs" if pairs else "ours"]
            ratio = statistics.median(ratios(results[size, name], ours, "seconds", pairs))
            how = "an operation, " if pairs else ""
            found.append(verdict(f"{told(size)}: time {how}{name} / ours", ratio, FASTER))
        same = [n for of, n in results if of == size and SIDES[n].venv and not SIDES[n].pairs]
        if same:
            best = min(same, key=lambda name: middle(results[size, name], "bytes"))
            ratio = statistics.median(ratios(results[size, best], results[size, "ours"], "bytes"))
            what = f"{told(size)}: memory of the smallest whole block ({best}) / ours"
            found.append(verdict(what, ratio, SMALLER))
    return found


def verdict(what: str, ratio: float, target: float) -> str:
    return f"- {what}: {ratio:.2f}, target {target:g}: {'reached' if ratio >= target else 'missed'}"


def command(options: argparse.Namespace) -> str:
    sizes = " ".join(map(told, options.sizes))
    numbers = " ".join(f"--{n} {getattr(options, n)}" for n in ("rounds", "repeats", "threads"))
    peers = "" if options.peers is None else " ".join([" --peers", *options.peers])
    return f"python benchmarks/benchmark_block.py --sizes {sizes} {numbers}{peers}"


def page(
    results: Results, absent: dict[str, str], gflops: float, options: argparse.Namespace
) -> str:
    """The results page, with all it takes to measure the same again."""
    sizes = list(dict.fromkeys(of for of, _ in results))
    tables = [table(of, results, gflops, pairs) for pairs in (False, True) for of in sizes]
    versions: dict[str, str] = {}
    for (_, name), rounds in results.items():
        versions.setdefault(rounds[0]["version"], SIDES[name].label)
    used = "\n".join(f"- {label}: {version}." for version, label in versions.items())
    out = "".join(f"\n- {name}: left out, {why}." for name, why in absent.items())
    bare = ", ".join(package for venv in VENVS.values() for package in venv.bare)
    return f"""# One Evoformer block beside those of other packages

{(chr(10) * 2).join(each for each in tables if each)}

Forward without gradients, CPU, {options.threads} threads, full masks, AlphaFold2's widths: MSA 256
and 8 heads x 32, pairs 128 and 4 heads x 32, outer product 32 x 32, triangles 128, transitions x 4.
Float32 if nothing else is said. The machine's rate is {gflops:.0f} GFLOP/s, a product of float32
matrices of {MATRIX} x {MATRIX} with as many threads, by MKL or oneDNN, whichever is faster, in the
same run. More than 1 in a column "/ ours" is in our favour.

## Targets

{chr(10).join(targets(results)) or "- no peer was measured."}

## How it was measured

- Time: the median of {options.repeats} calls (of one that is slow as many as take
  {LONG:g} s, one at least) after one to warm up, and of {options.rounds} rounds that alternate
  between the sides, a fresh process for each figure in each round. Ratios are medians of each
  round's own, with their range.
- Memory: the rise of the process's peak resident memory in the first call, above what the loaded
  (and compiled) side with its input held. Every side may overwrite its input.
- Ours runs after `keep_freed_memory()`, as our command line does. It is a setting of the C library:
  `benchmarks/README.md` says what the same does to JAX.
- The network of DeepMind's block and of OpenFold-3's is ours: all have the same random parameters
  and input, and "difference" is the largest between their output and ours, through the largest
  output. Above {TOLERANCE:g} in float32 this program fails. For bfloat16 it is the deviation.
- DeepMind's block is that of `alphafold-colabfold`, which carries DeepMind's code; jitted, with
  inference sub-batches of 4 and `is_training=False`. Compiling is not timed.
- OpenFold-3's block is its Evoformer with ReLU transitions, biases as AlphaFold2 has them and the
  bias around the ending residue turned back to AlphaFold2's; in place and not chunked.
- The last group is other networks at the same widths, with one row instead of an MSA, beside our
  block's five updates of the pairs. Work is not equal there: time is compared for each operation
  (seconds / GFLOP), memory as it is. Their chunks are those they predict with.
- GFLOP are those of matrix products: two for a multiplication and sum. Ours and DeepMind's by a
  formula that a test holds against torch's `FlopCounterMode`; the others by that counter.
- Peers are installed without what they ask for, beside the lists `benchmarks/peers/*.txt`:
  {bare}.

{used}{out}
- Ours: commit `{commit()}`.
- Machine: {machine()}.
- Command: `{command(options)}`, {date.today():%Y-%m-%d}.
"""


def draw(results: Results, out: Path) -> None:
    """Time and memory of the whole blocks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = list(dict.fromkeys(of for of, _ in results))
    names = [n for n in dict.fromkeys(name for _, name in results) if not SIDES[n].pairs]
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    parts = (("seconds", 1.0, "time of a call, s"), ("bytes", 2**-30, "memory above input, GiB"))
    wide = 0.8 / len(names)
    for axis, (what, scale, title) in zip(axes, parts, strict=True):
        for place, name in enumerate(names):
            heights = [scale * middle(results[of, name], what) for of in sizes]
            bars = axis.bar(
                [number + place * wide for number in range(len(sizes))],
                heights,
                wide,
                label=SIDES[name].label,
            )
            axis.bar_label(bars, fmt="%.2f", fontsize=7)
        centre = wide * (len(names) - 1) / 2
        labels = [f"{residues} x {rows}" for residues, rows in sizes]
        axis.set_xticks([number + centre for number in range(len(sizes))], labels)
        axis.set_xlabel("residues x rows")
        axis.set_title(title)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(out, dpi=120)
    pyplot.close(figure)


def write(
    results: Results, absent: dict[str, str], gflops: float, options: argparse.Namespace
) -> str:
    """The page as text, after it was written with its plot."""
    text = page(results, absent, gflops, options)
    path = write_page("block", text, options.out)
    plot = path.with_suffix(".png")
    draw(results, plot)
    path.write_text(text + f"\n![Time and memory of a block]({plot.name})\n")
    return f"\n{text}\nwritten to {path}"
