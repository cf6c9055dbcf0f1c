"""What a reader would run: each python block of the README, and each script of examples/.

Every one stands alone, as if pasted into a fresh interpreter in the repository's root; here it
runs in a folder of its own beside links to both folders. README blocks are made smaller first.
"""

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# but the one that several processes run: `test_install_deepspeed.py` does
EXAMPLES = sorted({*(ROOT / "examples").glob("*.py")} - {ROOT / "examples" / "deepspeed_zero.py"})
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SMALLER = (  # sizes of documented models and inputs -> sizes that run in a second
    (r"\b(dim|dim_msa|structure_module_dim)(\s*=\s*)\d{2,}", r"\g<1>\g<2>16"),
    (r"\bdim_head(\s*=\s*)\d{2,}", r"dim_head\g<1>8"),
    (r"\bdepth(\s*=\s*)\d+", r"depth\g<1>1"),
    (r"\b(64|128|256|512)\b", "12"),  # lengths
)


def blocks() -> list:
    """The python blocks of the README, each named by its line."""
    text = (ROOT / "README.md").read_text()
    return [
        pytest.param(match[1], id=f"line {text.count(chr(10), 0, match.start(1))}")
        for match in FENCE.finditer(text)
    ]


def smaller(source: str) -> str:
    """The same program with small widths, lengths and depths."""
    for pattern, replacement in SMALLER:
        source = re.sub(pattern, replacement, source)
    return source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder in which examples/ and tests/ are found."""
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("source", blocks())
def test_readme_block_runs(source):
    exec(compile(smaller(source), "README.md", "exec"), {"__name__": "__main__"})


def test_readme_has_a_block():
    assert blocks()


def test_block_is_made_smaller_and_stays_what_it_was():
    big = "Alphafold2(dim = 256, depth=2, heads=8, dim_head=64)\ntorch.randint(0, 21, (1, 5, 128))"
    small = "Alphafold2(dim = 16, depth=1, heads=8, dim_head=8)\ntorch.randint(0, 21, (1, 5, 12))"
    assert smaller(big) == small


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.name)
def test_example_runs(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(script)])
    runpy.run_path(str(script), run_name="__main__")
    assert len(script.read_text().splitlines()) <= 80
