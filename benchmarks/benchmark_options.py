"""What each option of the trunk costs: time, memory and parameters, beside the plain trunk.

Run `python benchmarks/benchmark_options.py`, on a machine that does nothing else. Every figure
comes from a process of its own; rounds go through all options, so that a slow minute hits all.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from machine import ROOT, commit, cost, machine, write_page

SIZES: dict[str, Any] = {"dim": 64, "heads": 4, "dim_head": 32}
DEPTH, ROWS = 2, 2
PLAIN = "plain"
OPTIONS: dict[str, dict[str, Any]] = {  # keywords added to depth=2
    PLAIN: {},
    "reversible": {"reversible": True},
    "use_conv": {"use_conv": True},
    "rotary": {"rotary": True},
    "sparse_self_attn": {"sparse_self_attn": True, "max_seq_len": 1024},
    "msa_tie_row_attn": {"msa_tie_row_attn": True},
    "inter_msa_self_attn=False": {"inter_msa_self_attn": False},
    "cross_attn_linear": {"cross_attn_linear": True},
    "cross_attn_kron_primary": {"cross_attn_kron_primary": True},
    "cross_attn_kron_msa": {"cross_attn_kron_msa": True},
    "both cross_attn_kron": {"cross_attn_kron_primary": True, "cross_attn_kron_msa": True},
    "cross_attn_compress_ratio=3": {"cross_attn_compress_ratio": 3},
    "predict_angles": {"predict_angles": True},
    "predict_real_value_distances": {"predict_real_value_distances": True},
    "templates (2)": {"templates": 2},
    "predict_coords": {"predict_coords": True},
    "2 x evoformer": {"custom_block_types": ("evoformer",) * 2},
}


def work(option: str, length: int, repeats: int) -> dict:
    """What one process does: build a model, warm up, time the forward pass and a training step."""
    import torch

    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch import Alphafold2

    keywords = {"depth": DEPTH, **OPTIONS[option]}
    if "custom_block_types" in keywords:
        del keywords["depth"]
    count = keywords.pop("templates", 0)
    torch.manual_seed(0)
    model = Alphafold2(**SIZES, **keywords)
    inputs: dict[str, Any] = {"seq": torch.randint(0, 21, (1, length))}
    inputs["msa"] = torch.randint(0, 21, (1, ROWS, length))
    if count:
        inputs["templates_coors"] = 3.8 * torch.randn(1, count, length, 3).cumsum(2)

    def once(train: bool) -> float:
        start = time.perf_counter()
        with torch.set_grad_enabled(train):
            out = model(**inputs)
            if train:
                parts = [t for t in out if t is not None] if isinstance(out, tuple) else [out]
                sum(part.square().mean() for part in parts).backward()
        return time.perf_counter() - start

    return cost(once, model, repeats)


def measure(option: str, length: int, repeats: int) -> dict:
    """Run `work` in a process of its own; ends the program with its output if it fails."""
    job = ["--work", option, "--lengths", str(length), "--repeats", str(repeats)]
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), *job]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{option} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results: dict[str, list[dict]]) -> str:
    """Medians over the rounds, and the ratio to the plain trunk in the same round."""
    lines = [
        "| option | parameters | forward | | memory | | training step | | memory | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for option, rounds in results.items():
        cells = []
        for what, scale, unit in (
            ("forward", 1, "s"),
            ("forward_bytes", 2**20, "MiB"),
            ("step", 1, "s"),
            ("step_bytes", 2**20, "MiB"),
        ):
            middle = statistics.median(each[what] / scale for each in rounds)
            pairs = zip(rounds, results[PLAIN], strict=True)
            ratio = statistics.median(a[what] / b[what] for a, b in pairs)
            cells += [f"{middle:.2f} {unit}" if unit == "s" else f"{middle:.0f} {unit}"]
            cells += [f"{ratio:.2f}"]
        parameters = f"{rounds[0]['parameters']:,}"
        lines.append(f"| {option} | {parameters} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(tables: dict[int, dict[str, list[dict]]], options: argparse.Namespace) -> str:
    """The results page, with all it takes to measure the same again."""
    first = next(iter(next(iter(tables.values())).values()))[0]
    parts = [f"## {length} residues\n\n{table(found)}" for length, found in tables.items()]
    sizes = ", ".join(f"`{key}={value}`" for key, value in SIZES.items())
    lengths = " ".join(map(str, options.lengths))
    timed = f"one call to warm up and the median of {options.repeats} more"
    if not options.repeats:
        timed = "its first forward pass and its first training step"
    return f"""# What the trunk's options cost

Each line adds one keyword to `Alphafold2({sizes.replace("`", "")}, depth={DEPTH})`. Small numbers
beside a figure are its ratio to the first line: below 1 is cheaper.

{(chr(10) * 2).join(parts)}

- MSA {ROWS} rows, full masks, float32, CPU, {first["threads"]} threads, torch {first["torch"]}; a
  training step is a forward and a backward pass, without an optimizer. Memory is the rise of the
  process's peak resident memory above that of the built model.
- {options.rounds} rounds, a fresh process for each line in each round; {timed}; then medians over
  the rounds. On a shared machine differences of a fifth are noise.
- Machine: {machine()}. Commit `{commit()}`, {date.today():%Y-%m-%d}.
- Command: `python benchmarks/benchmark_options.py --lengths {lengths} --rounds {options.rounds} \
--repeats {options.repeats}`.
"""


def main() -> None:
    """Measure, print the page, and write it to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256], help="residues")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="timed calls a process")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(options.work, options.lengths[0], options.repeats)))
        return
    tables: dict[int, dict[str, list[dict]]] = {
        n: {o: [] for o in OPTIONS} for n in options.lengths
    }
    for number in range(options.rounds):
        for length, found in tables.items():
            for option in OPTIONS:
                result = measure(option, length, options.repeats)
                found[option].append(result)
                told = f"{result['forward']:.2f} s, {result['step']:.2f} s"
                print(f"round {number + 1}: {length} residues, {option}: {told}", flush=True)
    text = page(tables, options)
    print(f"\n{text}\nwritten to {write_page('options', text, options.out)}")


if __name__ == "__main__":
    main()
