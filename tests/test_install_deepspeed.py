"""The installer of DeepSpeed on machines that cannot use it: a list of what is missing, no more."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "install_deepspeed.sh"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="it is a bash script")


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """With the tools of `folder` before all others, and a Python that tells when pip is called."""
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {folder}/called\n'
        f'case "$*" in *torch.version*) exec {sys.executable} "$@";; esac\n'
    )
    python.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env={"PATH": path, "PYTHON": str(python), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def tool(folder: Path, name: str, text: str = "") -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_it_is_a_script_that_bash_can_read():
    assert os.access(SCRIPT, os.X_OK)
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0


def test_without_a_gpu_it_says_what_is_missing_and_installs_nothing(tmp_path):
    tool(tmp_path, "nvidia-smi", "exit 9")  # a driver without a GPU
    done = run(tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert "nothing was changed" in done.stderr
    assert "NVIDIA GPU" in done.stderr and "CUTLASS_PATH" in done.stderr
    assert "pip" not in (tmp_path / "called").read_text()


def test_a_wrong_argument_is_refused(tmp_path):
    done = run(tmp_path, "--everything")
    assert done.returncode == 2 and "unknown argument: --everything" in done.stderr
    assert run(tmp_path, "--help").stdout.startswith("usage:")
    assert not (tmp_path / "called").exists()


def test_with_all_that_it_needs_it_installs(tmp_path):
    for name in ("nvidia-smi", "g++"):
        tool(tmp_path, name)
    tool(tmp_path, "nvcc", 'echo "Cuda compilation tools, release 13.0, V13.0.1"')
    header = tmp_path / "cutlass" / "include" / "cutlass" / "cutlass.h"
    header.parent.mkdir(parents=True)
    header.touch()
    (tmp_path / "torch.py").write_text("class version:\n    cuda = '13.0'\n")
    environment = {"PYTHONPATH": str(tmp_path), "CUTLASS_PATH": str(tmp_path / "cutlass")}
    done = run(tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    called = (tmp_path / "called").read_text()
    assert "-m pip install ninja deepspeed>=0.19" in called and "import deepspeed" in called
    (tmp_path / "torch.py").write_text("class version:\n    cuda = '12.8'\n")
    done = run(tmp_path, **environment)
    assert (
        done.returncode == 1 and "a CUDA toolkit 12.8, as torch has: nvcc is of 13" in done.stderr
    )
    (tmp_path / "torch.py").write_text("class version:\n    cuda = None\n")
    assert "a torch built for CUDA" in run(tmp_path, "--zero-only", **environment).stderr


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_model_learns_under_zero_in_two_processes(stage):
    pytest.importorskip("deepspeed", reason="bash install_deepspeed.sh --zero-only")
    example = SCRIPT.parent / "examples" / "deepspeed_zero.py"
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(example)]
    done = subprocess.run(
        [sys.executable, *words, "--steps", "4", "--stage", str(stage)],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines() if line.startswith("step ")]
    losses = [float(words[-1]) for words in told]
    assert len(losses) == 4 and losses[-1] < losses[0] - 0.01
