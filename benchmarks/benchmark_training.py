"""Training steps a second and their peak memory: plain, checkpointed, reversible and compiled.

Run `python benchmarks/benchmark_training.py`, on a machine that does nothing else. Every figure
comes from a process of its own; `--quick` takes the smallest sizes only, to see that it works.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from machine import ROOT, commit, machine, page_path, peak_bytes, write_page

if TYPE_CHECKING:
    from alphafold2_pytorch.data.collate import Batch
    from alphafold2_pytorch.train.run import Run

PLAIN = "plain"
WAYS: dict[str, dict[str, Any]] = {  # what is changed in the settings of the run
    PLAIN: {},
    "checkpointed": {"checkpoint_blocks": True},
    "reversible": {"model": {"reversible": True}},
    "compiled": {"compile": True},
}
MIB = 2**20
QUICK = {"crops": [16], "rows": [4], "blocks": [1], "rounds": 1, "repeats": 1}
NO_ROOM = "no memory"  # the system ended the process


@dataclass(frozen=True, order=True)
class Size:
    """What a training step has to do."""

    crop: int
    rows: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.crop} residues, {self.rows} rows, {self.blocks} blocks"


def random_batch(crop: int, rows: int) -> "Batch":
    """One chain of random letters and atoms; what is computed does not depend on them."""
    import torch

    from alphafold2_pytorch.data.collate import Batch
    from alphafold2_pytorch.features import Features, Targets

    seq, index = torch.randint(0, 20, (1, crop)), torch.arange(crop)[None]
    features = Features(
        seq=seq,
        residue_index=index,
        mask=torch.ones(1, crop, dtype=torch.bool),
        msa=torch.randint(0, 21, (1, rows, crop)),
        deletions=torch.zeros(1, rows, crop),
        msa_mask=torch.ones(1, rows, crop, dtype=torch.bool),
    )
    atoms = 2 * torch.randn(1, crop, 1, 3).cumsum(1) + torch.randn(1, crop, 14, 3)
    known = torch.ones(1, crop, 14, dtype=torch.bool)
    return Batch(("random",), features, Targets(seq, index, atoms, known))


def training_step(run: "Run", batch: "Batch", recycles: int = 0) -> float:
    """All that `Run.take_step` does but for drawing the chain; its seconds."""
    from alphafold2_pytorch.data.collate import Example
    from alphafold2_pytorch.train.optim import ClippedSum

    start = time.perf_counter()
    run.model.train()
    gradient = ClippedSum(run.model.parameters(), run.config.clip, 1)
    run.learn(0, Example((batch,), recycles), gradient)
    gradient.write(run.model.parameters())
    run.update(run.config.learning_rate, 1)
    return time.perf_counter() - start


def work(way: str, size: Size, repeats: int) -> dict[str, Any]:
    """What one process does: build the run, warm up, time training steps."""
    import torch

    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch.train.config import SMALL_MODEL, TrainConfig
    from alphafold2_pytorch.train.run import Run

    change = dict(WAYS[way])
    model = {**SMALL_MODEL, "custom_block_types": ("evoformer",) * size.blocks}
    model |= change.pop("model", {})
    run = Run(TrainConfig(model=model, **change), ROOT / "tests" / "sample")
    batch = random_batch(size.crop, size.rows)
    before = peak_bytes()
    first = training_step(run, batch)
    steps = [training_step(run, batch) for _ in range(repeats)]
    return {
        "first": first,
        "step": statistics.median(steps),
        "bytes": peak_bytes() - before,
        "parameters": sum(each.numel() for each in run.model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def measure(way: str, size: Size, repeats: int) -> dict[str, Any] | None:
    """Run `work` in a process of its own; None if the system had no memory for it.

    Ends the program with its output if it fails in another way.
    """
    job = ["--work", way, "--crops", size.crop, "--rows", size.rows, "--blocks", size.blocks]
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve())]
    command += [*map(str, job), "--repeats", str(repeats)]
    with TemporaryDirectory() as cache:  # else a later round finds what an earlier one compiled
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}
        done = subprocess.run(
            command, cwd=ROOT / "benchmarks", capture_output=True, text=True, env=environment
        )
    if done.returncode == -signal.SIGKILL or "t allocate memory" in done.stderr:
        return None
    if done.returncode:
        sys.exit(f"{way}, {size} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


Found = dict[str, list[dict[str, Any] | None]]  # of each way its rounds


def middle(rounds: Sequence[dict[str, Any] | None], what: str) -> float | None:
    """The median over rounds; None where one of them had no memory."""
    values = [each[what] for each in rounds if each is not None]
    return statistics.median(values) if len(values) == len(rounds) else None


def table(results: dict[Size, Found]) -> str:
    """Medians over the rounds, and the ratio to the plain step of the same size."""
    lines = [
        "| residues | rows | blocks | | steps a second | | peak memory | | first step |",
        "| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, ways in results.items():
        for way, rounds in ways.items():
            seconds, room = middle(rounds, "step"), middle(rounds, "bytes")
            begin = f"| {size.crop} | {size.rows} | {size.blocks} | {way} | "
            if seconds is None or room is None:
                lines.append(f"{begin}{NO_ROOM} | | | | |")
                continue
            plain, own = middle(ways[PLAIN], "step"), middle(ways[PLAIN], "bytes")
            faster = f"{plain / seconds:.2f}" if plain else ""
            less = f"{room / own:.2f}" if own else ""
            told = f"{1 / seconds:.3f} | {faster} | {room / MIB:,.0f} MiB | {less}"
            lines.append(f"{begin}{told} | {middle(rounds, 'first'):.1f} s |")
    return "\n".join(lines)


def draw(results: dict[Size, Found], image: Path) -> None:
    """Steps a second against peak memory: a line a size, a mark a way."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    marks, colors = dict(zip(WAYS, "osD^", strict=True)), {}
    for size, ways in results.items():
        found = [
            (way, middle(rounds, "bytes"), middle(rounds, "step")) for way, rounds in ways.items()
        ]
        there = [(way, room / MIB, 1 / step) for way, room, step in found if room and step]
        if not there:
            continue
        [line] = axes.plot(*zip(*(each[1:] for each in there), strict=True), linewidth=0.6)
        colors[str(size)] = line.get_color()
        for way, room, speed in there:
            axes.plot(room, speed, marks[way], color=line.get_color(), markersize=7)
    for name, color in colors.items():
        axes.plot([], [], color=color, label=name)
    for way, mark in marks.items():
        axes.plot([], [], mark, color="black", label=way)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("peak memory of a training step, MiB")
    axes.set_ylabel("training steps a second")
    axes.grid(alpha=0.3, which="both")
    figure.legend(frameon=False, fontsize=7, loc="outside right upper")
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=120)


def page(results: dict[Size, Found], image: Path, options: argparse.Namespace) -> str:
    """The results page, with all it takes to measure the same again."""
    done = [each for ways in results.values() for rounds in ways.values() for each in rounds]
    first = next((each for each in done if each is not None), None)
    told = f"{first['threads']} threads, torch {first['torch']}" if first else "nothing had room"
    numbers = " ".join(
        f"--{name} {' '.join(map(str, getattr(options, name)))}"
        for name in ("crops", "rows", "blocks", "ways")
    )
    return f"""# Training steps

What a step of `alphafold2 train` takes with the default model of its size class (`SMALL_MODEL`,
64 wide, with so many Evoformer blocks). Small numbers beside a figure: speed as a multiple of the
plain step, memory as a share of what that takes.

{table(results)}

![Steps a second against memory]({image.name})

- One chain a step, random letters and atoms, no recycling: forward pass, all losses, backward pass,
  clipping, Adam and the moving average. The chain is not drawn here: `benchmark_loader.py`.
- `checkpointed`: `checkpoint_blocks`; `reversible`: `model.reversible`, which is another network;
  `compiled`: `compile`. The first step of a compiled run holds the compiler's work, and its peak
  memory the compiler's; "{NO_ROOM}": the system ended the process.
- {options.rounds} rounds, a fresh process for each line in each; one step first, then the median of
  {options.repeats}. Peak memory is the rise of the process's resident memory above that of the
  built run. On a shared machine differences of a fifth are noise.
- float32, CPU, {told}. {machine()}. Commit `{commit()}`, {date.today():%Y-%m-%d}.
- Command: `python benchmarks/benchmark_training.py {numbers} --rounds {options.rounds} --repeats \
{options.repeats}`.
"""


def main() -> None:
    """Measure, print the page, and write it with its plot to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--crops", type=int, nargs="+", default=[128, 256], help="residues")
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 128], help="of the MSA")
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 8], help="of the Evoformer")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="timed steps a process")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, once")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if PLAIN not in options.ways:
        parser.error(f"--ways needs {PLAIN!r}, which the others are compared with")
    if options.quick:
        vars(options).update(QUICK)
        if options.out is None:
            parser.error("--quick needs --out: its figures belong in no results folder")
    if options.work:
        size = Size(options.crops[0], options.rows[0], options.blocks[0])
        print(json.dumps(work(options.work, size, options.repeats)))
        return
    sizes = [Size(c, r, b) for c in options.crops for r in options.rows for b in options.blocks]
    results: dict[Size, Found] = {size: {way: [] for way in options.ways} for size in sizes}
    for number in range(options.rounds):
        for size, ways in results.items():
            for way, rounds in ways.items():
                found = measure(way, size, options.repeats)
                rounds.append(found)
                told = (
                    f"{found['step']:.2f} s, {found['bytes'] / MIB:,.0f} MiB" if found else NO_ROOM
                )
                print(f"round {number + 1}: {size}, {way}: {told}", flush=True)
    path = options.out or page_path("training")
    image = path.with_suffix(".png")
    draw(results, image)
    text = page(results, image, options)
    print(f"\n{text}\nwritten to {write_page('training', text, path)}")


if __name__ == "__main__":
    main()
