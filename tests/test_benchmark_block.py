"""The benchmark of one block: our side runs, operations are right, absent peers are told."""

import argparse
import subprocess
import sys
from pathlib import Path

import benchmark_block as bench
import pytest
import torch
from peers import openfold3, ours, page
from torch.utils.flop_counter import FlopCounterMode

from alphafold2_pytorch import Runtime
from alphafold2_pytorch.ops import set_runtime
from alphafold2_pytorch.streams import Streams

ROOT = Path(__file__).parents[1]


def call(*words):
    command = [sys.executable, str(ROOT / "benchmarks" / "benchmark_block.py"), *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_our_side_runs_and_writes_its_page_and_plot(tmp_path):
    out = tmp_path / "block.md"
    done = call("--quick", "--threads", 1, "--peers", "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    text = out.read_text()
    assert "### 24 residues x 8 rows, the block" in text and "### 24 residues, pairs alone" in text
    assert "| ours, autocast to bfloat16 | " in text and "no peer was measured" in text
    assert "- deepmind: left out, not asked for." in text
    assert "--sizes 24x8 --rounds 1 --repeats 1 --threads 1 --peers`" in text
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rows", [8, 40])  # below and above the width of the outer product
@pytest.mark.parametrize("msa", [True, False])
def test_operations_are_those_that_torch_counts(rows, msa):
    residues = 24
    block = ours.block(msa)
    set_runtime(block, Runtime(attention="reference", triangle="reference", linear="torch"))
    x = Streams(
        pair=torch.randn(1, residues, residues, ours.PAIR),
        msa=torch.randn(1, rows, residues, ours.MSA),
        pair_mask=torch.ones(1, residues, residues, dtype=torch.bool),
        msa_mask=torch.ones(1, rows, residues, dtype=torch.bool),
    )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        block(x)
    assert counter.get_total_flops() == ours.operations(residues, rows, msa)


def test_a_peer_that_cannot_be_had_is_told_or_ends_the_program(monkeypatch, capsys):
    monkeypatch.setattr(bench, "make", lambda venv: (None, f"{venv.folder} is not there"))
    found, absent = bench.pythons(argparse.Namespace(peers=None))
    assert list(found) == ["ours", "ours-bf16", "ours-pairs"]
    assert absent["boltz"] == ".venv-block is not there"
    assert "deepmind is left out: .venv-jax is not there" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"boltz was asked for .*\.venv-block is not there"):
        bench.pythons(argparse.Namespace(peers=["boltz"]))


def test_unequal_outputs_of_the_same_network_end_the_program():
    bench.check("deepmind", (8, 4), {"difference": 1e-6})
    bench.check("ours-bf16", (8, 4), {"difference": 1e-2})
    with pytest.raises(SystemExit, match="deepmind at 8x4 differs from our block"):
        bench.check("deepmind", (8, 4), {"difference": 1e-2})


def test_targets_compare_whole_blocks_by_time_and_others_by_operation():
    def one(seconds, mib, flops):
        return [{"seconds": seconds, "bytes": mib * 2**20, "flops": flops, "version": "1"}]

    results = {
        ((8, 4), "ours"): one(1.0, 10, 100),
        ((8, 4), "deepmind"): one(2.0, 15, 100),
        ((8, 4), "openfold3"): one(1.0, 40, 100),
        ((8, 4), "ours-pairs"): one(1.0, 10, 100),
        ((8, 4), "boltz"): one(3.0, 10, 200),
    }
    told = "\n".join(page.targets(results))
    assert "time deepmind / ours: 2.00, target 1.5: reached" in told
    assert "time openfold3 / ours: 1.00, target 1.5: missed" in told
    assert "time an operation, boltz / ours: 1.50, target 1.5: reached" in told
    assert "smallest whole block (deepmind) / ours: 1.50, target 2: missed" in told


def test_every_parameter_has_a_name_of_openfold3():
    names = [openfold3.name_of(name) for row in ours.rows_of_table() for name in row.theirs]
    assert len(set(names)) == len(names)
    assert openfold3.name_of("/triangle_multiplication_incoming/left_gate//bias") == (
        "pair_stack.tri_mul_in.linear_b_g.bias"  # their code has the sides as the paper has them
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--sizes", "128"), "'128' is no size: give residues x rows"),
        (("--rounds", "0"), "'0' is no whole number of at least 1"),
        (("--threads", "4096", "--quick"), "4096 threads on"),
        (("--peers", "rosetta"), "invalid choice"),
    ],
)
def test_bad_options_are_one_clear_line(words, said):
    done = call(*words)
    assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr
