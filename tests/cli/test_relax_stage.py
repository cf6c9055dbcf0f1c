"""Relaxation of what was folded before: a stage of its own, that folds nothing again."""

import json

import pytest
from cli_kit import names

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.cli.stages import Stages
from alphafold2_pytorch.relax import Relaxed
from alphafold2_pytorch.weights.io import load_weights, save_weights

pytest.importorskip("openmm")
LETTERS = "MKTA"
TOLD_APART = ("settings.json", "timings.json", "stages.json")  # when and how often it was called


@pytest.fixture(scope="module")
def pair(tiny_weights, tmp_path_factory):
    """Two files of weights whose results differ: one and the same model, somewhat changed."""
    state, config, _ = load_weights(tiny_weights)
    path = tmp_path_factory.mktemp("more") / "other.safetensors"
    save_weights(
        path, {k: v * 1.1 if v.is_floating_point() else v for k, v in state.items()}, config
    )
    return [tiny_weights, path]


@pytest.fixture
def calls(monkeypatch):
    """The structures that were relaxed, by a stand-in that takes no minutes: real results of an
    engine are compared in `test_the_best_model_is_relaxed_and_shown`."""
    seen = []

    def moved(pdb, engine="openmm", device="auto", settings=None):
        seen.append(pdb)
        counts = {"residues": 0, "link": 0, "clash": 0, "within": 0}
        text = "REMARK   relaxed\n" + pdb
        return Relaxed(
            pdb=text,
            cif=f"data_relaxed\n#{len(pdb)}\n",
            engine=engine,
            platform="none",
            energy_before=1.5,
            energy_after=0.25,
            rmsd=0.125,
            violations_before=counts | {"residues": 2},
            violations_after=counts,
            rounds=1,
            seconds=0.5,
        )

    monkeypatch.setattr("alphafold2_pytorch.relax.engines.relax", moved)
    return seen


@pytest.fixture
def folds(monkeypatch):
    """How often a model folded."""
    whole, seen = Alphafold2.fold, []

    def fold(self, letters, *arguments, **keywords):
        seen.append(letters)
        return whole(self, letters, *arguments, **keywords)

    monkeypatch.setattr(Alphafold2, "fold", fold)
    return seen


def contents(folder):
    """Of all files that do not tell of time."""
    return {
        name: (folder / name).read_bytes()
        for name in names(folder)
        if not name.endswith(TOLD_APART)
    }


def read(folder, name):
    return json.loads((folder / name).read_text())


@pytest.mark.parametrize("choice", ["best", "all"])
def test_relaxing_later_leaves_the_files_of_relaxing_at_once(
    fold, write, pair, calls, folds, tmp_path, choice
):
    query = write("q.a3m", f">q\n{LETTERS}\n>a\nMKTG\n")
    assert fold(query, "--relax", choice, out=tmp_path / "once", weights=pair).exit_code == 0
    assert fold(query, weights=pair).exit_code == 0
    before, done = contents(fold.out), len(folds)
    result = fold(query, "--relax", choice, weights=pair)
    assert result.exit_code == 0, result.output
    assert "q: folded already" in result.output and "relaxed are now" in result.output
    assert len(folds) == done
    after, once = contents(fold.out), contents(tmp_path / "once")
    assert after == once and after != before
    settings = [read(each, "q/settings.json") for each in (fold.out, tmp_path / "once")]
    assert settings[0]["ingredients"] == settings[1]["ingredients"]
    assert settings[0]["relax"]["models"] == settings[1]["relax"]["models"] == choice
    seconds = read(fold.out, "q/timings.json")
    assert set(seconds) == set(read(tmp_path / "once", "q/timings.json")) >= {"relax", "total"}
    assert seconds["total"] >= seconds["relax"] > 0


def test_what_is_relaxed_is_not_relaxed_again(fold, write, pair, calls, folds):
    query = write("q.fasta", f">q\n{LETTERS}\n>r\n{LETTERS}G\n")
    for choice, relaxed in [("none", 0), ("best", 2), ("best", 2), ("all", 4), ("all", 4)]:
        result = fold(query, "--relax", choice, weights=pair)
        assert result.exit_code == 0, result.output
        assert len(calls) == relaxed and len(folds) == 4, choice
    assert len(set(calls)) == 4  # the second time the others alone
    assert result.output.count("skipped") == 2
    for name in "qr":
        for at, each in enumerate(read(fold.out / name, "scores.json")["models"]):
            assert each["relaxed"] == f"relaxed_{each['model']}.pdb"
            assert each["relaxation"]["rmsd"] == 0.125
            own = fold.out / name
            found = (own / each["relaxed"]).read_bytes()
            assert found == (own / f"ranked_{at}.pdb").read_bytes()
            assert found != (own / each["unrelaxed"]).read_bytes()


@pytest.mark.parametrize(("first", "then"), [("best", "none"), ("all", "none"), ("all", "best")])
def test_who_asks_for_less_keeps_what_there_is_and_is_told(fold, write, pair, calls, first, then):
    query = write("q.fasta", f">q\n{LETTERS}\n")
    assert fold(query, "--relax", first, weights=pair).exit_code == 0
    before, done = contents(fold.out), len(calls)
    result = fold(query, "--relax", then, weights=pair)
    assert result.exit_code == 0 and "q: skipped" in result.output
    assert (f"with --relax {first}" in result.output) == (then == "none")
    assert contents(fold.out) == before and len(calls) == done
    assert read(fold.out, "q/settings.json")["relax"]["models"] == first
    assert fold(query, "--relax", "none", "--overwrite", weights=pair).exit_code == 0
    assert not [name for name in names(fold.out) if "/relaxed_" in name]
    assert read(fold.out, "q/settings.json")["relax"] == {"models": "none"}
    assert fold(query, "--relax", "best", weights=pair).exit_code == 0
    assert len(calls) == done + 1


def test_a_kill_between_stages_loses_none(fold, write, pair, calls, folds, monkeypatch):
    query, whole = write("q.fasta", f">q\n{LETTERS}\n"), Stages.finish

    def killed(self, stage, key, files):
        if stage.startswith("relax ") and len(calls) == 2:
            raise KeyboardInterrupt
        whole(self, stage, key, files)

    monkeypatch.setattr(Stages, "finish", killed)
    assert fold(query, "--relax", "all", weights=pair).exit_code != 0
    assert len(calls) == 2 and (fold.out / "q.json").exists()
    monkeypatch.setattr(Stages, "finish", whole)
    result = fold(query, "--relax", "all", weights=pair)
    assert result.exit_code == 0 and "q: folded already" in result.output
    assert len(folds) == 2 and len(calls) == 3 and calls[2] == calls[1]
    assert read(fold.out, "q/settings.json")["relax"]["models"] == "all"
    assert "skipped" in fold(query, "--relax", "all", weights=pair).output


def test_another_unrelaxed_structure_or_a_lost_relaxed_one_is_relaxed_again(fold, write, calls):
    query = write("q.fasta", f">q\n{LETTERS}\n")
    assert fold(query, "--relax", "best").exit_code == 0
    (fold.out / "q/relaxed_tiny.pdb").unlink()
    assert fold(query, "--relax", "best").exit_code == 0 and len(calls) == 2
    unrelaxed = fold.out / "q/unrelaxed_tiny.pdb"
    unrelaxed.write_text("REMARK   changed\n" + unrelaxed.read_text())
    assert fold(query, "--relax", "best").exit_code == 0 and len(calls) == 3
    assert "changed" in (fold.out / "q.pdb").read_text()
    assert "skipped" in fold(query, "--relax", "best").output


def test_what_cannot_be_relaxed_is_tried_once(fold, write):
    query = write("q.fasta", ">q\nM\n")
    assert fold(query).exit_code == 0
    before = contents(fold.out)
    result = fold(query, "--relax", "all")
    assert result.exit_code == 0 and "kept the unrelaxed result" in result.output
    assert contents(fold.out) == before
    assert "skipped" in fold(query, "--relax", "all").output


def test_a_page_that_is_lacking_is_made_without_folding(fold, write, folds, calls):
    pytest.importorskip("jinja2")
    query = write("q.fasta", f">q\n{LETTERS}\n")
    assert fold(query, "--relax", "best").exit_code == 0
    result = fold(query, "--relax", "best", "--report")
    assert result.exit_code == 0, result.output
    assert (fold.out / "q/report.html").exists() and len(folds) == len(calls) == 1
    assert "skipped" in fold(query, "--relax", "best", "--report").output


def test_a_damaged_ranking_is_told_in_one_line(fold, write, calls):
    from cli_kit import refused

    query = write("q.fasta", f">q\n{LETTERS}\n")
    assert fold(query).exit_code == 0
    ranking = fold.out / "q/ranking.json"
    record = json.loads(ranking.read_text())
    record["models"][0]["model"] = "../../q"
    ranking.write_text(json.dumps(record))
    assert refused(fold(query, "--relax", "best"), "no file of this folder") and not calls


@pytest.mark.slow
def test_relaxing_later_moves_atoms_as_relaxing_at_once(fold, write, tmp_path):
    letters = "MKTAYIAKQRQISFVKSHFSRQ"
    query = write("q.fasta", f">q\n{letters}\n")
    words = {"weights": [], "out": tmp_path / "once"}
    assert fold(query, "--relax", "best", **words).exit_code == 0
    assert fold(query, weights=[]).exit_code == 0
    assert fold(query, "--relax", "best", weights=[]).exit_code == 0
    for file in ("q.pdb", "q.cif", "q.json", "q/ranked_0.pdb", "q/relaxed_embedded.pdb"):
        assert (fold.out / file).read_bytes() == (tmp_path / "once" / file).read_bytes(), file
