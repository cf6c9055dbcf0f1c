"""A picture of one prediction beside the experiment."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import ndarray

FARTHEST = 20.0  # angstrom; a distogram does not tell larger distances apart


def draw_comparison(
    path: Path,
    title: str,
    predicted: "ndarray",
    true: "ndarray",
    plddt: "ndarray",
    lddt: "ndarray",
) -> None:
    """A PNG of two C-beta distance maps side by side, and confidence along the chain below.

    `predicted` and `true` [n, n] are in angstrom, `plddt` [n] is 0 to 100, `lddt` [n] 0 to 1; NaN
    where the experiment shows nothing. Raises `ImportError` naming the extra without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "the picture needs matplotlib: pip install 'alphafold2-pytorch[report]'"
        ) from None
    length = len(plddt)
    figure = Figure(figsize=(9, 7.2), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1.3))
    edge = (0.5, length + 0.5, length + 0.5, 0.5)  # residues count from 1
    maps = []
    for column, (name, distance) in enumerate((("predicted", predicted), ("experiment", true))):
        axes = figure.add_subplot(grid[0, column])
        axes.set_facecolor("0.85")
        drawn = axes.imshow(
            distance, cmap="viridis_r", vmin=0, vmax=FARTHEST, extent=edge, interpolation="nearest"
        )
        axes.set(title=name, xlabel="residue", ylabel="residue" if column == 0 else "")
        maps.append(axes)
    figure.colorbar(drawn, ax=maps, label="Cβ-Cβ distance / Å", extend="max", shrink=0.9)
    axes = figure.add_subplot(grid[1, :])
    residues = range(1, length + 1)
    axes.plot(residues, plddt, color="#1f5fa8", label="pLDDT (predicted confidence)")
    axes.plot(residues, 100 * lddt, color="#d9822b", linewidth=1, label="lDDT-Cα by experiment")
    axes.set(xlabel="residue", ylabel="0 to 100", xlim=(0.5, length + 0.5), ylim=(0, 100))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=120, format="png")
