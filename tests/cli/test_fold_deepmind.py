"""`alphafold2 fold` with DeepMind's files: one, several that are ranked, and what can go wrong."""

import errno
import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_kit import names, refused, results_of
from typer.testing import CliRunner

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.cli import results
from alphafold2_pytorch.cli.main import build
from alphafold2_pytorch.data.parse.files import sha256
from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.presets import Sizes, alphafold2, block
from alphafold2_pytorch.weights.deepmind import write as arrays_of
from alphafold2_pytorch.weights.io import write_deepmind

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/golden/models"
ONE = GOLDEN / "tiny_model_1/params_model_1.npz"  # reads templates
THREE = GOLDEN / "tiny_model_3/params_model_3.npz"  # does not
TRUTH = ROOT / "examples/data/1a3a_C.pdb"
SEQUENCE = read_structure(TRUTH).sequence
TWO = ">first\nMKTAYIAKQR\n>second\nMKCAW\n"
A3M = ">q\nMKTAYIAKQR\n>a\nMKTAYLAKQR\n>b\nMK-AYIAkKQR\n"
MODELS = ("params_model_3", "params_model_1")  # of [THREE, ONE]


@pytest.fixture(scope="session")
def ptm(tmp_path_factory):
    """Two files of models with aligned errors."""
    narrow = {**block(4), "heads": 2, "dim_outer": 4, "dim_triangle": 8, "dim_head_pair": 4}
    wide = {"pair": 8, "msa": 8, "extra_msa": 8, "single": 8, "blocks": 1, "extra_blocks": 1}
    sizes = Sizes(**wide, evoformer=narrow, extra=narrow)
    paths = []
    for number in (4, 5):
        torch.manual_seed(number)
        model = Alphafold2(alphafold2(False, {4: 5120, 5: 1024}[number], True, sizes))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        paths.append(tmp_path_factory.mktemp("ptm") / f"params_model_{number}_ptm.npz")
        write_deepmind(paths[-1], arrays_of(model))
    return paths


def record(fold, name):
    return json.loads((fold.out / name).read_text())


def test_one_file_gives_what_the_embedded_weights_do(fold, write):
    query = write("q.a3m", A3M)
    words = ["--recycles", "1", "--seed", "3", "--ensemble", "2", "--max-rows", "2"]
    result = fold(query, *words, weights=ONE)
    assert result.exit_code == 0, result.output
    assert names(fold.out) == results_of("q", models=[ONE.stem], more=["msa.a3m"])
    assert "best model" not in result.output
    found = record(fold, "q.json")
    assert found["weights_sha256"] == sha256(ONE)
    wanted = {"recycles": 1, "seed": 3, "ensemble": 2, "max_rows": 2, "tolerance": None}
    wanted |= {"weights": "params_model_1.npz", "preset": "model_1", "templates": []}
    assert found["settings"].items() >= wanted.items()
    assert found["settings"]["clusters"]["max_extra_msa"] == 5120
    assert (found["msa_rows"], found["msa_rows_read"], found["extra_msa_rows_read"]) == (3, 2, 0)
    assert found["cycles"] == 2 and not {"ptm", "max_pae", "pae"} & set(found)
    python = Alphafold2.from_deepmind(ONE).fold(
        "MKTAYIAKQR", query, 1, seed=3, ensemble=2, max_rows=2, name="q"
    )
    assert (fold.out / "q.pdb").read_text() == python.to_pdb()


def test_all_rows_are_read_unless_told_otherwise(fold, write):
    rows = "".join(f">{i}\n{SEQUENCE[i : i + 10]}\n" for i in range(80))
    for weights in (ONE, None):
        fold(write("q.a3m", rows), "--overwrite", weights=weights or [])
        found = record(fold, "q.json")
        assert found["msa_rows_read"] == found["msa_rows"] == 80
        assert found["settings"]["max_rows"] == (None if weights else 256)
        assert ("clusters" in found["settings"]) == bool(weights)


def test_aligned_errors_and_ptm_are_written_where_the_model_has_them(fold, write, ptm):
    result = fold(write("q.fasta", ">q\nMKTAY\n"), weights=ptm[0])
    assert result.exit_code == 0, result.output
    found = record(fold, "q.json")
    prediction = Alphafold2.from_deepmind(ptm[0]).fold("MKTAY", recycles=0)
    assert found["ptm"] == pytest.approx(float(prediction.ptm), abs=1e-4)
    assert found["max_pae"] == 31.75
    np.testing.assert_allclose(found["pae"], prediction.pae[0], atol=0.0501)
    assert all(round(value, 1) == value for row in found["pae"] for value in row)
    assert "pTM" in result.output and f"{found['ptm']:.3f}" in result.output


def test_several_models_are_ranked_and_the_best_ones_files_are_the_querys(fold, write):
    query = write("q.fasta", TWO)
    result = fold(query, weights=[THREE, ONE])
    assert result.exit_code == 0, result.output
    assert names(fold.out) == results_of("first", "second", models=MODELS)
    alone = {}
    for path in (ONE, THREE):
        fold(query, weights=path, out=fold.out.parent / path.stem)
        of_first = fold.out.parent / path.stem / "first.json"
        alone[path.name] = json.loads(of_first.read_text())["mean_plddt"]
    ranking = record(fold, "first/ranking.json")
    scores = {each["weights"]: each["mean_plddt"] for each in ranking["models"]}
    assert scores == alone and ranking["ranked_by"] == "plddt" and ranking["failed"] == []
    order = sorted(alone, key=alone.__getitem__, reverse=True)
    assert [each["weights"] for each in ranking["models"]] == order
    line = f"first: ranked by mean pLDDT: {order[0]} {alone[order[0]]:.1f}, {order[1]} "
    assert line in result.output and "best model" in result.output
    for at, name in enumerate(order):
        text = (fold.out / "first" / f"ranked_{at}.pdb").read_text()
        assert text == (fold.out.parent / Path(name).stem / "first.pdb").read_text()
    assert record(fold, "first.json")["settings"]["weights"] == order[0]
    assert (fold.out / "first.pdb").read_text() == (fold.out / "first/ranked_0.pdb").read_text()
    assert result.output.count("params_model_1.npz") >= 2  # each query has its own lines


def test_ptm_ranks_where_that_is_wanted(fold, write, ptm):
    query = write("q.fasta", ">q\nMKTAYIAK\n")
    for by, score in (("plddt", "mean_plddt"), ("ptm", "ptm")):
        result = fold(query, "--rank-by", by, "--overwrite", weights=ptm)
        assert result.exit_code == 0, result.output
        ranking = record(fold, "q/ranking.json")
        first, second = (each[score] for each in ranking["models"])
        assert first > second and ranking["ranked_by"] == by
    assert "q: ranked by pTM: params_model_" in result.output


def test_only_one_model_at_a_time_is_in_memory(fold, write, monkeypatch):
    import gc
    import weakref

    alive, most = weakref.WeakSet(), []
    load = Alphafold2.from_pretrained.__func__

    def watched(cls, *arguments):
        gc.collect()
        most.append(len(alive))
        model = load(cls, *arguments)
        alive.add(model)
        return model

    monkeypatch.setattr(Alphafold2, "from_pretrained", classmethod(watched))
    assert fold(write("q.fasta", TWO), weights=[ONE, THREE]).exit_code == 0
    assert len(most) == 5 and max(most) == 0  # two checks, then the first stays for its query
    most.clear()
    assert fold(write("q.fasta", TWO), "--overwrite", weights=ONE).exit_code == 0
    assert len(most) == 1


def test_ranked_results_are_skipped_or_replaced_as_a_whole(fold, write, ptm):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query, weights=[ONE, THREE, *ptm])
    assert "q/ranked_3.pdb" in names(fold.out)
    (fold.out / "q/ranked_0.pdb").write_text("mine")
    again = fold(query, weights=[ONE, THREE, *ptm])
    assert again.exit_code == 0 and "skipped" in again.output
    assert refused(fold(query, weights=[ONE, THREE]), "q: ", "another weights: --overwrite")
    assert (fold.out / "q/ranked_0.pdb").read_text() == "mine"
    fold(query, "--overwrite", weights=[ONE, THREE])
    assert names(fold.out) == results_of("q", models=MODELS)
    (fold.out / "q/notes.txt").write_text("mine")
    fold(query, "--overwrite", weights=ONE)
    assert names(fold.out) == results_of("q", models=[ONE.stem], more=["notes.txt"])


def test_structures_that_another_program_ranked_are_not_touched(fold, write):
    query = write("q.fasta", TWO)
    (fold.out / "first").mkdir(parents=True)
    (fold.out / "first/ranked_0.pdb").write_text("AlphaFold's")
    result = fold(query, "--overwrite", weights=[ONE, THREE])
    assert result.exit_code == 1 and "another program" in result.stderr
    assert not (fold.out / "first.json").exists() and (fold.out / "second.json").exists()
    assert fold(query, "--overwrite", weights=ONE).exit_code == 1
    assert (fold.out / "first/ranked_0.pdb").read_text() == "AlphaFold's"
    (fold.out / "first/ranked_0.pdb").rename(fold.out / "first/timings.json")  # not yet ranked
    assert "another program (timings.json)" in fold(query, weights=ONE).stderr
    (fold.out / "third").write_text("a file")
    third = write("t.fasta", ">third\nMKT\n")
    assert refused(fold(third, weights=[ONE, THREE]), "third: ", "is a file")


def test_a_model_that_fails_is_told_and_the_others_count(fold, write, monkeypatch):
    whole = Alphafold2.fold

    def failing(self, *arguments, **keywords):
        if keywords["name"] == "first" and self.config.template_attn_depth:
            raise FloatingPointError("the output of head 'plddt' is not finite")
        return whole(self, *arguments, **keywords)

    monkeypatch.setattr(Alphafold2, "fold", failing)
    result = fold(write("q.fasta", TWO), weights=[ONE, THREE])
    assert result.exit_code == 1
    assert "error: first with params_model_1.npz: the output of head" in result.stderr
    assert "1 failed: first with params_model_1.npz" in result.stderr
    ranking = record(fold, "first/ranking.json")
    assert ranking["failed"] == ["params_model_1.npz"] and len(ranking["models"]) == 1
    assert len(record(fold, "second/ranking.json")["models"]) == 2


def test_a_query_that_every_model_fails_leaves_nothing(fold, write, monkeypatch):
    monkeypatch.setattr("alphafold2_pytorch.cli.prediction.free_memory", lambda device: 1000)
    result = fold(write("q.fasta", ">q\nMKTAY\n"), weights=[ONE, THREE])
    assert result.exit_code == 1 and names(fold.out) == []
    assert result.stderr.count("0.0 GB are free") == 2


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("write_text", ["layout.write_text", "layout.write_record"])
def test_a_full_disk_leaves_older_ranked_results_as_they_were(fold, write, monkeypatch, write_text):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query, weights=[ONE, THREE])
    before = {name: (fold.out / name).read_bytes() for name in names(fold.out)}
    monkeypatch.setattr(f"alphafold2_pytorch.cli.{write_text}", full)
    result = fold(query, "--overwrite", "--seed", "1", weights=[ONE, THREE])
    assert refused(result, "q: No space left on device", str(fold.out / "q"))
    assert {name: (fold.out / name).read_bytes() for name in names(fold.out)} == before


def test_a_kill_between_two_files_leaves_no_part_that_passes_for_the_whole(tmp_path, monkeypatch):
    files = ["q/ranking.json", "q/ranked_0.pdb", "q/scores.json", "q.pdb", "q.cif", "q.json"]
    writers = {file: lambda path: path.write_text("whole") for file in files}
    replace = os.replace
    for moved in range(len(files)):
        results.write_results(tmp_path, "q", writers)
        assert names(tmp_path) == sorted(files)
        left = [None] * moved

        def killed(source, target, left=left):
            if not left:
                raise KeyboardInterrupt
            left.pop()
            replace(source, target)

        monkeypatch.setattr(results.os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            results.write_results(tmp_path, "q", writers)
        monkeypatch.undo()
        assert names(tmp_path) == sorted(files[:moved])  # the record is the last


def test_a_kill_while_old_files_are_removed_starts_with_the_record(fold, write, monkeypatch):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query, weights=[ONE, THREE])
    whole, unlink = names(fold.out), Path.unlink

    def killed(path, *arguments, **keywords):
        if path.name == "ranked_1.pdb":
            raise KeyboardInterrupt
        unlink(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "unlink", killed)
    fold(query, "--overwrite", weights=[ONE, THREE])
    monkeypatch.undo()
    assert {"q/ranked_1.pdb", "q/ranking.json"} <= set(names(fold.out)) < set(whole) - {"q.json"}
    again = fold(query, weights=[ONE, THREE])
    assert again.exit_code == 0 and "skipped" not in again.output and names(fold.out) == whole


def test_an_early_stop_is_told_and_ends_the_bar(fold, write, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal
    query = write("q.fasta", ">q\nMKTAYIAKQR\n")
    result = fold(query, "--recycles", "5", "--tolerance", "1000", weights=THREE)
    assert result.exit_code == 0, result.output
    assert "2 of 6 cycles" in result.stdout
    assert result.stderr.rstrip().endswith("\x1b[2K")  # the bar's line is wiped
    assert result.stderr.count("\x1b[?25h") == 1  # and the cursor is back
    found = record(fold, "q.json")
    assert found["cycles"] == 2 and found["settings"]["recycles"] == 5
    assert found["settings"]["tolerance"] == 1000
    whole = fold(query, "--recycles", "1", "--overwrite", weights=THREE)
    assert whole.exit_code == 0 and " of 2 cycles" not in whole.stdout


def test_a_template_changes_the_result_of_models_that_read_it(fold, write):
    query = write("q.fasta", f">q\n{SEQUENCE[:40]}\n")
    fold(query, weights=ONE)
    without = (fold.out / "q.pdb").read_text()
    for template in (TRUTH, f"{TRUTH}:A"):
        result = fold(query, "--overwrite", "--template", template, weights=ONE)
        assert result.exit_code == 0, result.output
        assert (fold.out / "q.pdb").read_text() != without
        assert record(fold, "q.json")["settings"]["templates"] == [str(template)]
    mixed = fold(query, "--overwrite", "--template", TRUTH, weights=[ONE, THREE])
    assert mixed.exit_code == 0 and mixed.output.count("read no templates") == 1
    assert "params_model_3.npz: took" in mixed.output


def test_a_template_of_another_protein_fails_its_query_alone(fold, write):
    queries = write("q.fasta", f">good\n{SEQUENCE[:40]}\n>bad\nMKCAWMKCAWWW\n")
    result = fold(queries, "--template", TRUTH, weights=ONE)
    assert result.exit_code == 1 and "error: bad: " in result.stderr
    assert "good.json" in names(fold.out) and "bad.json" not in names(fold.out)


@pytest.mark.parametrize(
    ("words", "weights", "said"),
    [
        (["--template", TRUTH], [THREE], "--template: params_model_3.npz cannot read templates"),
        (["--template", "none.pdb"], [ONE], "no such file: none.pdb"),
        (["--template", f"{TRUTH}:Z"], [ONE], "no protein chain 'Z'"),
        (
            ["--template", TRUTH] * 5,
            [ONE],
            "5 times --template: params_model_1.npz reads at most 4",
        ),
        (["--rank-by", "ptm"], [ONE, THREE], "--rank-by ptm: params_model_1.npz predicts no"),
        (["--rank-by", "plddt"], [ONE], "there is one model"),
        (["--rank-by", "size"], [ONE, THREE], "choose from plddt, ptm"),
        (["--ensemble", "2"], [], "--ensemble 2: embedded reads the same in each cycle"),
        ([], [ONE, ONE], "params_model_1.npz is given twice"),
        ([], [ONE, "none.npz"], "no file of parameters 'none.npz'"),
    ],
)
def test_what_a_model_cannot_follow_is_refused_in_one_line(fold, write, words, weights, said):
    result = fold(write("q.fasta", TWO), *words, weights=weights)
    assert refused(result, said) and names(fold.out) == []


def change_arrays(change, path):
    """Write DeepMind's file of `ONE` anew with other arrays."""
    with np.load(ONE, allow_pickle=False) as file:
        arrays = dict(file)
    np.savez(path, **change(arrays))


def without(part, arrays):
    return {name: array for name, array in arrays.items() if part not in name}


def with_nan(arrays):
    name = next(iter(arrays))
    return arrays | {name: np.full_like(arrays[name], np.nan)}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (partial(change_arrays, partial(without, "//query_w")), "is missing"),
        (partial(change_arrays, partial(without, "left_single//weights")), "left_single//weights"),
        (partial(change_arrays, partial(without, "template_")), "model_1 is with templates"),
        (partial(change_arrays, with_nan), "not finite"),
        (
            partial(
                change_arrays,
                lambda arrays: {"alphafold/alphafold_iteration/evoformer/~_relative": np.ones(2)},
            ),
            "AlphaFold-Multimer",
        ),
        (
            lambda path: np.savez(path, a=np.array([{"a": 1}], object), allow_pickle=True),
            "is not a whole npz file",
        ),
        (lambda path: path.write_bytes(ONE.read_bytes()[:1000]), "is not a whole npz file"),
        (lambda path: path.write_bytes(b""), "is not a whole npz file"),
        (lambda path: path.mkdir(), "no file of parameters"),
    ],
)
def test_a_bad_npz_is_refused_in_one_line_before_anything_is_folded(
    fold, write, tmp_path, spoil, said
):
    path = tmp_path / "params_model_1.npz"
    spoil(path)
    result = fold(write("q.fasta", TWO), weights=[THREE, path])
    assert refused(result, said, "params_model_1") and names(fold.out) == []


def test_a_converted_file_is_as_good(fold, write, tmp_path):
    ours = tmp_path / "model_1.safetensors"
    assert CliRunner().invoke(build(), ["convert", str(ONE), str(ours)]).exit_code == 0
    texts = []
    for weights in (ONE, ours):
        fold(write("q.fasta", ">q\nMKTAY\n"), "--overwrite", weights=weights)
        texts.append((fold.out / "q.pdb").read_text())
    assert texts[0] == texts[1] and record(fold, "q.json")["settings"]["preset"] == "model_1"


def test_a_truth_is_compared_with_every_model(fold, write):
    result = fold(
        write("q.fasta", f">q\n{SEQUENCE[:40]}\n"), "--truth", TRUTH, weights=[ONE, THREE]
    )
    assert result.exit_code == 0, result.output
    ranking = record(fold, "q/ranking.json")
    best, other = (each["truth"]["tm_score"] for each in ranking["models"])
    assert record(fold, "q.json")["truth"]["tm_score"] == best != other
    assert "q.png" in names(fold.out)
