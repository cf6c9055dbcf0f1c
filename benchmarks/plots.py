"""The plot of a results page, drawn from the page's own tables: the two can never disagree.

`python benchmarks/plots.py PAGE ...` draws the plots of pages that are there and links them.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = list[str]


@dataclass(frozen=True)
class Table:
    """One table of a page: the heading above it, and its lines, each a list of cells."""

    title: str
    head: Row
    rows: list[Row]


@dataclass(frozen=True)
class Recipe:
    """What of a page is drawn: a panel for each (columns by number, name of the axis).

    `labels` are the columns that name a row. `lines` says that the first of them is a number to
    draw against, on logarithmic axes; else rows are bars. `only` and `skip` choose among rows by
    their labels, `table` among tables by their first cell.
    """

    labels: tuple[int, ...]
    panels: tuple[tuple[tuple[int, ...], str], ...]
    lines: bool = False
    log: bool = True
    only: str = ""
    skip: str = "^$"
    table: str = ""


RECIPES = {
    "memory": Recipe((0,), (((5, 6), "MiB"),), lines=True, table="residues"),
    "networks": Recipe(
        (0, 1), (((2,), "forward, ms"), ((4,), "training step, ms")), skip="package / ours"
    ),
    "options": Recipe((0,), (((2,), "forward, s"), ((8,), "memory of a step, MiB")), log=False),
    "sparse": Recipe((0,), (((2, 3), "ms"), ((5, 6), "MiB")), lines=True, table="length"),
    "trunk": Recipe(
        (0,),
        (((1, 2), "of each figure, s or GiB"), ((3,), "peer / ours")),
        log=False,
        only="time|memory",
    ),
    "loader": Recipe((0,), (((1,), "examples a second"),), log=False, table="worker"),
    "growth": Recipe((0,), (((1, 4), "s"), ((2, 5, 6), "MiB")), lines=True, table="residues"),
    "gpu": Recipe((0,), (((1,), "value"),), table="what"),
}


def tables(text: str) -> list[Table]:
    """The tables of a page in order, named by the last heading or line with a colon above."""
    found: list[Table] = []
    title, block = "", []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            block.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            continue
        if len(block) > 2:
            found.append(Table(title, block[0], block[2:]))
        if line.startswith("#") or line.endswith(":"):
            title = line.strip("#: ")
        block = []
    return found


def number(cell: str) -> float | None:
    """The first number of a cell, without its commas; None if it has none."""
    match = re.search(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", cell)
    return float(match[0].replace(",", "")) if match else None


def rows_of(table: Table, recipe: Recipe) -> list[tuple[str, Row]]:
    """The chosen rows that have anything to draw, with their labels."""
    drawn = [column for columns, _ in recipe.panels for column in columns]
    named = [
        (" ".join(row[i] for i in recipe.labels).replace("`", ""), row)
        for row in table.rows
        if len(row) > max(drawn) and any((number(row[c]) or 0) > 0 for c in drawn)
    ]
    return [
        (name, row)
        for name, row in named
        if re.search(recipe.only, name) and not re.search(recipe.skip, name)
    ]


def draw(page: Path, recipe: Recipe) -> Path:
    """Draw the plot of a page beside it; `ValueError` if the page has nothing to draw."""
    from matplotlib.figure import Figure

    every = [
        (each, rows)
        for each in tables(page.read_text())
        if re.match(recipe.table, each.head[0]) and (rows := rows_of(each, recipe))
    ]
    if not every:
        raise ValueError(f"{page.name} has no table of the kind that is drawn")
    thick = 0.24 * max(len(columns) for columns, _ in recipe.panels)
    high = [3.6 if recipe.lines else 1.0 + thick * len(rows) for _, rows in every]
    count = len(every), len(recipe.panels)
    figure = Figure(figsize=(5 * count[1], sum(high)), layout="constrained")
    grid = figure.subplots(*count, squeeze=False, gridspec_kw={"height_ratios": high})
    for line, (table, rows) in zip(grid, every, strict=True):
        for axes, (columns, label) in zip(line, recipe.panels, strict=True):
            (curves if recipe.lines else bars)(axes, table, rows, columns, recipe)
            axes.set_xlabel(table.head[recipe.labels[0]] if recipe.lines else label)
            axes.set_ylabel(label if recipe.lines else "")
            axes.set_title(table.title if len(every) > 1 else "", fontsize=9)
            if len(columns) > 1:
                axes.legend(frameon=False, fontsize=8)
    image = page.with_suffix(".png")
    figure.savefig(image, dpi=100)
    return image


def curves(
    axes: Any, table: Table, rows: list[tuple[str, Row]], columns: tuple[int, ...], recipe: Recipe
) -> None:
    """Columns against the number in the first one, on logarithmic axes."""
    for column in columns:
        points = [(number(name), number(row[column])) for name, row in rows]
        there = [point for point in points if None not in point]
        if there:
            axes.plot(*zip(*there, strict=True), marker="o", label=table.head[column])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")


def bars(
    axes: Any, table: Table, rows: list[tuple[str, Row]], columns: tuple[int, ...], recipe: Recipe
) -> None:
    """A bar a row and column, from the top; a cell without a number has none."""
    each = 0.8 / len(columns)
    for place, column in enumerate(columns):
        values = [number(row[column]) or 0.0 for _, row in rows]
        at = [line + (place - (len(columns) - 1) / 2) * each for line in range(len(rows))]
        axes.barh(at, values, height=each, label=table.head[column] or None)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
    axes.invert_yaxis()
    if recipe.log:
        axes.set_xscale("log")
    axes.grid(alpha=0.3, axis="x")


def illustrate(page: Path, what: str) -> Path:
    """Draw a page's plot and link it under the page's title, if it is not linked yet."""
    image = draw(page, RECIPES[what])
    text, link = page.read_text(), f"![Plot of the tables below]({image.name})"
    if f"({image.name})" not in text:
        title, rest = text.split("\n", 1)
        page.write_text(f"{title}\n\n{link}\n{rest}")
    return image


def main() -> None:
    """Draw the plots of the pages named on the command line."""
    for name in sys.argv[1:]:
        page = Path(name)
        what = page.name.split("_")[0]
        if what not in RECIPES:
            sys.exit(f"{page}: the name of a page begins with one of {', '.join(RECIPES)}")
        print(illustrate(page, what))


if __name__ == "__main__":
    main()
