"""Relaxation as a stage of its own: it reads what folding wrote, and rewrites what tells of it."""

import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphafold2_pytorch.cli.layout import RELAX, TIMINGS
from alphafold2_pytorch.cli.results import (
    PAGE,
    RANKING,
    SCORES,
    write_json,
    write_results,
    write_scores,
    write_text,
)
from alphafold2_pytorch.cli.settings import SETTINGS, Told
from alphafold2_pytorch.cli.stages import Stages, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from alphafold2_pytorch.relax import Relaxed

CHOICES = ("none", "best", "all")
ENGINE = "openmm"


@dataclass(frozen=True)
class Ranked:
    """One model of a finished fold, by the files in the query's folder; `label` is for people."""

    file: str  # ranked_0.pdb is of the best
    model: str
    label: str

    @property
    def unrelaxed(self) -> str:
        return f"unrelaxed_{self.model}.pdb"

    @property
    def relaxed(self) -> str:
        return f"relaxed_{self.model}.pdb"

    @property
    def stage(self) -> str:
        return f"{RELAX} {self.model}"


class Relaxation:
    """Relaxes the best model of a query or all of them, now or long after it was folded.

    Each model is a stage, whose key is made of the unrelaxed structure and of what is asked: a
    model is relaxed once, whether as the best or as one of all. `none` asks for nothing and leaves
    results as they are. `ImportError` and `ValueError` for an engine or a device that is not there.
    """

    def __init__(self, out: Path, choice: str, device: str, say: "Callable[[str], None]"):
        self.out, self.choice, self.device, self.say = out, choice, device, say
        if choice not in CHOICES:
            raise ValueError(f"unknown --relax {choice!r}; choose from {', '.join(CHOICES)}")
        if choice != "none":
            from alphafold2_pytorch.relax import check_engine

            check_engine(ENGINE, device)

    def left(self, name: str) -> list[Ranked]:
        """The models of a folded query that are to be relaxed, best first; done ones are not."""
        own = self.out / name
        stages, order = Stages(own), [] if self.choice == "none" else read_order(own, name)
        asked = order[:1] if self.choice == "best" else order
        return [each for each in asked if not stages.done(each.stage, key(own / each.unrelaxed))]

    def before(self, name: str) -> str:
        """What was asked for the last time: one of `CHOICES`."""
        return read_choice(Told.read(self.out / name / SETTINGS))

    def run(self, name: str) -> None:
        """Relax what is left, a model at a time; what cannot be is told and stays as it is.

        Each model's files are on the disk before the next one begins.
        """
        from alphafold2_pytorch.relax import try_relax

        left = self.left(name)
        for each in left:
            start = time.monotonic()
            text = (self.out / name / each.unrelaxed).read_text("utf-8")
            found = try_relax(text, ENGINE, self.device)
            if isinstance(found, str):
                self.say(f"{each.label}: kept the unrelaxed result: {found}")
            else:
                self.tell(each, found)
            asked = self.choice if each is left[-1] else "best"
            relaxed = None if isinstance(found, str) else found
            self.write(name, each, relaxed, asked, time.monotonic() - start)

    def tell(self, each: Ranked, found: "Relaxed") -> None:
        """A line on what relaxation did."""
        before, after = (v["residues"] for v in (found.violations_before, found.violations_after))
        self.say(
            f"{each.label}: relaxed in {found.seconds:.1f} s, moved {found.rmsd:.2f} Å, residues "
            f"with violations {before} before and {after} after"
        )

    def write(
        self, name: str, each: Ranked, found: "Relaxed | None", asked: str, seconds: float
    ) -> None:
        """Put in place what changes, then note that the stage is done."""
        own = self.out / name
        writers: dict[str, Any] = {
            SETTINGS: partial(write_json, content=new_settings(own / SETTINGS, asked)),
            TIMINGS: partial(write_json, content=new_timings(own / TIMINGS, seconds)),
        }
        if found is not None:
            writers[each.relaxed] = writers[each.file] = partial(write_text, text=found.pdb)
            scores = new_scores(own / SCORES, each, found)
            writers[SCORES] = partial(write_scores, scores=scores)
        writers = {f"{name}/{file}": write for file, write in writers.items()}
        if found is not None and each.file == "ranked_0.pdb":
            writers[f"{name}.pdb"] = partial(write_text, text=found.pdb)
            writers[f"{name}.cif"] = partial(write_text, text=found.cif)
        (own / PAGE).unlink(missing_ok=True)  # it would show what was there before
        written = write_results(self.out, name, writers, keep=True)
        if found is not None:
            structures = [path for path in written if path.suffix in (".pdb", ".cif")]
            self.say(f"{each.label}: relaxed are now {', '.join(map(str, structures))}")
        stages = Stages(own)
        stages.rewritten(path for path in written if path.parent == own)
        files = [] if found is None else [own / each.relaxed]
        stages.finish(each.stage, key(own / each.unrelaxed), files)


def recipe() -> dict[str, Any]:
    """What is asked of the engine, without what is for speed alone."""
    from alphafold2_pytorch.relax import RelaxSettings

    asked = {k: v for k, v in asdict(RelaxSettings()).items() if k != "threads"}
    return {"engine": ENGINE, **asked}


def key(unrelaxed: Path) -> str:
    """Of the stage that relaxes a structure."""
    return fingerprint(recipe(), [unrelaxed])


def read_order(folder: Path, name: str) -> list[Ranked]:
    """The models of a query, best first; `ValueError` for a ranking that is damaged."""
    from alphafold2_pytorch.report.results import inside

    models = Told.read(folder / RANKING).parts("models")
    found = []
    for each in models:
        label = f"{name} with {each.value('weights', str)}" if len(models) > 1 else name
        file, model = (inside(each.value(part, str)) for part in ("file", "model"))
        found.append(Ranked(file, model, label))
    return found


def read_choice(settings: Told) -> str:
    """Which models settings.json says were relaxed."""
    found = settings.part("relax").value("models", str)
    if found not in CHOICES:
        raise settings.damaged("relax")
    return found


def new_settings(path: Path, asked: str) -> dict[str, Any]:
    """settings.json that tells what was relaxed; all of them stay all where the best is asked."""
    told = Told.read(path)
    models = max(asked, read_choice(told), key=CHOICES.index)
    command = ["alphafold2", *sys.argv[1:]]
    return told.values_by_name | {"relax": {"models": models, **recipe(), "command": command}}


def new_timings(path: Path, seconds: float) -> dict[str, float]:
    """timings.json with the time of relaxation, which counts in the total."""
    told = Told.read(path)
    total = told.value("total", int, float)
    before = told.value(RELAX, int, float) if RELAX in told.values_by_name else 0.0
    stages = {name: value for name, value in told.values_by_name.items() if name != "total"}
    return stages | {RELAX: round(before + seconds, 3), "total": round(total + seconds, 3)}


def new_scores(path: Path, each: Ranked, found: "Relaxed") -> dict[str, Any]:
    """scores.json with one model's relaxation; `ValueError` for scores that are damaged."""
    from alphafold2_pytorch.report.results import MOST_SCORES, compact, read_object

    scores = read_object(path, MOST_SCORES, compact)
    models = Told(path, scores).values("models", dict)
    [own] = [model for model in models if model.get("model") == each.model] or [None]
    if own is None:
        raise ValueError(f"{path} has no scores of {each.model}: --overwrite folds it again")
    own |= {"relaxed": each.relaxed, "relaxation": found.report()}
    return scores
