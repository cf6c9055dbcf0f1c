"""All that one GPU has to show, in less than nine minutes and without network: see `gpu.sh`.

Each section runs in a process of its own that is ended when its time is up; every figure is written
as it is found, a line of JSON each, so that what was found stays. `--dry` runs all of it at tiny
sizes on any device; its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from benchmark_growth import measure as measure_growth
from machine import RESULTS, ROOT, commit, machine
from plots import illustrate

TIMES = {  # seconds of each section, 490 together
    "limits": 20,
    "checks": 60,
    "kernels": 90,
    "block": 100,
    "step": 70,
    "fold": 90,
    "growth": 60,
}
TITLES = {
    "limits": "What the device reaches",
    "checks": "Are the kernels right",
    "kernels": "Triangle attention and multiplication, bfloat16",
    "block": "One Evoformer block, bfloat16",
    "step": "A training step",
    "fold": "A fold with 3 recycles",
    "growth": "Memory at length",
}
TARGETS = {
    "limits": "Rates that the shares below are shares of.",
    "checks": "Largest error against `reference` in float64, of result and gradients, over that of "
    "plain PyTorch (`reference`) at the same dtype. Target: at most 2.",
    "kernels": "Target: `triton` at least as fast as `cuequivariance`. Plain PyTorch is "
    "`reference`; `pieces` is what `auto` runs.",
    "block": "Residues x rows of the MSA. Names as above; `auto` is the choice of the library.",
    "step": "48 + 4 blocks, checkpointed, autocast to bfloat16. Target: above 0.8 samples/s; peers "
    "report 0.55 on one H100.",
    "fold": "Target: 1,024 residues under 15 s. Peers: AlphaFold2 on an A100, 29 s at 500, "
    "96 s at 1,000, 450 s at 2,000.",
    "growth": "One fold with one block of each kind, float32: peak and, as its note, the estimate.",
}
GROWTH = (512, 1024, 2048, 4096, 6144)
DRY_GROWTH = (16,)


def section(name: str, device: str, dry: bool, seconds: float, told: Path) -> Iterator[Any]:
    """The figures of a section; those of `limits` are read from what was told before."""
    from gpu_kernels import checks, kernels
    from gpu_model import block, fold, step
    from gpu_tools import Bench, Limits, limits

    bench = Bench(device, dry, seconds)
    if name == "limits":
        yield from (each for each in limits(bench) if not isinstance(each, Limits))
        return
    if name == "checks":
        yield from checks(bench)
        return
    found = [each["value"] for each in read(told) if each["section"] == "limits"]
    if len(found) != 2:
        raise SystemExit("the section `limits` failed, so there are no shares to tell")
    limit = Limits(found[0] * 1e12, found[1] * 1e9)
    runs = {"kernels": kernels, "block": block, "step": step, "fold": fold}
    yield from runs[name](bench, limit)


def growth(options: argparse.Namespace, seconds: float) -> Iterator[dict[str, Any]]:
    """Peaks by `benchmark_growth.py`, each length in a process of its own, until time is up."""
    ends = time.monotonic() + seconds
    words: dict[str, Any] = {"rows": 8 if options.dry else 128, "depth": 1, "recycles": 1}
    empty = {"section": "growth", "unit": "s", "value": None, "share": None, "peak": None}
    for n in DRY_GROWTH if options.dry else GROWTH:
        left = ends - time.monotonic()
        settings = argparse.Namespace(device=options.device, timeout=max(left, 1.0), **words)
        found = measure_growth("fold", n, settings)
        if found is None:
            yield {**empty, "what": f"{n} residues", "note": "no room or no time"}
            return
        note = f"estimate {found['estimate'] / 2**20:,.0f} MiB"
        figure = {"value": found["seconds"], "peak": found["peak"], "note": note}
        yield {**empty, **figure, "what": f"{n} residues"}
        if n == (DRY_GROWTH if options.dry else GROWTH)[0]:
            told = ", ".join(f"{each:,}" for each in found["longest"])
            yield {
                **empty,
                "what": "longest chain of 16 and of 139 GB",
                "note": f"{told} residues, by the formula",
            }


def read(path: Path) -> list[dict[str, Any]]:
    """The figures found so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(name: str, options: argparse.Namespace, lines: Path) -> str:
    """One section; says why it ended early, or nothing."""
    seconds = min(TIMES[name], options.ends - time.monotonic() - 5)
    if seconds < 5:
        return "left out: no time was left"
    if name == "growth":
        with lines.open("a") as file:
            for figure in growth(options, seconds):
                print(json.dumps(figure), file=file, flush=True)
        return ""
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--section", name]
    command += ["--device", options.device, "--seconds", str(seconds), "--lines", str(lines)]
    command += ["--dry"] * options.dry
    try:
        done = subprocess.run(
            command, cwd=ROOT / "benchmarks", capture_output=True, text=True, timeout=seconds + 10
        )
    except subprocess.TimeoutExpired:
        return f"ended after {seconds:.0f} s: what is missing would have taken longer"
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(done.stderr, file=sys.stderr)
        return f"FAILED: {last}"
    return ""


def table(figures: list[dict[str, Any]]) -> str:
    """A line a figure."""
    lines = [
        "| what | value | share of the limit | peak memory | note |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for each in figures:
        value = "" if each["value"] is None else f"{each['value']:,.4g} {each['unit']}".strip()
        share = "" if each["share"] is None else f"{each['share']:.1%}"
        peak = "" if each["peak"] is None else f"{each['peak'] / 2**20:,.0f} MiB"
        note = each["note"].replace("|", "/")
        lines.append(f"| {each['what']} | {value} | {share} | {peak} | {note} |")
    return "\n".join(lines)


def page(figures: list[dict[str, Any]], ends: dict[str, str], options: argparse.Namespace) -> str:
    """The results page."""
    parts = []
    for name, title in TITLES.items():
        own = [each for each in figures if each["section"] == name]
        early = f"\n\n**This section {ends[name]}.**" if ends.get(name) else ""
        body = table(own) if own else "Nothing was measured."
        parts.append(f"## {title}\n\n{TARGETS[name]}{early}\n\n{body}")
    import torch

    card = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    dry = "\n**A dry run at tiny sizes: these figures mean nothing.**\n" if options.dry else ""
    return f"""# One {card}
{dry}
{(chr(10) * 2).join(parts)}

- Times are medians of three rounds of at least 30 ms after two calls to warm up (a fold: one call
  after one, where there is time), the device waited for at both ends of a round. Peak memory is
  what torch allocated beyond inputs and weights; of a fold, with them.
- Share of the limit: the least time that the counted operations and bytes take at the rates
  measured above, over the time taken. What is counted stands in `benchmarks/gpu_tools.py`.
- Random weights and inputs. A section that is over its time is ended, and what it had found stays.
- torch {torch.__version__}, CUDA {torch.version.cuda}. {machine()}. Commit `{commit()}`,
  {date.today():%Y-%m-%d}.
- Command: `benchmarks/gpu.sh` ({time.monotonic() - options.began:.0f} s).
"""


def main() -> None:
    """All sections, then the page, its plot and the lines of JSON in `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--dry", action="store_true", help="tiny sizes: does all of it run?")
    parser.add_argument("--limit", type=float, default=510, help="seconds for everything")
    parser.add_argument("--out", type=Path, default=RESULTS, help="a folder")
    parser.add_argument("--section", choices=list(TIMES), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--lines", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.section:
        name, lines = options.section, options.lines
        with lines.open("a") as file:
            for figure in section(name, options.device, options.dry, options.seconds, lines):
                print(json.dumps(figure.told()), file=file, flush=True)
        return
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no CUDA device here, or this torch was built without CUDA")
    if options.device == "cpu" and not options.dry:
        parser.error("on a CPU only --dry makes sense")
    if options.dry and options.out == RESULTS:
        parser.error("--dry needs --out: its figures belong in no results folder")
    options.began = time.monotonic()
    options.ends = options.began + options.limit
    card = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    hardware = "_".join("".join(c if c.isalnum() else " " for c in card.lower()).split())
    path = options.out / f"gpu_{hardware}_{date.today():%Y%m}.md"
    lines = path.with_suffix(".jsonl")
    options.out.mkdir(parents=True, exist_ok=True)
    lines.unlink(missing_ok=True)
    ends = {}
    for name in TIMES:
        ends[name] = run(name, options, lines)
        took = time.monotonic() - options.began
        print(f"{took:4.0f} s: {name} {ends[name] or 'done'}", flush=True)
    figures = read(lines)
    path.write_text(page(figures, ends, options))
    if figures:
        illustrate(path, "gpu")
    print(f"{table(figures)}\nwritten to {path}")
    bad = [each for each in figures if each["note"].startswith(("WRONG", "FAILED"))]
    if bad or any(end.startswith("FAILED") for end in ends.values()):
        sys.exit(f"{len(bad)} kernels or sections are wrong or failed: see the page")


if __name__ == "__main__":
    main()
