"""The benchmark of a GPU runs on a CPU at tiny sizes; its figures mean nothing here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import benchmark_gpu
import gpu_tools
import pytest
import torch
from gpu_model import network, streams
from torch.utils.flop_counter import FlopCounterMode

from alphafold2_pytorch import Alphafold2, Runtime
from alphafold2_pytorch.ops import set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.triangles import TRIANGLES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bench():
    return gpu_tools.Bench("cpu", dry=True, seconds=60)


@pytest.mark.slow
def test_one_command_writes_every_part_of_the_page(tmp_path):
    words = ["--dry", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(
        [ROOT / "benchmarks" / "gpu.sh", *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": str(Path(sys.executable))},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [page], [plot], [lines] = (list(tmp_path.glob(f"*.{end}")) for end in ("md", "png", "jsonl"))
    text = page.read_text()
    for name, title in benchmark_gpu.TITLES.items():
        part = text.split(f"## {title}\n")[1].split("\n## ")[0]
        assert "Nothing was measured" not in part and "This section" not in part, name
    assert plot.name in text and plot.read_bytes().startswith(b"\x89PNG")
    figures = [json.loads(line) for line in lines.read_text().splitlines()]
    told = {each["what"]: each for each in figures}
    for name in BACKENDS.entries:
        assert f"attention, {name}, bfloat16" in told and f"16 x 4, {name}, forward" in told
    for name in TRIANGLES.entries:
        assert f"multiplication, {name}, float32" in told
    assert told["attention, sdpa, float32"]["note"] == "right"
    rates = [each["value"] for each in figures if each["unit"] == "samples/s"]
    assert len(rates) == 3 and min(rates) > 0


@pytest.mark.parametrize(("n", "rows"), [(32, 4), (16, 40)])
def test_operations_of_a_block_are_those_that_torch_counts(n, rows, bench):
    block = Alphafold2(network(True, 4)).trunk.blocks[0].eval()
    set_runtime(block, Runtime(attention="reference", triangle="reference", linear="torch"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        block(streams(bench, n, rows, False))
    assert gpu_tools.block_work(n, rows).operations == pytest.approx(
        counter.get_total_flops(), rel=0.02
    )


def test_the_roofline_is_the_longer_of_both():
    limit = gpu_tools.Limits(rate=100.0, bandwidth=10.0)
    assert limit.seconds(200, 10) == 2 and limit.seconds(200, 30) == 3


def test_what_would_take_too_long_is_left_out(bench):
    growing = gpu_tools.Growing(bench, "kernels")
    growing.last["slow"] = 16, 1.0, 0.0
    assert "too long" in growing.measure("slow", "x", 64, lambda: pytest.fail("it ran")).note
    growing.last["compiled"] = 16, 1e-6, 30.0
    assert "30 s to build" in growing.measure("compiled", "x", 17, lambda: pytest.fail("ran")).note


def test_only_refusals_and_missing_packages_are_excused(bench):
    def refuse():
        raise ValueError("attention backend 'x' refuses this input: it is odd")

    def break_():
        raise ValueError("a bug")

    assert bench.measure("kernels", "x", refuse).note == "refused: it is odd"
    with pytest.raises(ValueError, match="a bug"):
        bench.measure("kernels", "x", break_)


def test_a_section_that_fails_is_told_and_ends_the_command_badly(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark_gpu, "TIMES", {"block": 60})  # without the device's limits
    monkeypatch.setattr("sys.argv", ["x", "--dry", "--device", "cpu", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="failed"):
        benchmark_gpu.main()
    assert "FAILED" in capsys.readouterr().out


def test_a_cpu_is_measured_in_dry_runs_only(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x", "--device", "cpu"])
    with pytest.raises(SystemExit):
        benchmark_gpu.main()
    assert "--dry" in capsys.readouterr().err
