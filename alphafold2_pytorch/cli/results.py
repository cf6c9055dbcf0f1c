"""The files of one prediction: all of them or none."""

import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alphafold2_pytorch.features import Prediction

ENDINGS = ("pdb", "cif", "png", "json")  # json last: where it lies, the others do


def prepare_folder(folder: Path) -> None:
    """Make a folder and try to write in it, before hours are spent on what would go there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_results(folder: Path, name: str, writers: dict[str, Callable[[Path], Any]]) -> list[Path]:
    """Let each writer (by ending, one of `ENDINGS`) fill a file, then put all in place.

    They are written into a temporary folder inside `folder` first; older results of that name make
    way only when all new ones are complete. `OSError` names the file that could not be written.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as unfinished:
        for ending, write in writers.items():
            target = folder / f"{name}.{ending}"
            try:
                write(Path(unfinished, target.name))
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), str(target)) from None
        for ending in reversed(ENDINGS):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
        paths = [folder / f"{name}.{ending}" for ending in ENDINGS if ending in writers]
        for path in paths:
            os.replace(Path(unfinished, path.name), path)
    return paths


def write_text(path: Path, text: str) -> None:
    """UTF-8, on the disk when this returns."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_record(
    path: Path, prediction: "Prediction", record: dict[str, Any], decimals: int = 3
) -> None:
    """JSON of `record` and the prediction's pLDDT, expected distances and contact probabilities.

    The last two, [n][n] in angstrom and 0 to 1, are written row by row: as Python lists the maps of
    a long chain take gigabytes.
    """
    import numpy as np

    plddt = prediction.plddt[0].double().cpu().numpy()
    record = record | {
        "mean_plddt": round(float(plddt.mean()), 2),
        "plddt": np.round(plddt, 2).tolist(),
    }
    maps = {
        "expected_distance": prediction.expected_distance[0].cpu().numpy(),
        "contact_probability": prediction.contact_probability[0].cpu().numpy(),
    }
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(record, indent=1, allow_nan=False)[: -len("\n}")])
        for name, values in maps.items():
            for at, row in enumerate(values):
                file.write(f',\n "{name}": [\n  ' if at == 0 else ",\n  ")
                file.write(json.dumps(np.round(row.astype(float), decimals).tolist()))
            file.write("\n ]")
        file.write("\n}\n")
        file.flush()
        os.fsync(file.fileno())


def versions() -> dict[str, str]:
    """What made a result."""
    import torch

    return {
        "alphafold2-pytorch": package_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def package_version() -> str:
    """The installed version of this package; `unknown` for a checkout that is only on the path."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("alphafold2-pytorch")
    except PackageNotFoundError:
        return "unknown"
