"""The picture of the README: one noised backbone, refined by each structure module.

Run `python benchmarks/picture_structures.py`; with `../shared/data` or any other folder that
docs/data.md describes as `--data`, the modules learn from more chains than the sample has.
"""

import argparse
from pathlib import Path

import denoising
import torch
from benchmark_structure import DATA, PACKAGES, SAMPLE
from machine import ROOT
from matplotlib.figure import Figure

from alphafold2_pytorch.geometry.align import rmsd, superpose
from alphafold2_pytorch.structure import STRUCTURES

CHAIN, GROUP = "1a3a_C", 9240  # its homology group stays out of the training
LENGTH, STEPS = 64, 200


def alphas(
    model: denoising.Denoiser | None, chain, seed: int = 5
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """CA of the result (without a model: of the noised start) laid on the true ones, and RMSD."""
    truth, start, known = denoising.batch_of([chain], torch.Generator().manual_seed(seed))
    with torch.no_grad():
        found = start.trans
        if model is not None:
            found = model.eval()(truth, start, known).atoms[-1][:, :, 1]
    true = truth.positions[:, :, 1]
    moved = superpose(found, true, known.float()).unsqueeze(-1).apply(found)
    return moved[0], true[0], float(rmsd(found, true, known))


def main() -> None:
    """Train each module for a few minutes at most, draw, and write the PNG."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA if DATA.is_dir() else SAMPLE)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=ROOT / "images" / "structures.png")
    options = parser.parse_args()
    sample = denoising.load_chains(SAMPLE, ("test",))
    [chain] = denoising.middles([c for c in sample if c.id == CHAIN], LENGTH)
    others = denoising.load_chains(options.data, ["train"], 400, exclude_groups=[GROUP])
    crops = denoising.middles(others, LENGTH)
    found = {"noised": alphas(None, chain)}
    for name in sorted(set(STRUCTURES.entries) - set(PACKAGES)):
        model, _ = denoising.learn(name, crops, options.steps)
        found[name] = alphas(model, chain)
        print(f"{name}: {found[name][2]:.2f} Å", flush=True)
    _, _, axes = torch.linalg.svd(found["noised"][1] - found["noised"][1].mean(0))
    figure = Figure(figsize=(12, 7.4), layout="constrained")
    for plot, (name, (moved, true, off)) in zip(
        figure.subplots(2, 3, sharex=True, sharey=True).flat, found.items(), strict=True
    ):
        for points, colour, width in ((true, "0.7", 4), (moved, "tab:blue", 1.5)):
            flat = (points - true.mean(0)) @ axes[:2].T
            plot.plot(*flat.T, color=colour, linewidth=width)
        plot.set_title(f"{name}: {off:.2f} Å")
        plot.set_aspect("equal")
        plot.axis("off")
    figure.suptitle(f"CA trace of {LENGTH} residues of {CHAIN}: the experiment grey, RMSD of CA")
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
