"""The peak memory of AlphaFold2's network at length, beside what `memory_estimate` foresees.

Peaks do not depend on depth, so of each kind of block there is one: widths, iterations of the
structure module, clusters, extra rows and templates are those of the preset. Each length runs in a
process of its own, two cycles, without gradients.
"""

import argparse
import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

from machine import ROOT, commit, machine, write_page

MIB = 2**20


def status_bytes(key: str) -> int:
    """Of this process: `VmHWM` is its peak, `VmRSS` what it holds (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


def features(n: int, rows: int, extra: int, templates: int):
    """Random ones, of every field that the network reads."""
    import torch

    from alphafold2_pytorch.features import Features

    def tokens(*shape: int):
        return torch.randint(0, 21, (1, *shape))

    def ones(*shape: int):
        return torch.ones(1, *shape, dtype=torch.bool)

    atoms = 2 * torch.randn(1, templates, n, 1, 3).cumsum(2) + torch.randn(1, templates, n, 37, 3)
    found = {
        "template_seq": tokens(templates, n),
        "template_atoms": atoms,
        "template_atom_mask": ones(templates, n, 37),
        "template_exists": ones(templates),
    }
    return Features(
        seq=tokens(n),
        residue_index=torch.arange(n)[None],
        mask=ones(n),
        msa=tokens(rows, n),
        deletions=torch.zeros(1, rows, n),
        msa_mask=ones(rows, n),
        msa_profile=torch.rand(1, rows, n, 23),
        deletion_mean=torch.rand(1, rows, n),
        extra_msa=tokens(extra, n),
        extra_deletions=torch.zeros(1, extra, n),
        extra_msa_mask=ones(extra, n),
        **(found if templates else {}),
    )


def work(n: int, rows: int, extra: int, templates: int, chunk: int) -> dict:
    """What one process does."""
    import torch

    sys.path.insert(0, str(ROOT))
    from alphafold2_pytorch import Alphafold2, Runtime, keep_freed_memory
    from alphafold2_pytorch.ops import set_runtime
    from alphafold2_pytorch.presets import Sizes, alphafold2

    keep_freed_memory()  # as the command line does
    torch.manual_seed(0)
    sizes = Sizes(blocks=1, extra_blocks=1, template_blocks=1)
    model = Alphafold2(alphafold2(True, extra, True, sizes)).eval()
    set_runtime(model, Runtime(chunk_bytes=chunk * MIB))
    with torch.no_grad():
        model.predict(features(16, 4, 4, templates), recycles=1)  # libraries load on first use
        batch = features(n, rows, extra, templates)
        before, start = status_bytes("VmRSS"), time.perf_counter()
        model.predict(batch, recycles=1)
    return {
        "residues": n,
        "rows": rows,
        "extra": extra,
        "templates": templates,
        "chunk": chunk,
        "peak": status_bytes("VmHWM") - before,
        "estimate": model.memory_estimate(n, rows + extra, templates),
        "seconds": time.perf_counter() - start,
    }


def measure(*numbers: int) -> dict:
    """Run `work` in a process of its own; ends the program with its output if it fails."""
    command = [sys.executable, str(Path(__file__).resolve()), "--work", *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "benchmarks")
    if done.returncode:
        sys.exit(f"{numbers} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def page(results: list[dict], command: str) -> str:
    """The results page."""
    lines = [
        "| residues | clusters | extra | templates | `chunk_bytes` | peak | estimate | ratio |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        counts = " | ".join(str(r[name]) for name in ("residues", "rows", "extra", "templates"))
        lines.append(
            f"| {counts} | {r['chunk']} MiB | {r['peak'] / MIB:,.0f} MiB "
            f"| {r['estimate'] / MIB:,.0f} MiB | {r['estimate'] / r['peak']:.2f} |"
        )
    table = "\n".join(lines)
    return f"""# Memory of `model_1_ptm` at length

{table}

The peak of the process's resident memory during `predict` (two cycles, no gradients, float32,
random weights of the official widths, one block of each kind) above what it held before. The
estimate is `model.memory_estimate(residues, clusters + extra rows, templates)`.

- {machine()}. Commit `{commit()}`, {date.today():%Y-%m-%d}.
- Command: `{command}`.
"""


def main() -> None:
    """Measure, print the page, and write it to `benchmarks/results/` or `--out`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--residues", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--rows", type=int, default=508, help="clusters")
    parser.add_argument("--extra", type=int, nargs="+", default=[1024], help="extra rows")
    parser.add_argument("--templates", type=int, default=4)
    parser.add_argument("--chunk", type=int, nargs="+", default=[8], help="MiB (default: 8)")
    parser.add_argument("--out", type=Path, help="the page (default: in benchmarks/results/)")
    parser.add_argument("--work", type=int, nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        print(json.dumps(work(*options.work)))
        return
    results = []
    for n in options.residues:
        for extra in options.extra:
            for chunk in options.chunk:
                found = measure(n, options.rows, extra, options.templates, chunk)
                told = (f"{found[name] / MIB:,.0f} MiB" for name in ("peak", "estimate"))
                print(f"{n} residues, {extra} extra rows: {', '.join(told)}", flush=True)
                results.append(found)
    text = page(results, "python " + " ".join(["benchmarks/benchmark_memory.py", *sys.argv[1:]]))
    print(f"\n{text}\nwritten to {write_page('memory', text, options.out)}")


if __name__ == "__main__":
    main()
