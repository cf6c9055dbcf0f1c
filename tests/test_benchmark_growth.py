"""The benchmark of growth runs at tiny sizes, and plots show what pages say."""

import subprocess
import sys
from pathlib import Path

import benchmark_growth as growth
import plots
import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DRAWN = sorted(
    page
    for page in RESULTS.glob("*.md")
    if page.name.split("_")[0] in plots.RECIPES and "not_yet_measured" not in page.name
)


def test_growth_writes_its_page_and_plot(tmp_path):
    out = tmp_path / "growth.md"
    script = ROOT / "benchmarks" / "benchmark_growth.py"
    done = subprocess.run(
        [sys.executable, script, "--quick", "--out", out], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = out.read_text()
    assert all(f"| {n} | 0." in text for n in growth.QUICK["lengths"])
    assert "| 16 GB | " in text and "| 139 GB | " in text and "fold, memory | " in text
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_exponents_are_those_of_powers():
    points = [(n, 3.0 * n**2.5) for n in (64, 128, 256)]
    assert growth.exponent(points) == pytest.approx(2.5)
    assert growth.fitted(points) == f"2.50 | 2.50 | {3.0 * 512**2.5:,.1f}"


def test_what_has_no_room_leaves_its_cells_empty():
    one = {"seconds": 1.0, "peak": 2**20, "estimate": 2**21}
    found = {("block", 8): [one], ("fold", 8): []}
    [row] = growth.table(found).splitlines()[2:]
    assert row == "| 8 | 1.000 s | 1 MiB | | no room or time |  |  |  |"


PAGE = """# Title

| option | parameters | forward | | memory | | step | | memory | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| plain | 1,257 | **0.54** (0.1 to 0.9) s | 1 | 88 MiB | 1 | 1.4 s | 1 | 1,321 MiB | 1 |
| other | 1,257 | | 1 | 88 MiB | 1 | | 1 | | 1 |
"""


def test_a_plot_reads_the_page_and_is_linked_once(tmp_path):
    page = tmp_path / "options.md"
    page.write_text(PAGE)
    [table] = plots.tables(PAGE)
    assert table.title == "Title" and plots.number(table.rows[0][2]) == 0.54
    [(name, row)] = plots.rows_of(table, plots.RECIPES["options"])  # nothing of the other to draw
    assert name == "plain" and plots.number(row[8]) == 1321
    for _ in range(2):
        plots.illustrate(page, "options")
    assert page.read_text().count("(options.png)") == 1


def test_a_page_without_its_table_is_refused(tmp_path):
    page = tmp_path / "memory.md"
    page.write_text("# Nothing\n")
    with pytest.raises(ValueError, match="no table"):
        plots.draw(page, plots.RECIPES["memory"])


@pytest.mark.parametrize("page", DRAWN, ids=lambda page: page.stem)
def test_pages_in_the_repository_have_their_plots(page, tmp_path):
    assert page.with_suffix(".png").exists() and f"({page.stem}.png)" in page.read_text()
    copy = tmp_path / page.name
    copy.write_text(page.read_text())
    assert plots.draw(copy, plots.RECIPES[page.name.split("_")[0]]).stat().st_size > 5000
