"""DeepMind's files in other commands than `fold`, and the list of their models."""

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.cli import models
from alphafold2_pytorch.cli.main import build
from alphafold2_pytorch.data.parse.files import sha256

ROOT = Path(__file__).parents[2]
THREE = ROOT / "tests/golden/models/tiny_model_3/params_model_3.npz"


def test_presets_are_listed_without_a_query():
    shown = CliRunner().invoke(build(), ["fold", "--preset"])
    assert shown.exit_code == 0, shown.output
    rows = {
        line.split()[0]: line.split()[1:] for line in shown.output.splitlines() if "npz" in line
    }
    assert len(rows) == 10
    assert rows["model_1"] == ["params_model_1.npz", "yes", "5,120", "no"]
    assert rows["model_5_ptm"] == ["params_model_5_ptm.npz", "no", "1,024", "yes"]
    assert max(map(len, shown.output.splitlines())) <= 80


def test_evaluate_reads_deepminds_files_too(tmp_path):
    words = f"evaluate --data {ROOT / 'tests/sample'} --split test --limit 1 --recycles 0 --weights"
    out = tmp_path / "out.json"
    result = CliRunner().invoke(build(), [*words.split(), str(THREE), "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["settings"]["weights_sha256"] == sha256(THREE)


def test_a_file_that_is_no_models_name_has_no_preset(tmp_path):
    path = tmp_path / "mine.npz"
    shutil.copy(THREE, path)
    assert models.Weights.of(path, Alphafold2.from_pretrained(path), "").preset is None
