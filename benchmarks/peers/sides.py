"""Who is measured by `benchmark_block.py`, in which environment, and at which sizes."""

import argparse
from typing import Any, NamedTuple


class Side(NamedTuple):
    label: str
    module: str  # of `peers/`
    words: dict[str, Any] = {}  # for its `load`
    venv: str = ""  # "": ours
    pairs: bool = False  # it updates pairs, and one row at most: compared by operations


class Venv(NamedTuple):
    folder: str
    needs: str  # a list of `peers/`
    bare: tuple[str, ...]  # installed without what they ask for


SIDES = {
    "ours": Side("ours", "ours"),
    "ours-bf16": Side("ours, autocast to bfloat16", "ours", {"half": True}),
    "deepmind": Side("DeepMind, JAX", "deepmind", venv="jax"),
    "openfold3": Side("OpenFold-3, Evoformer", "openfold3", venv="block"),
    "ours-pairs": Side("ours, `msa=False`", "ours", {"msa": False}, pairs=True),
    "boltz": Side("Boltz, Pairformer", "boltz", venv="block", pairs=True),
    "esmfold": Side("ESMFold (transformers)", "esmfold", venv="block", pairs=True),
}
PEERS = [name for name, side in SIDES.items() if side.venv]
VENVS = {
    "jax": Venv(
        ".venv-jax", "jax.txt", ("alphafold-colabfold==2.3.27", "colabfold-kernels==0.9.0")
    ),
    "block": Venv(
        ".venv-block", "block.txt", ("boltz==2.2.1", "openfold3==0.5.0", "transformers==5.23.0")
    ),
}
SIZES = ((128, 128), (256, 128), (256, 512))  # residues, rows
TOLERANCE = 1e-4  # of the largest output, between float32 sides that are the same network
LONG = 4.0  # seconds: of what is slower, fewer calls are timed
Size = tuple[int, int]
Results = dict[tuple[Size, str], list[dict[str, Any]]]  # of each side the rounds


def told(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def size(word: str) -> Size:
    """`256x128`: residues and rows."""
    try:
        residues, rows = (int(each) for each in word.split("x"))
    except ValueError:
        residues = rows = 0
    if min(residues, rows) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is no size: give residues x rows, as 256x128")
    return residues, rows
