"""The files of one query: all of them or none."""

import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from alphafold2_pytorch.features import Prediction

ENDINGS = ("pdb", "cif", "png", "json")  # json last: where it lies, the others do
RANKING = "ranking.json"  # first in the folder of a query: where others of ours lie, it does
STRUCTURES = ("ranked_*.pdb", "unrelaxed_*.pdb", "relaxed_*.pdb")
SCORES, PAGE = "scores.json", "report.html"
RECORDS = (SCORES, "settings.json", "timings.json", "features.npz")
DECIMALS = {"pae": 1}  # of maps; the others have three


@dataclass(frozen=True, eq=False)
class Result:
    """What files tell of a prediction, in main memory; what the model computed besides is let go.

    `maps` are [n, n], by their names in the JSON file. `ptm` and `max_pae` (angstrom) are None
    where the model foresees no aligned errors.
    """

    name: str
    pdb: str
    cif: str
    mean_plddt: float
    plddt: "np.ndarray"  # [n], 0 to 100
    maps: "Mapping[str, np.ndarray]"
    ptm: float | None
    max_pae: float | None

    @classmethod
    def of(cls, prediction: "Prediction") -> "Result":
        """`ValueError` if the model predicts no coordinates."""
        has_pae = "pae" in prediction.outputs
        names = ("expected_distance", "contact_probability", *(("pae",) if has_pae else ()))
        return cls(
            name=prediction.name,
            pdb=prediction.to_pdb(),
            cif=prediction.to_mmcif(),
            mean_plddt=float(prediction.ranking),
            plddt=prediction.plddt[0].double().cpu().numpy(),
            maps={name: getattr(prediction, name)[0].cpu().numpy() for name in names},
            ptm=float(prediction.ptm) if has_pae else None,
            max_pae=prediction.max_pae if has_pae else None,
        )

    @property
    def scores(self) -> dict[str, float | None]:
        """By which models are compared, as they go into files."""
        ptm = None if self.ptm is None else round(self.ptm, 4)
        return {"mean_plddt": round(self.mean_plddt, 2), "ptm": ptm}


def prepare_folder(folder: Path) -> None:
    """Make a folder and try to write in it, before hours are spent on what would go there."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def write_results(
    folder: Path, name: str, writers: dict[str, Callable[[Path], Any]], keep: bool = False
) -> list[Path]:
    """Let each writer (by its path inside `folder`) fill a file, then put all in place, in order.

    They are written into a temporary folder inside `folder` first; older results of that name make
    way only when all new ones are complete, `keep`: only those that are written anew. What a run
    that was killed left there is swept away.
    `OSError` names the file that could not be written.
    """
    unfinished = folder / f".unfinished-{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        for file, write in writers.items():
            path = Path(unfinished, file)
            path.parent.mkdir(exist_ok=True)
            try:
                write(path)
            except OSError as error:
                told = error.strerror or str(error)
                raise OSError(error.errno, told, str(folder / file)) from None
        if not keep:
            remove_results(folder, name)
        for file in writers:
            (folder / file).parent.mkdir(exist_ok=True)
            os.replace(Path(unfinished, file), folder / file)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [folder / file for file in writers]


def remove_results(folder: Path, name: str) -> None:
    """Delete what there is of a query, its record first, so that no part passes for the whole.

    What is not known to be of `alphafold2 fold` stays in the query's folder.
    """
    for ending in reversed(ENDINGS):
        (folder / f"{name}.{ending}").unlink(missing_ok=True)
    own = folder / name
    if not (own / RANKING).exists():  # not ours
        return
    for path in own.glob("unrelaxed_*.pdb"):
        (own / f"{path.stem.removeprefix('unrelaxed_')}.cif").unlink(missing_ok=True)
    for path in ours(own):
        path.unlink()
    for file in ("msa.a3m", PAGE):
        (own / file).unlink(missing_ok=True)
    (own / RANKING).unlink()
    if not any(own.iterdir()):
        own.rmdir()


def ours(folder: Path) -> list[Path]:
    """The files of a query's folder whose names are those of `alphafold2 fold`."""
    return sorted(path for pattern in (*STRUCTURES, *RECORDS) for path in folder.glob(pattern))


def refuse_foreign(folder: Path) -> None:
    """`ValueError` if a query's folder has results of another program.

    Some of AlphaFold's own files have the same names.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; the query's results need a folder there")
    if not (folder / RANKING).exists() and (found := ours(folder)):
        raise ValueError(
            f"{folder} has results of another program ({found[0].name}): choose another folder "
            "with --out"
        )


def write_text(path: Path, text: str) -> None:
    """UTF-8, on the disk when this returns."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_record(path: Path, result: Result, record: dict[str, Any]) -> None:
    """JSON of `record` and the result's pLDDT, maps, and pTM if it has one.

    Expected distances and aligned errors are in angstrom, contact probabilities 0 to 1.
    """
    import numpy as np

    record = record | {"mean_plddt": round(result.mean_plddt, 2)}
    record["plddt"] = np.round(result.plddt, 2).tolist()
    if result.ptm is not None:
        record |= {"ptm": round(result.ptm, 4), "max_pae": result.max_pae}
    with path.open("w", encoding="utf-8") as file:
        for part in json_parts(record, result.maps):
            file.write(part)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def write_scores(path: Path, scores: dict[str, Any]) -> None:
    """scores.json: what is said of all `models`, whose pLDDT and maps are arrays."""
    import numpy as np

    head = {name: value for name, value in scores.items() if name != "models"}
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[: -len("}")] + ',\n"models": [')
        for at, model in enumerate(scores["models"]):
            maps = {k: v for k, v in model.items() if np.ndim(v) == 2}
            record = {k: v for k, v in model.items() if k not in maps}
            record["plddt"] = np.round(np.asarray(model["plddt"], float), 2).tolist()
            file.write(",\n" if at else "\n")
            for part in json_parts(record, maps):
                file.write(part)
        file.write("\n]}\n")
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A small record."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def json_parts(record: dict[str, Any], maps: "Mapping[str, np.ndarray]") -> Iterator[str]:
    """The text of a JSON object of `record` and of maps, rounded, each row in a line.

    In parts, because maps of a long chain take gigabytes as Python lists.
    """
    import numpy as np

    yield json.dumps(record, indent=1, allow_nan=False)[: -len("\n}")]
    for name, values in maps.items():
        for at, row in enumerate(values):
            rounded = np.round(row.astype(float), DECIMALS.get(name, 3))
            yield (f',\n "{name}": [\n  ' if at == 0 else ",\n  ") + json.dumps(rounded.tolist())
        yield "\n ]"
    yield "\n}"


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
