"""Many queries in one call of `alphafold2 fold`: where they come from, and what may happen."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from cli_kit import names, refused, results_of

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.cli import prediction
from alphafold2_pytorch.data.parse.query import read_query
from alphafold2_pytorch.data.parse.structure import read_structure

A3M = ">q\nMKTAYIAKQR\n>a\nMKTAYLAKQR\n"
MIB = 2**20


def test_every_alignment_of_a_folder_is_folded(fold, tmp_path):
    folder = tmp_path / "msas"
    (folder / "deeper").mkdir(parents=True)
    for name, text in {
        "a.a3m": A3M,
        "b.sto": "# STOCKHOLM 1.0\nq  MKTAY\nr  MKT-Y\n//\n",
        "notes.txt": "not an alignment",
        "bad.a3m": ">q\nMK1\n",
    }.items():
        (folder / name).write_text(text)
    result = fold(folder)
    assert result.exit_code == 1 and "1 failed" in result.stderr and "bad.a3m" in result.stderr
    assert names(fold.out) == results_of("a", "b", more=["msa.a3m"])


@pytest.mark.parametrize("head", ["name,sequence", "id,sequence", "Sequence,length, ID "])
def test_a_table_is_read_by_its_headings(fold, write, head):
    last = head.startswith("S")
    rows = ["mktay,5,first one", "MKTA,4,second"] if last else ["first one,mktay", "second,MKTA"]
    result = fold(write("q.csv", "\ufeff" + "\r\n".join([head, *rows, ""])))
    assert result.exit_code == 0, result.output
    assert names(fold.out) == results_of("first_one", "second")
    assert json.loads((fold.out / "first_one.json").read_text())["sequence"] == "MKTAY"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,sequence\nx,MKT:MKA\n", "record 'x' is a complex"),
        ("a,b\nx,MKT\n", "columns 'name' and 'sequence', got 'a', 'b'"),
        ("name,sequence\n", "a table without rows"),
        ("name,sequence\nx\n", "line 2 lacks a sequence"),
        ("name,sequence\n,MKT\n", "line 2 lacks a name"),
        ("name,sequence\nx,MKT\nx,MKA\n", "record 'x' comes twice"),
        ("name,sequence\nx,MK1\n", "record 'x' has '1' at position 3"),
        ('name,sequence\nx,"MKT\n', "not a row of a CSV table"),
        ("name,sequence\nx," + "M" * 200_000 + "\n", "not a row of a CSV table"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(fold, write, text, said):
    path = write("q.csv", text)
    assert refused(fold(path), str(path), said) and names(fold.out) == []


def test_gzipped_tables_are_tables(tmp_path):
    import gzip

    path = tmp_path / "q.csv.gz"
    path.write_bytes(gzip.compress(b"name,sequence\nx,MKT\n"))
    assert [each.letters for each in read_query(path)] == ["MKT"]


def test_the_shortest_is_folded_first(fold, write):
    result = fold(write("q.fasta", ">a\nMKTAYIAK\n>b\nMKT\n>c\nMKTAY\n>d\nMKT\n"))
    assert "4 queries, the shortest first" in result.output
    told = [line.split(":")[0] for line in result.output.splitlines() if ": took" in line]
    assert told == ["b", "d", "c", "a"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "1"], "another seed:"),
        (["--recycles", "1", "--max-rows", "1"], "another recycles, max_rows:"),
    ],
)
def test_results_of_other_settings_are_neither_taken_nor_replaced(fold, write, words, said):
    query = write("q.a3m", A3M)
    fold(query)
    before = {name: (fold.out / name).read_bytes() for name in names(fold.out)}
    assert refused(fold(query, *words), "q: ", "q.json exists", said, "--overwrite")
    assert {name: (fold.out / name).read_bytes() for name in names(fold.out)} == before
    assert fold(query, *words, "--overwrite").exit_code == 0
    assert "skipped" in fold(query, *words).output


def test_another_query_of_the_same_name_is_no_reason_to_skip(fold, write):
    fold(write("q.a3m", A3M))
    assert refused(fold(write("q.a3m", A3M + ">b\nMKTAYLAKQR\n")), "another alignment:")
    assert refused(fold(write("q.fasta", ">q\nMKTAY\n")), "another sequence, alignment:")


def test_results_that_do_not_tell_how_they_were_made_are_not_taken(fold, write):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query)
    (fold.out / "q/settings.json").write_text("{")
    assert refused(fold(query), "does not tell how it was made", "--overwrite")


def test_what_is_missing_is_made_again(fold, write):
    query = write("q.fasta", ">q\nMKTAY\n")
    fold(query)
    for file in ("q.json", "q.cif", "q/ranked_0.pdb", "q/scores.json", "q/stages.json"):
        (fold.out / file).unlink()
        again = fold(query)
        assert again.exit_code == 0 and "skipped" not in again.output, file
        assert names(fold.out) == results_of("q")
    assert "skipped" in fold(query).output


def test_a_model_that_failed_is_tried_again(fold, write, tiny_weights, tmp_path, monkeypatch):
    from test_fold_deepmind import ONE, THREE

    whole, query = Alphafold2.fold, write("q.fasta", ">q\nMKTAY\n")

    def failing(self, *arguments, **keywords):
        if self.config.template_attn_depth:
            raise FloatingPointError("not finite")
        return whole(self, *arguments, **keywords)

    monkeypatch.setattr(Alphafold2, "fold", failing)
    assert fold(query, weights=[ONE, THREE]).exit_code == 1
    assert "q/unrelaxed_params_model_1.pdb" not in names(fold.out)
    monkeypatch.undo()
    result = fold(query, weights=[ONE, THREE])
    assert result.exit_code == 0 and "skipped" not in result.output
    assert "q/unrelaxed_params_model_1.pdb" in names(fold.out)
    assert "skipped" in fold(query, weights=[ONE, THREE]).output


def test_a_run_that_was_killed_goes_on_where_it_was(fold, write, tiny_weights):
    text = "".join(f">{name}\n{'MKTAYIAKQR' * 4 * n}\n" for n, name in enumerate("abcdef", 1))
    query = write("q.fasta", text)
    words = ["fold", query, "-o", fold.out, "--weights", tiny_weights, "--recycles", "3"]
    words.append("--no-report")
    command = [sys.executable, "-m", "alphafold2_pytorch.cli.main", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        until = time.monotonic() + 120
        while not (fold.out / "b.json").exists() and time.monotonic() < until:
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    (fold.out / ".unfinished-f").mkdir()  # as if it had been writing
    (fold.out / ".unfinished-f/f.pdb").write_text("half")
    done = {path.stem: path.stat().st_mtime_ns for path in fold.out.glob("*.json")}
    assert {"a", "b"} <= set(done) < set("abcdef")
    result = fold(query, "--recycles", "3")
    assert result.exit_code == 0, result.output
    assert result.output.count("skipped") == len(done)
    assert names(fold.out) == results_of(*"abcdef")
    assert all((fold.out / f"{n}.json").stat().st_mtime_ns == then for n, then in done.items())


def short_of_memory(monkeypatch, fits):
    """Folding asks for more than there is until it works in pieces that fit; what was tried."""
    whole, tried = Alphafold2.fold, []

    def fold(self, letters, *arguments, **keywords):
        chunk = self.trunk.blocks.runtime.chunk_bytes
        tried.append((len(letters), chunk // MIB))
        if not fits(len(letters), chunk):
            torch.empty(2**58)  # the system refuses
        return whole(self, letters, *arguments, **keywords)

    monkeypatch.setattr(Alphafold2, "fold", fold)
    return tried


def test_a_query_that_is_out_of_memory_is_tried_in_smaller_pieces(fold, write, monkeypatch):
    query = write("q.fasta", ">a\nMKTA\n>b\nMKTAY\n")
    tried = short_of_memory(monkeypatch, lambda length, chunk: chunk <= 2 * MIB)
    result = fold(query)
    assert result.exit_code == 0, result.output
    assert tried == [(4, 8), (4, 4), (4, 2), (5, 2)]  # the longer one begins with what fits
    assert result.output.count("a: out of memory, tried again in pieces of half the size") == 2
    [used] = json.loads((fold.out / "b/settings.json").read_text())["weights"]
    assert used["chunk_bytes"] == 2 * MIB
    assert names(fold.out) == results_of("a", "b")


def test_a_query_that_no_pieces_make_fit_is_named_and_the_next_one_folded(fold, write, monkeypatch):
    query = write("q.fasta", ">a\nMKTA\n>b\nMKTAY\n>c\nMKTAYI\n")
    tried = short_of_memory(monkeypatch, lambda length, chunk: length != 5)
    result = fold(query)
    assert result.exit_code == 1
    assert "error: b: not enough memory: 5 residues do not fit, not even" in result.stderr
    assert [chunk for length, chunk in tried if length == 5] == [8, 4, 2, 1]
    assert tried[-1] == (6, 8) and names(fold.out) == results_of("a", "c")


def test_pieces_are_made_small_enough_for_what_is_free(fold, write, tiny_weights, monkeypatch):
    model = Alphafold2.from_pretrained(tiny_weights)
    letters = "MKTAYIAKQR" * 10
    needed = model.memory_estimate(len(letters), 1)
    monkeypatch.setattr(prediction, "free_memory", lambda device: needed - 1)
    result = fold(write("q.fasta", f">q\n{letters}\n"))
    assert result.exit_code == 0, result.output
    [used] = json.loads((fold.out / "q/settings.json").read_text())["weights"]
    assert used["chunk_bytes"] < 8 * MIB


@pytest.mark.compile
def test_one_compiled_program_folds_chains_of_several_lengths(fold, write):
    query = write("q.fasta", ">a\nMKTAYIAKQR\n>b\nMKTAYIAKQRQISFVK\n>c\nMKTAYIAKQRQISFVKSHFSRQ\n")
    assert fold(query).exit_code == 0
    result = fold(query, "--compile", out=fold.out / "compiled")
    assert result.exit_code == 0, result.output
    for name in "abc":
        plain, made = (
            read_structure(folder / f"{name}.pdb") for folder in (fold.out, fold.out / "compiled")
        )
        np.testing.assert_allclose(made.positions, plain.positions, atol=0.01)
    told = [line for line in result.output.splitlines() if ": compiled " in line]
    assert told == ["a: compiled 1 program for chains padded to 32 residues"]
    settings = json.loads((fold.out / "compiled" / "a" / "settings.json").read_text())
    assert settings["compiled"]
