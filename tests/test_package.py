"""The package as a whole: what importing it costs, what it offers, and that it is installed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import alphafold2_pytorch
from alphafold2_pytorch.geometry.rigid import Rigid

ROOT = Path(__file__).parents[1]


def python(*arguments: str) -> subprocess.CompletedProcess:
    """Run another Python in the repository's root."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("module", ["alphafold2_pytorch", "alphafold2_pytorch.cli.main"])
def test_importing_does_not_import_torch(module):
    done = python("-c", f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr or f"{module} imports torch"


@pytest.mark.parametrize("name", alphafold2_pytorch.__all__)
def test_public_name_loads_on_first_use(name):
    assert name in dir(alphafold2_pytorch)
    assert callable(getattr(alphafold2_pytorch, name))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Alphafold3'"):
        alphafold2_pytorch.Alphafold3  # noqa: B018
    assert not hasattr(alphafold2_pytorch, "anything")


def test_version_is_that_of_the_project():
    [version] = re.findall('^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert alphafold2_pytorch.__version__ in (version, "unknown")  # the latter: not installed


def test_setup_py_test_runs_pytest():
    done = python("setup.py", "-q", "test", "--args", "tests/test_package.py -q -k unknown_name")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_setup_py_test_fails_when_a_test_fails():
    done = python("setup.py", "-q", "test", "--args", "tests/no_such_test.py")
    assert done.returncode == 4, "pytest's exit code is lost"


def test_shapes_are_checked_in_the_tests():
    with pytest.raises(Exception, match="rot"):
        Rigid(torch.eye(4), torch.zeros(3))
