"""Every structure module on one task: noised backbones of real chains, moved back.

Run `python benchmarks/benchmark_structure.py`, on a machine that does nothing else. All registered
modules take part, published packages where they are installed. Of each, one process takes the time
and the memory, and another one trains it and scores it on chains it has not seen.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import date
from pathlib import Path

from machine import ROOT, commit, machine, page_path, peak_bytes, write_page

SAMPLE = ROOT / "tests" / "sample"
DATA = ROOT.parent / "shared" / "data"
PACKAGES = {  # published packages: what they import, and which of ours does the same
    "egnn-pytorch": ("egnn_pytorch", "egnn"),
    "en-transformer": ("en_transformer", "en"),
    "se3-transformer-pytorch": ("se3_transformer_pytorch", "se3"),
}
COLOURS = {False: "tab:blue", True: "tab:gray"}  # ours, published


def modules() -> list[str]:
    """The names that can run here, ours first."""
    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch.structure import STRUCTURES

    ours = sorted(set(STRUCTURES.entries) - set(PACKAGES))
    found = [name for name, (module, _) in PACKAGES.items() if importlib.util.find_spec(module)]
    return ours + found


def cost(name: str, options: argparse.Namespace) -> dict:
    """Time of a training step, memory and size."""
    sys.path.insert(0, str(ROOT))
    import denoising
    import torch

    everything = denoising.load_chains(SAMPLE, ("train", "valid", "test", "test_remote"))
    full = [c for c in everything if c.features.size("n") >= options.length]
    if not full:
        sys.exit(f"no chain of {SAMPLE} has {options.length} residues: choose a smaller --length")
    torch.manual_seed(0)
    model = denoising.Denoiser(name, denoising.Sizes())
    before = peak_bytes()
    timed = denoising.train(model, denoising.middles(full, options.length), options.repeats + 1)
    return {
        "step": statistics.median(timed[1:]),
        "bytes": peak_bytes() - before,
        "parameters": sum(each.numel() for each in model.module.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def score(name: str, options: argparse.Namespace) -> dict:
    """Train, and tell the error on chains held out."""
    sys.path.insert(0, str(ROOT))
    import denoising

    splits = ("test",) if options.data != SAMPLE else ("valid", "test", "test_remote")
    train = denoising.load_chains(options.data, ["train"], options.train_chains)
    test = denoising.load_chains(options.data, splits, options.test_chains)
    if options.data == SAMPLE:
        held_out = denoising.windows(test, 24)
    else:
        held_out = denoising.middles(test, options.length)
    crops = denoising.middles(train, options.length)
    model, _ = denoising.learn(name, crops, options.steps, options.seed)
    found = denoising.held_out(model, held_out, options.draws)
    return {**asdict(denoising.Score.of(found)), "train": len(crops)}


def measure(part: str, name: str, arguments: list[str]) -> dict:
    """Run a part in a process of its own; ends the program with its output if it fails."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve())]
    with tempfile.TemporaryDirectory() as home:  # so that nobody's cache is read or written
        done = subprocess.run(
            [*command, *arguments, "--work", part, name],
            cwd=ROOT / "benchmarks",
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": home},
        )
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def interval(three: list[float], scale: float = 1.0, digits: int = 2) -> str:
    """A mean and the ends of its interval."""
    mean, low, high = (f"{scale * each:.{digits}f}" for each in three)
    return f"{mean} ({low} to {high})"


def table(results: dict[str, dict]) -> str:
    """A line a module."""
    lines = [
        "| module | RMSD, Å | of the RMSD gone, % | training step | memory | parameters |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, found in results.items():
        cells = [f"`{name}`", interval(found["after"]), interval(found["gone"], 100, 0)]
        cells += [f"{found['step']:.3f} s", f"{found['bytes'] / 2**20:.0f} MiB"]
        lines.append(f"| {' | '.join([*cells, format(found['parameters'], ',')])} |")
    return "\n".join(lines)


def beside_packages(results: dict[str, dict]) -> str:
    """How much more the published packages take than ours, at equal width and depth."""
    lines = ["| | time of a step | memory | parameters |", "| --- | ---: | ---: | ---: |"]
    for package, (_, ours) in PACKAGES.items():
        if package in results and ours in results:
            whats = ("step", "bytes", "parameters")
            pairs = [results[package][what] / results[ours][what] for what in whats]
            cells = " | ".join(f"{each:.1f}" for each in pairs)
            lines.append(f"| `{package}` / `{ours}` | {cells} |")
    if len(lines) == 2:
        return "None was run (`pip install '.[packages]'`)."
    return "\n".join(lines)


def draw(results: dict[str, dict], image: Path) -> None:
    """RMSD with intervals, and the time of a step, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter

    names, found = list(results), list(results.values())
    colours = [COLOURS[name in PACKAGES] for name in names]
    figure = Figure(figsize=(9, 0.5 * len(names) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for row, (each, colour) in enumerate(zip(found, colours, strict=True)):
        mean, low, high = each["after"]
        left.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color=colour)
    before = found[0]["before"][0]
    left.axvline(before, color="0.6", linestyle="--")
    left.annotate("before", (before, 1.0), xycoords=("data", "axes fraction"), ha="center")
    left.set_xlim(0, 1.1 * before)
    left.set_xlabel("backbone RMSD of held-out chains, Å")
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    right.scatter([each["step"] for each in found], range(len(names)), color=colours)
    right.set_xscale("log")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set_xlabel("training step, s")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, dpi=120)


def left_out(results: dict[str, dict]) -> str:
    """Which packages `--modules` did not name or are not installed."""
    names = ", ".join(f"`{name}`" for name in PACKAGES if name not in results)
    return f"Not run here: {names}; the page of networks has its time and memory." if names else ""


def page(results: dict[str, dict], options: argparse.Namespace, image: Path, given: str) -> str:
    """The results page, with all it takes to measure the same again."""
    import denoising

    first = next(iter(results.values()))
    sizes = ", ".join(f"`{key}={value}`" for key, value in vars(denoising.Sizes()).items())
    low, high = denoising.NOISE
    if options.data == SAMPLE:
        chains = f"{first['count']} stretches (24 residues, each half over the one before) of the "
        chains += f"four chains of `tests/sample` that are held out; {first['train']} to train on"
    else:
        chains = f"{first['count']} chains of split `test` of a data folder as `docs/data.md` "
        chains += f"describes it, their middle {options.length} residues; {first['train']} of "
        chains += "`train` to train on"
    return f"""# Structure modules, on noised backbones

Each coordinate of N, CA and C of a real chain gets Gaussian noise, for each chain of one standard
deviation between {low:g} and {high:g} Å. A module begins with the frames through the noised atoms,
knows the sequence and the places along the chain, and learns to say where the atoms were.

![RMSD and time of every structure module]({image.name})

RMSD after superposition, before: {interval(first["before"])} Å. Means over chains with 95 %
bootstrap intervals over these.

{table(results)}

The published packages beside ours of the same kind: how many times as much they take.

{beside_packages(results)}

{left_out(results)}

- {chains[0].upper()}{chains[1:]}. {options.draws} draws of noise for each.
- {options.steps} steps of Adam on 4 chains each, the rate falling from 0.002; the same settings for
  all, tuned for none. One seed of the weights, whose part in the differences between modules the
  intervals do not show.
- {sizes}; other keywords as they are by default, `ipa` with `start="mds"`. Packages run in the same
  frame of neighbours and iterations as ours (`alphafold2_pytorch/structure/packages.py`);
  `en-transformer` has heads of width 32, the least it takes, the SE(3) package two degrees.
- A step is forward, backward and the optimizer on 4 chains of {options.length} residues, median of
  {options.repeats} after one to warm up. Memory is the rise of the process's peak resident memory
  above that of the built model.
- float32, CPU, {first["threads"]} threads, torch {first["torch"]}. {machine()}. Commit
  `{commit()}`, {date.today():%Y-%m-%d}.
- Command: `python benchmarks/benchmark_structure.py {given}`.
"""


def main() -> None:
    """Measure, print the page, and write it with its plot to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    data = DATA if DATA.is_dir() else SAMPLE
    parser.add_argument("--data", type=Path, default=data, help="chains, as docs/data.md says")
    parser.add_argument("--train-chains", type=int, default=400)
    parser.add_argument("--test-chains", type=int, default=40)
    parser.add_argument("--steps", type=int, default=400, help="of training")
    parser.add_argument("--length", type=int, default=64, help="residues of a crop")
    parser.add_argument("--draws", type=int, default=2, help="of noise for each chain held out")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modules", nargs="+", help="names (default: all that can run here)")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.data = options.data.resolve()
    if options.work:
        part, name = options.work
        print(json.dumps({"cost": cost, "score": score}[part](name, options)))
        return
    numbers = ("train_chains", "test_chains", "steps", "length", "draws", "repeats", "seed")
    arguments = [f"--{n.replace('_', '-')}={getattr(options, n)}" for n in numbers]
    to_work = [*arguments, f"--data={options.data}"]
    names = options.modules or modules()
    results = {name: measure("cost", name, to_work) for name in names}
    for name, found in results.items():
        found.update(measure("score", name, to_work))
        told = f"{found['before'][0]:.2f} -> {interval(found['after'])} Å, {found['step']:.3f} s"
        print(f"{name}: {told}", flush=True)
    path = options.out or page_path("structure")
    image = path.with_suffix(".png")
    draw(results, image)
    named = ["--modules", *options.modules] if options.modules else []
    text = page(results, options, image, " ".join([*arguments, *named]))
    print(f"\n{text}\nwritten to {write_page('structure', text, path)}")


if __name__ == "__main__":
    main()
