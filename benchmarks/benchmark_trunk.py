"""Our trunk beside that of the older package of the same name (PyPI, 0.4.32): time and memory.

Run `make benchmark`, on a machine that does nothing else. Both packages have the same import name,
so each runs in processes and an environment of its own; the peer's, `.venv-peer`, is made on first
use with pip. Rounds alternate between the two, so that a slow minute hits both.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

from machine import ROOT, commit, machine, matmul_rate, peak_bytes, write_page

PEER = "alphafold2-pytorch==0.4.32"
PEER_VENV = ROOT / ".venv-peer"
SIZES: dict[str, Any] = {"dim": 256, "heads": 8, "dim_head": 64}
DEPTH, ROWS = 2, 5
RUNS = (
    ("ours", "forward"),
    ("peer", "forward"),
    ("ours", "backward"),
    ("peer", "backward"),
    ("ours", "recompute"),
)
LABELS = {
    "forward": "forward",
    "backward": "forward + backward",
    "recompute": "the same, ours with `Runtime(checkpoint=True)`",
}


def build_ours(mode: str):
    """(model, its trunk, call): our model with `DEPTH` Evoformer blocks, from this checkout."""
    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch import Alphafold2, Runtime, keep_freed_memory
    from alphafold2_pytorch.ops import set_runtime

    keep_freed_memory()  # as the command line does
    # the peer's call gives neither embeddings nor templates
    unread: dict[str, Any] = {"num_embedds": 0, "template_attn_depth": 0}
    model = Alphafold2(custom_block_types=("evoformer",) * DEPTH, **unread, **SIZES).eval()
    set_runtime(model, Runtime(checkpoint=mode == "recompute"))
    return model, model.trunk, model


def build_peer(mode: str):
    """(model, its trunk, call): the peer's model; pytorch3d, read for coordinates only, a stub."""
    stub = ModuleType("pytorch3d.transforms")
    vars(stub).update(quaternion_multiply=None, quaternion_to_matrix=None)
    sys.modules.update({"pytorch3d": ModuleType("pytorch3d"), "pytorch3d.transforms": stub})
    from alphafold2_pytorch import Alphafold2

    model = Alphafold2(depth=DEPTH, **SIZES).eval()
    return model, model.net, lambda *inputs, **masks: model(*inputs, **masks).distance


def work(who: str, mode: str, length: int, repeats: int) -> dict:
    """What one process does: build one model, call it once to warm up, then `repeats` times."""
    import torch

    torch.manual_seed(0)
    model, trunk, call = {"ours": build_ours, "peer": build_peer}[who](mode)
    seq, msa = torch.randint(0, 21, (1, length)), torch.randint(0, 21, (1, ROWS, length))
    masks = {"mask": torch.ones_like(seq).bool(), "msa_mask": torch.ones_like(msa).bool()}

    def once() -> float:
        start = time.perf_counter()
        with torch.set_grad_enabled(mode != "forward"):
            logits = call(seq, msa, **masks)
            if mode != "forward":
                logits.square().mean().backward()
        return time.perf_counter() - start

    before = peak_bytes()
    once()
    return {
        "seconds": statistics.median(once() for _ in range(repeats)),
        "bytes": peak_bytes() - before,
        "trunk": sum(each.numel() for each in trunk.parameters()),
        "parameters": sum(each.numel() for each in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def count(length: int) -> dict:
    """GFLOP of our forward pass in matrix products, and GFLOP/s of a large one on this machine."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, _, call = build_ours("forward")
    from alphafold2_pytorch import Runtime
    from alphafold2_pytorch.ops import set_runtime

    # which the counter knows
    set_runtime(model, Runtime(attention="reference", triangle="reference", linear="torch"))
    seq, msa = torch.randint(0, 21, (1, length)), torch.randint(0, 21, (1, ROWS, length))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call(seq, msa)
    return {
        "forward": counter.get_total_flops() / 1e9,
        "rate": matmul_rate(torch.get_num_threads()),
    }


def make_peer() -> Path:
    """The Python of the peer's environment, made with pip if it is not there."""
    python, ready = PEER_VENV / "bin" / "python", PEER_VENV / ".ready"
    if not ready.exists():
        pip = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([sys.executable, "-m", "venv", str(PEER_VENV)], check=True)
        subprocess.run([*pip, "-r", str(ROOT / "benchmarks" / "peer.txt")], check=True)
        subprocess.run([*pip, "--no-deps", PEER], check=True)
        ready.touch()
    return python


def measure(python: Path, who: str, mode: str, options: argparse.Namespace) -> dict:
    """Run `work` in a process of its own; ends the program with its output if it fails."""
    job = ["--work", who, mode, "--length", str(options.length), "--repeats", str(options.repeats)]
    command = [str(python), "-W", "ignore", str(Path(__file__).resolve()), *job]
    done = subprocess.run(command, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{who} {mode} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def table(results: dict[tuple[str, str], list[dict]]) -> str:
    """Medians over the rounds; ratios are medians of each round's own ratio, with their range."""
    lines = ["| | ours | peer | peer / ours |", "| --- | --- | --- | --- |"]
    for mode, label in LABELS.items():
        ours = results["ours", mode]
        peer = results.get(("peer", mode)) or results["peer", "backward"]
        for what, unit, scale in (("seconds", "s", 1), ("bytes", "GiB", 2**30)):
            mine, theirs = ([each[what] / scale for each in side] for side in (ours, peer))
            ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
            middle = [f"{statistics.median(values):.2f}" for values in (mine, theirs, ratios)]
            lines.append(
                f"| {label}, {'time' if unit == 's' else 'memory'} | {middle[0]} {unit} "
                f"| {middle[1]} {unit} | **{middle[2]}** ({min(ratios):.2f} to {max(ratios):.2f}) |"
            )
    return "\n".join(lines)


def page(
    results: dict[tuple[str, str], list[dict]], work: dict, options: argparse.Namespace
) -> str:
    """The results page, with all it takes to measure the same again."""
    ours, peer = results["ours", "forward"][0], results["peer", "forward"][0]
    rate = work["rate"]

    def share(mode: str, times: int) -> str:
        seconds = statistics.median(each["seconds"] for each in results["ours", mode])
        speed = times * work["forward"] / seconds
        return f"{speed:.0f} GFLOP/s, {speed / rate:.0%} of that"

    return f"""# The trunk beside `{PEER}`

{table(results)}

More than 1 in the last column is in our favour. Memory is the rise of the process's peak resident
memory above that of the built model. {options.rounds} rounds that alternate between the packages,
a fresh process for each figure in each round, one call to warm up and the median of
{options.repeats} more; then medians over the rounds, with the range of the ratios.

| | ours | peer |
| --- | --- | --- |
| parameters of the trunk | {ours["trunk"]:,} | {peer["trunk"]:,} |
| parameters of the model | {ours["parameters"]:,} | {peer["parameters"]:,} |
| torch | {ours["torch"]} | {peer["torch"]} |
| threads | {ours["threads"]} | {peer["threads"]} |

- Both: {", ".join(f"`{key}={value}`" for key, value in SIZES.items())}, {DEPTH} Evoformer blocks, \
length {options.length}, MSA {ROWS} x {options.length}, full masks,
  float32, CPU, evaluation mode (no dropout, no masked-MSA loss), tokens to distogram logits; the
  backward pass starts from their mean square. Forward alone runs without gradients.
  Ours after `keep_freed_memory()`, as `alphafold2 train` runs it; the peer as it comes.
- A large float32 product, by MKL or oneDNN, the faster, reaches {rate:.0f} GFLOP/s here. Our \
forward pass
  has {work["forward"]:.0f} GFLOP in matrix products: {share("forward", 1)}. Forward and backward,
  three times as many without what is computed again: {share("backward", 3)}.
- The blocks are alike, not equal. Ours follow Jumper et al. (2021): an outer product of 32 x 32
  features, ReLU transitions, a norm before the pair bias. The peer's mean over rows is a product
  feature by feature, its transitions are gated (GEGLU), hence its larger trunk; its model also
  has parameters for templates, extra MSA and coordinates, which do not run here.
- Ours: commit `{commit()}`. Peer: {PEER} from PyPI with `benchmarks/peer.txt`.
- Machine: {machine()}.
- Command: `python benchmarks/benchmark_trunk.py --length {options.length} \
--rounds {options.rounds} --repeats {options.repeats}`, {date.today():%Y-%m-%d}.
"""


def main() -> None:
    """Measure, print the page, and write it to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--length", type=int, default=128, help="residues (default: 128)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds (default: 5)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls a process (default: 3)")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count:
        print(json.dumps(count(options.length)))
        return
    if options.work:
        who, mode = options.work
        print(json.dumps(work(who, mode, options.length, options.repeats)))
        return
    pythons = {"ours": Path(sys.executable), "peer": make_peer()}
    results: dict[tuple[str, str], list[dict]] = {run: [] for run in RUNS}
    for number in range(options.rounds):
        for who, mode in RUNS:
            result = measure(pythons[who], who, mode, options)
            results[who, mode].append(result)
            seconds, gib = result["seconds"], result["bytes"] / 2**30
            print(f"round {number + 1}: {who} {mode}: {seconds:.2f} s, {gib:.2f} GiB", flush=True)
    done = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--count"]
    done += ["--length", str(options.length)]
    counted = subprocess.run(
        done, cwd=ROOT / "benchmarks", capture_output=True, check=True, text=True
    )
    text = page(results, json.loads(counted.stdout.splitlines()[-1]), options)
    out = write_page("trunk", text, options.out)
    print(f"\n{text}\nwritten to {out}")


if __name__ == "__main__":
    main()
