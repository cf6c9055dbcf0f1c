"""Which files a query's results are, and what is in them; docs/folding.md lists them."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alphafold2_pytorch.cli.clock import Clock
from alphafold2_pytorch.cli.compare import Comparison
from alphafold2_pytorch.cli.modelcif import write_modelcif
from alphafold2_pytorch.cli.picture import draw_comparison
from alphafold2_pytorch.cli.queries import Job
from alphafold2_pytorch.cli.ranking import Folded, ranking
from alphafold2_pytorch.cli.results import (
    RANKING,
    SCORES,
    Result,
    write_json,
    write_record,
    write_scores,
    write_text,
)
from alphafold2_pytorch.cli.settings import MSA, SETTINGS, TEMPLATES, Told, hash_of
from alphafold2_pytorch.cli.stages import RECORD, Stages, fingerprint

Writers = dict[str, Callable[[Path], Any]]
FOLD, RELAX = "fold", "relax"  # stages; the second is one for each model
TIMINGS, FEATURES = "timings.json", "features.npz"


@dataclass(frozen=True, eq=False)
class Outcome:
    """All that is known of a query when every model has been asked: `order` is best first."""

    job: Job
    order: list[Folded]
    by: str
    failed: list[str]  # the weights that found nothing
    settings: dict[str, Any]  # the content of settings.json, see `repeat.describe`
    record: dict[str, Any]  # of NAME.json, beside the result itself
    clock: Clock

    @property
    def best(self) -> Folded:
        """What ranks first."""
        return self.order[0]


def result_files(outcome: Outcome, folder: Path, picture: bool, modelcif: bool) -> Writers:
    """Writers by path, as `write_results` takes them; `folder` has the results of all queries.

    The first makes the others known as this program's, NAME.json is the last.
    """
    job, best = outcome.job, outcome.best
    files = {f"{job.name}/{file}": write for file, write in folder_files(outcome, modelcif).items()}
    files[f"{job.name}/{RECORD}"] = partial(
        write_stage, outcome=outcome, before=folder / job.name / RECORD
    )
    files[f"{job.name}.pdb"] = partial(write_text, text=best.result.pdb)
    files[f"{job.name}.cif"] = partial(write_text, text=best.result.cif)
    if picture and best.comparison is not None:
        files[f"{job.name}.png"] = partial(draw, result=best.result, comparison=best.comparison)
    files[f"{job.name}.json"] = partial(write_record, result=best.result, record=outcome.record)
    return files


def folder_files(outcome: Outcome, modelcif: bool) -> Writers:
    """Those inside the query's own folder."""
    job, order, settings = outcome.job, outcome.order, dict(outcome.settings)
    content = ranking(job.name, order, outcome.by, outcome.failed)
    files: Writers = {RANKING: partial(write_json, content=content)}
    for at, each in enumerate(order):
        files[f"ranked_{at}.pdb"] = partial(write_text, text=each.result.pdb)
    for each in order:
        files[f"unrelaxed_{each.weights.model}.pdb"] = partial(write_text, text=each.result.pdb)
    for each in order if modelcif else []:
        files[f"{each.weights.model}.cif"] = partial(
            write_modelcif, result=each.result, weights=each.weights, letters=job.letters
        )
    files[SCORES] = partial(write_scores, scores=scores(outcome))
    if job.alignment is not None:
        text = job.a3m()
        settings["msa_sha256"] = hashlib.sha256(text.encode()).hexdigest()
        files[MSA] = partial(write_text, text=text)
    if job.templates is not None:
        settings["templates_sha256"] = hash_of(job.templates)
        files[TEMPLATES] = partial(shutil.copyfile, job.templates)
    if outcome.best.features is not None:
        files[FEATURES] = partial(write_features, features=outcome.best.features)
    files[SETTINGS] = partial(write_json, content=settings)
    files[TIMINGS] = lambda path: write_text(path, outcome.clock.text())
    return files


def scores(outcome: Outcome) -> dict[str, Any]:
    """What each model says of its structure, best first; docs/folding.md names the fields.

    Relaxation, the next stage, fills in its own.
    """
    letters = outcome.job.letters
    models = []
    for at, each in enumerate(outcome.order):
        result, name = each.result, each.weights.model
        record = {
            "model": name,
            "file": f"ranked_{at}.pdb",
            "unrelaxed": f"unrelaxed_{name}.pdb",
            "relaxed": None,
            **result.scores,
            "plddt": result.plddt,
            "max_pae": result.max_pae,
            "relaxation": None,
        }
        missing = {} if "pae" in result.maps else {"pae": None}
        models.append(record | missing | dict(result.maps))
    return {
        "name": outcome.job.name,
        "sequence": letters,
        "residue_index": list(range(1, len(letters) + 1)),
        "ranked_by": outcome.by,
        "models": models,
    }


def write_features(path: Path, features: dict[str, Any]) -> None:
    """Arrays by the names of the fields of `Features`, without a batch axis."""
    import numpy as np

    with path.open("wb") as file:
        np.savez_compressed(file, **features)
        file.flush()
        os.fsync(file.fileno())


def write_stage(path: Path, outcome: Outcome, before: Path) -> None:
    """The record of stages, of which folding is now done if no model failed.

    Of files that lie beside `path`; the earlier stages are those that were done `before`.
    """
    if before.is_file():
        shutil.copyfile(before, path)
    Stages(path.parent).forget(RELAX)
    stages, key = Stages(path.parent), fingerprint(outcome.settings["ingredients"])
    files = [each for each in path.parent.iterdir() if each != path]
    stages.finish(FOLD, "incomplete" if outcome.failed else key, sorted(files))


def draw(path: Path, result: Result, comparison: Comparison) -> None:
    """The picture of a prediction beside its truth."""
    title = (
        f"{result.name}: lDDT-Cα {comparison.lddt_ca:.2f}, TM-score {comparison.tm_score:.2f}, "
        f"RMSD-Cα {comparison.rmsd_ca:.1f} Å"
    )
    draw_comparison(
        path,
        title,
        result.maps["expected_distance"],
        comparison.distance,
        result.plddt,
        comparison.lddt_per_residue,
    )


def finished(folder: Path, job: Job, made_of: dict[str, Any], save_features: bool) -> bool:
    """Whether a query's results are there, whole, and made of the same `ingredients`.

    `ValueError` for results that were made of other ones, or that do not tell. A file that is
    missing makes results incomplete; one that somebody changed is left to him.
    """
    record, own = folder / f"{job.name}.json", folder / job.name
    if not record.exists():
        return False
    try:
        before = Told.read(own / SETTINGS).part("ingredients").values_by_name
    except (OSError, ValueError):
        raise ValueError(
            f"{record} exists and does not tell how it was made (there is no whole {own.name}/"
            f"{SETTINGS}): --overwrite replaces it"
        ) from None
    if other := [name for name in made_of if before.get(name) != made_of[name]]:
        raise ValueError(
            f"{record} exists and was made with another {', '.join(other)}: --overwrite replaces "
            "it, another --out keeps both"
        )
    stage = Stages(own).read().get(FOLD)
    if not isinstance(stage, dict) or stage.get("key") != fingerprint(made_of):
        return False
    needed = [own / name for name in stage.get("files", ())]
    needed += [own / FEATURES] if save_features else []
    needed += [folder / f"{job.name}.{ending}" for ending in ("pdb", "cif")]
    return all(path.is_file() for path in needed)
