"""`alphafold2 fold`, as a person calls it."""

import errno
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_kit import names, refused, results_of

from alphafold2_pytorch.cli import results
from alphafold2_pytorch.data.parse.structure import read_structure

EXAMPLES = Path(__file__).parents[2] / "examples/data"
TRUTH = EXAMPLES / "1a3a_C.pdb"
SEQUENCE = read_structure(TRUTH).sequence
TWO = ">first one\nMKTAYIAKQR\n>second\nmkxu\n"


@pytest.fixture
def example(write):
    """The first rows of the example's alignment."""
    rows = (EXAMPLES / "1a3a_C.a3m").read_text().splitlines(keepends=True)[:8]
    return write("1a3a_C.a3m", "".join(rows))


def test_each_record_gets_its_three_files_and_they_agree(fold, write):
    result = fold(write("q.fasta", TWO), "--recycles", "1", "--seed", "7")
    assert result.exit_code == 0, result.output
    assert names(fold.out) == results_of("first", "second")
    record = json.loads((fold.out / "first.json").read_text())
    pdb, cif = (read_structure(fold.out / f"first.{ending}") for ending in ("pdb", "cif"))
    assert pdb.sequence == cif.sequence == record["sequence"] == "MKTAYIAKQR"
    np.testing.assert_allclose(pdb.positions, cif.positions, atol=2e-3)
    assert np.shape(record["expected_distance"]) == np.shape(record["contact_probability"])
    assert np.shape(record["expected_distance"]) == (10, 10) and len(record["plddt"]) == 10
    assert record["mean_plddt"] == pytest.approx(np.mean(record["plddt"]), abs=0.01)
    line = (fold.out / "first.pdb").read_text().splitlines()[1]
    assert float(line[60:66]) == pytest.approx(record["plddt"][0], abs=0.006)
    wanted = {"recycles": 1, "seed": 7, "device": "cpu", "weights": "tiny.safetensors"}
    assert record["settings"].items() >= wanted.items()
    assert set(record["versions"]) == {"alphafold2-pytorch", "torch", "python"}
    assert len(record["weights_sha256"]) == 64 and record["truth"] is None
    assert json.loads((fold.out / "second.json").read_text())["sequence"] == "MKXC"
    assert "mean pLDDT" in result.output and str(fold.out / "second.cif") in result.output


def test_the_same_call_gives_the_same_files(fold, write, tmp_path):
    query = write("q.fasta", TWO)
    for folder in ("one", "two"):
        assert fold(query, out=tmp_path / folder).exit_code == 0
    for name in names(tmp_path / "one"):
        if Path(name).name in ("settings.json", "timings.json", "stages.json"):
            continue  # they tell of the call
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_alignment_is_read_and_changes_the_result(fold, write):
    rows = f">q\n{SEQUENCE[:30]}\n" + "".join(f">{i}\n{SEQUENCE[i : i + 30]}\n" for i in range(9))
    assert fold(write("a.a3m", rows)).exit_code == 0
    sto = f"# STOCKHOLM 1.0\nq  {SEQUENCE[:30]}\nb  {SEQUENCE[1:31]}\n//\n"
    assert fold(write("s.sto", sto), write("f.fasta", f">f\n{SEQUENCE[:30]}\n")).exit_code == 0
    records = [json.loads((fold.out / f"{name}.json").read_text()) for name in "asf"]
    assert [each["msa_rows"] for each in records] == [10, 2, 1]
    assert len({each["sequence"] for each in records}) == 1
    assert len({str(each["expected_distance"]) for each in records}) == 3


def test_scores_and_a_picture_come_with_the_truth(fold, example):
    result = fold(example, "--truth", TRUTH)
    assert result.exit_code == 0, result.output
    truth = json.loads((fold.out / "1a3a_C.json").read_text())["truth"]
    assert truth["residues"] == 146 and truth["chain"] == "A"
    assert 0 <= truth["lddt_ca"] <= 1 and 0 < truth["tm_score"] <= 1 and truth["rmsd_ca"] > 0
    for heading in ("lDDT-Cα", "TM-score", "RMSD-Cα", f"{truth['tm_score']:.3f}"):
        assert heading in result.output
    assert (fold.out / "1a3a_C.png").read_bytes().startswith(b"\x89PNG")
    assert names(fold.out) == sorted([*results_of("1a3a_C", more=["msa.a3m"]), "1a3a_C.png"])


def test_a_prediction_equals_itself_whatever_part_of_it_is_the_truth(fold, write, tmp_path):
    assert fold(write("q.fasta", f">q\n{SEQUENCE[:40]}\n")).exit_code == 0
    lines = (fold.out / "q.pdb").read_text().splitlines(keepends=True)
    part = write(
        "part.pdb", "".join(x for x in lines if x[22:26].strip().isdigit() and 5 < int(x[22:26]))
    )
    result = fold(tmp_path / "q.fasta", "--truth", part, "--overwrite")
    assert result.exit_code == 0, result.output
    truth = json.loads((fold.out / "q.json").read_text())["truth"]
    assert truth["residues"] == 35
    assert truth["lddt_ca"] == 1 and truth["tm_score"] == 1 and truth["rmsd_ca"] < 2e-3


def test_existing_results_stay_unless_told_otherwise(fold, write):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query)
    (fold.out / "q.pdb").write_text("mine")
    again = fold(query)
    assert again.exit_code == 0 and "skipped" in again.output
    assert (fold.out / "q.pdb").read_text() == "mine"
    assert fold(query, "--overwrite").exit_code == 0
    assert (fold.out / "q.pdb").read_text().startswith("TITLE")


def test_a_result_without_its_record_is_not_finished(fold, write):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query)
    (fold.out / "q.json").unlink()
    assert "skipped" not in fold(query).output and (fold.out / "q.json").exists()


def test_a_batch_goes_on_after_failures_and_lists_them(fold, write, tmp_path):
    bad, good = write("bad.fasta", ">x\nMK1\n"), write("good.fasta", TWO)
    result = fold(bad, good, tmp_path / "none.a3m", good)
    assert result.exit_code == 1
    assert names(fold.out) == results_of("first", "second")
    errors = result.stderr.splitlines()
    assert "'1' at position 3" in errors[0] and "no such file" in errors[1]
    assert "first: " in errors[2] and "another query" in errors[2]
    assert errors[-1] == f"error: 4 failed: {bad}, {tmp_path / 'none.a3m'}, first, second"


def test_a_fault_of_the_program_in_one_query_keeps_its_trace_and_spares_the_others(
    fold, write, monkeypatch
):
    from alphafold2_pytorch.features import Prediction

    whole = Prediction.to_pdb

    def faulty(self, index=0):
        if self.name == "first":
            raise KeyError("a fault")
        return whole(self, index)

    monkeypatch.setattr(Prediction, "to_pdb", faulty)
    result = fold(write("q.fasta", TWO))
    assert (
        result.exit_code == 1 and "Traceback" in result.stderr and "failed: first" in result.stderr
    )
    assert names(fold.out) == results_of("second")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("q.fasta", b"", "is empty"),
        ("q.fasta", bytes(range(256)), "not a text file"),
        ("q.fasta", ">a\nMK1T\n", "record 'a' has '1' at position 3"),
        ("q.fasta", ">a\nMK-T\n", "record 'a' has '-' at position 3"),
        ("q.fasta", ">a\nMKT*\n", "record 'a' has '*' at position 4"),
        ("q.fasta", ">a\nMKT\n>a\nMKT\n", "record 'a' comes twice"),
        ("q.a3m", ">a\nMKT\n>b\nMK\n", "row 2 'b' has 2 aligned columns"),
        ("q.fasta", b"x" * 1_000_000, "expected a header"),
    ],
)
def test_a_bad_query_is_refused_in_one_line_and_leaves_nothing(fold, write, name, text, said):
    path = write(name, text)
    assert refused(fold(path), str(path), said) and names(fold.out) == []


def test_a_missing_file_and_a_folder_are_refused(fold, tmp_path):
    assert refused(fold(tmp_path / "none.fasta"), "no such file", "none.fasta")
    assert refused(fold(tmp_path), "is a folder without an alignment")


def test_a_chain_too_long_for_the_memory_is_refused_before_it_starts(fold, write):
    result = fold(write("q.fasta", ">long\n" + "A" * 400_000))
    assert refused(result, "long: not enough memory", "400,000 residues need about")
    assert names(fold.out) == []


def test_memory_is_compared_with_what_is_free(fold, write, monkeypatch):
    query = write("q.fasta", ">q\nMKTAY\n")
    monkeypatch.setattr("alphafold2_pytorch.cli.prediction.free_memory", lambda device: 1000)
    assert refused(fold(query), "5 residues", "0.0 GB are free", "about 0 residues")
    monkeypatch.setattr("alphafold2_pytorch.cli.prediction.free_memory", lambda device: None)
    assert fold(query).exit_code == 0


def test_a_folder_that_cannot_be_made_is_refused_before_folding(fold, write):
    query = write("q.fasta", TWO)
    assert refused(fold(query, out=query / "below"), str(query))
    assert refused(fold(query, out=query), str(query))


def test_a_full_disk_leaves_no_half_of_a_result(fold, write, monkeypatch):
    def full(path, *_, **__):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    query = write("q.fasta", ">q\nMKTAY\n")
    monkeypatch.setattr("alphafold2_pytorch.cli.layout.write_record", full)
    assert refused(fold(query), "No space left on device", str(fold.out / "q.json"))
    assert names(fold.out) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_device_without_space_is_reported_as_such(tmp_path):
    def write(path):
        path.symlink_to("/dev/full")
        results.write_text(path, "x" * 100_000)

    with pytest.raises(OSError, match="No space left") as error:
        results.write_results(tmp_path, "q", {"q.pdb": write})
    assert error.value.filename == str(tmp_path / "q.pdb") and names(tmp_path) == []


def test_older_results_survive_a_failed_overwrite(fold, write, monkeypatch):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query)
    before = {name: (fold.out / name).read_bytes() for name in names(fold.out)}

    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("alphafold2_pytorch.cli.layout.write_text", full)
    assert refused(fold(query, "--overwrite", "--seed", "1"), "No space left")
    assert {name: (fold.out / name).read_bytes() for name in names(fold.out)} == before


def other_shape(path, data):
    from alphafold2_pytorch.weights.io import load_weights, save_weights

    path.write_bytes(data)
    state, config, _ = load_weights(path)
    name = next(name for name, tensor in state.items() if tensor.dim() == 2)
    save_weights(path, state | {name: state[name][:, :1]}, config)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path, data: path.write_bytes(data[: len(data) // 2]), "not a whole safetensors"),
        (lambda path, data: path.write_bytes(b""), "not a whole safetensors"),
        (lambda path, data: path.write_bytes(pickle.dumps({"a": 1})), "not a whole safetensors"),
        (other_shape, "instead of"),
        (lambda path, data: None, "no weights file"),
    ],
)
def test_bad_weights_are_refused_in_one_line(fold, write, tiny_weights, tmp_path, spoil, said):
    path = tmp_path / "bad.safetensors"
    spoil(path, tiny_weights.read_bytes())
    result = fold(write("q.fasta", TWO), weights=path)
    assert refused(result, said, "bad.safetensors") and names(fold.out) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--chain", "A"], "--truth FILE, which is missing"),
        (["--truth", TRUTH, "--chain", "Z"], "no protein chain 'Z'; it has A"),
        (["--truth", "none.pdb"], "no such file"),
        (["--truth", __file__], "no protein chain"),
        (["--device", "tpu"], "choose from auto, cpu, cuda"),
    ],
)
def test_bad_options_are_refused_in_one_line(fold, write, words, said):
    result = fold(write("q.fasta", TWO), *words)
    assert refused(result, said) and names(fold.out) == []


def test_another_protein_as_truth_is_refused_and_not_scored(fold, write):
    result = fold(write("q.fasta", ">q\nGGSGGSGGSGGSGGSGGSGGSGGS\n"), "--truth", TRUTH)
    assert refused(result, "q: chain A", "another protein") and names(fold.out) == []


def test_a_name_cannot_leave_the_folder(fold, write):
    assert fold(write("q.fasta", ">../../evil/name\nMKT\n")).exit_code == 0
    assert names(fold.out) == results_of("evil_name")


def test_results_without_matplotlib_lack_the_picture_alone(fold, example, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = fold(example, "--truth", TRUTH)
    assert result.exit_code == 0 and "alphafold2-pytorch[report]" in result.output
    assert names(fold.out) == results_of("1a3a_C", more=["msa.a3m"])


def test_help_tells_every_option_and_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from alphafold2_pytorch.cli.main import build\n"
        "try: build()(['fold', '--help'])\n"
        "except SystemExit: print(sorted({'torch', 'numpy', 'gemmi'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    options = "--out --weights --recycles --seed --device --truth --chain --overwrite"
    for option in [*options.split(), "--save-features"]:
        assert option in shown.stdout
    assert shown.stdout.splitlines()[-1] == "[]"
