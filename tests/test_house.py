"""The rules of the house that a machine can hold; `docs/architecture.md` says why they are there.

A rule is a function from one parsed file of the package to what is wrong in it. Each is run over
every file, and over a line that it must refuse.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "alphafold2_pytorch"
# A module imports from rows above its own, or from its own folder.
ROWS = (
    "typing registry graphs config heap",
    "chem presets view",
    "geometry ops pdb",
    "features",
    "streams",
    "data layers losses",
    "inputs blocks structure heads",
    "trunk",
    "memory weights",
    "model",
    "train embeds relax report",
    "cli utils",
    "__init__",  # offers names of all of them
)
ROW = {name: number for number, row in enumerate(ROWS) for name in row.split()}
# What a module may import at its top besides the package; the rest is imported inside functions.
TOP = {"einops", "jaxtyping", "numpy", "safetensors", "torch"}
TOP_CLI = {"rich", "typer"}
TOP_KERNELS = {"triton"}  # in files named *_kernels.py, which are imported inside functions
MOST_LINES = 400
LONGER: dict[str, str] = {}  # a file of the package that is longer: the reason
LIMITS = {"pyproject.toml": 120, "Makefile": 40, "setup.py": 25, "CONTRIBUTING.md": 80}

UNPICKLER = "data/parse/pickled.py"  # of arrays and containers, by a list of what it may make

Rule = Callable[[str, ast.Module], Iterator[str]]
RULES: dict[Rule, list[tuple[str, str]]] = {}  # a rule: the files and sources that it must refuse


def rule(*refused: tuple[str, str]):
    """Enlist a rule, with what it must refuse: (path in the package, source)."""

    def enlist(function: Rule) -> Rule:
        RULES[function] = list(refused)
        return function

    return enlist


def is_cli(path: str) -> bool:
    return path.startswith("cli/")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every absolute import: its statement, and the module with the name taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def at_top(tree: ast.AST) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if isinstance(node, ast.stmt):
                yield node
            yield from at_top(node)


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Every call of `name`, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield node


@rule(
    ("chem/residues.py", "from alphafold2_pytorch.geometry.rigid import Rigid"),
    ("data/featurize.py", "from alphafold2_pytorch.layers import linear"),  # the same row
    ("blocks/mine.py", "def f():\n    import alphafold2_pytorch.model"),
    ("model.py", "from alphafold2_pytorch import Alphafold2Config"),
    ("model.py", "from alphafold2_pytorch.surprise import anything"),
    ("surprise.py", "import math"),
)
def imports_only_from_above(path: str, tree: ast.Module) -> Iterator[str]:
    own = PurePosixPath(path).with_suffix("").parts[0]
    if own not in ROW:
        yield f"{own} is in no row of ROWS"
    for node, name in imports(tree):
        parts = name.split(".")
        if parts[0] != PACKAGE:
            continue
        other = parts[1] if len(parts) > 1 and parts[1] in ROW else "__init__"
        if other != own and ROW.get(other, 99) >= ROW.get(own, 99):
            yield f"line {node.lineno}: {own} must not import {name}"


@rule(("geometry/rigid.py", "from .precision import float32"))
def imports_are_absolute(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: a relative import"


@rule(
    ("pdb.py", "import gemmi"),
    ("train/loop.py", "if True:\n    from matplotlib import pyplot"),
    ("train/loop.py", "import rich"),
    ("model.py", "class A:\n    import pandas"),
    ("ops/kernels/launch.py", "import triton"),
    ("ops/kernels/launch.py", "from alphafold2_pytorch.ops.kernels import dot_kernels"),
)
def extras_are_imported_inside_functions(path: str, tree: ast.Module) -> Iterator[str]:
    kernels = path.endswith("_kernels.py")
    allowed = TOP | (TOP_CLI if is_cli(path) else set()) | (TOP_KERNELS if kernels else set())
    top = set(at_top(tree))
    for node, name in imports(tree):
        first = name.split(".")[0]
        if node in top and not kernels and "_kernels" in name:
            yield f"line {node.lineno}: {name}, which imports an extra, at the top of a module"
        if node in top and first not in allowed | sys.stdlib_module_names | {PACKAGE}:
            yield f"line {node.lineno}: {first} at the top of a module"


@rule(("features.py", "from __future__ import annotations"))
def annotations_are_not_strings(path: str, tree: ast.Module) -> Iterator[str]:
    for node, name in imports(tree):
        if name == "__future__.annotations":
            yield f"line {node.lineno}: turns shapes into strings, so features.py cannot read them"


@rule(("model.py", "def f(x):\n    assert x"))
def errors_are_raised_not_asserted(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield f"line {node.lineno}: assert; raise ValueError, which python -O keeps"


@rule(
    ("model.py", "try:\n    f()\nexcept:\n    g()"),
    ("model.py", "try:\n    f()\nexcept BaseException:\n    pass"),
)
def no_except_catches_everything(path: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            reraises = any(isinstance(each, ast.Raise) for each in ast.walk(node))
            caught = node.type and ast.unparse(node.type)
            if caught is None or (caught == "BaseException" and not reraises):
                yield f"line {node.lineno}: catches even Ctrl-C"


@rule(("train/loop.py", "print('step 1')"))
def only_the_command_line_prints(path: str, tree: ast.Module) -> Iterator[str]:
    if not is_cli(path):
        for node in calls(tree, "print"):
            yield f"line {node.lineno}: print; use logging"


@rule(
    ("weights/io.py", "import pickle"),
    ("weights/io.py", "import torch\ntorch.load('w.pt')"),
    ("weights/io.py", "from torch import load"),
    ("data/shards.py", "import numpy as np\nnp.load('x.npz', allow_pickle=True)"),
    ("data/parse/pickled.py", "import pickle\npickle.load(file)"),
    ("data/parse/pickled.py", "from pickle import loads"),
)
def nothing_is_unpickled(path: str, tree: ast.Module) -> Iterator[str]:
    for node, name in imports(tree):
        if (path, name) == (UNPICKLER, "pickle"):
            continue
        if name.split(".")[0] in {"pickle", "dill", "joblib", "shelve"} or name == "torch.load":
            yield f"line {node.lineno}: {name} can run code from a file"
    for name in ("torch.load", "pickle.load", "pickle.loads"):
        for node in calls(tree, name):
            yield f"line {node.lineno}: {name} can run code from a file"
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if ast.unparse(node.value) != "False":
                yield f"line {node.lineno}: allow_pickle can run code from a file"


@rule(
    ("pdb.py", "import math"),
    ("pdb.py", "'''Text.'''\ndef write(): pass"),
    ("pdb.py", "'''Text.'''\nclass Writer: pass"),
)
def what_is_public_is_described(path: str, tree: ast.Module) -> Iterator[str]:
    if tree.body and ast.get_docstring(tree) is None:
        yield "the module has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if ast.get_docstring(node) is None:
                yield f"line {node.lineno}: {node.name} has no docstring"


@rule(("layers/common.py", ""), ("misc/atoms.py", ""), ("trunk_v2.py", ""), ("helpers.py", ""))
def names_say_what_is_inside(path: str, tree: ast.Module) -> Iterator[str]:
    for part in PurePosixPath(path).with_suffix("").parts:
        if re.fullmatch(r"(common|misc|helpers?|.*_?v\d+)", part):
            yield f"{part!r} says nothing"


def source_rules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        yield file.relative_to(ROOT / PACKAGE).as_posix(), ast.parse(file.read_text())


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_rule_holds_in_every_file(check):
    wrong = [f"{path}: {what}" for path, tree in source_rules() for what in check(path, tree)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("check", "path", "source"),
    [(check, *refused) for check, all_refused in RULES.items() for refused in all_refused],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_rule_refuses_what_it_should(check, path, source):
    assert list(check(path, ast.parse(source)))


def too_long(lines: dict[str, int]) -> dict[str, int]:
    """The files above their limit, and the exceptions that are no longer needed."""
    most = {path: LIMITS.get(path, MOST_LINES) for path in lines}
    return {path: n for path, n in lines.items() if (n > most[path]) != (path in LONGER)}


def tracked() -> list[str]:
    """The files that belong to the project, also in a copy without git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("the project's files are known from git, and this is no checkout")
    return [path for path in done.stdout.splitlines() if (ROOT / path).is_file()]


def test_files_are_short():
    lines = {
        path: len((ROOT / path).read_text().splitlines())
        for path in tracked()
        if path in LIMITS or (path.startswith(PACKAGE) and path.endswith(".py"))
    }
    assert lines
    assert not too_long(lines)
    assert too_long({"setup.py": 26, "a.py": 401, "b.py": 400}) == {"setup.py": 26, "a.py": 401}


# a path of one person's machine; written so that this line is not one
MACHINE = re.compile(r"(?<![\w.~-])/(?:work|root|home/\w+|Users/\w+|opt/\w+|mnt/\w+)/")
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ".sh", ".cfg", ""}


def test_no_file_names_a_place_on_one_machine():
    assert MACHINE.search("see " + "/ho" + "me/someone/data")
    assert not MACHINE.search("https://example.org/work/page, ../work/data")
    wrong = [
        f"{path}:{number}: {line.strip()}"
        for path in tracked()
        if Path(path).suffix in TEXT and Path(path).name != Path(__file__).name
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]


def test_links_in_documents_lead_to_files():
    wrong = [
        f"{page.name}: {link}"
        for page in documents()
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert not wrong, wrong


def test_architecture_page_shows_the_rows_that_are_tested():
    rows = "\n".join(row for row in ROWS if row != "__init__")
    assert f"```\n{rows}\n```" in (ROOT / "docs" / "architecture.md").read_text()


def toml(path: Path) -> dict:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10, where pytest brings it
        import tomli as tomllib
    return tomllib.loads(path.read_text())


PROJECT = toml(ROOT / "pyproject.toml")["project"]


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_readme_mentions_every_extra(extra):
    assert f"`{extra}`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "requirement",
    [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())],
)
def test_requirement_is_a_range_and_the_tested_version_is_in_it(requirement):
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = [Requirement(line) for line in lines if not line.startswith("#")]
    [*pins] = [each for each in tested if each.name == wanted.name]
    assert pins, f"{wanted.name} is not in constraints.txt"
    for pin in pins:
        [one] = pin.specifier
        assert one.operator == "=="
        assert wanted.specifier.contains(one.version)
    assert all(each.operator == ">=" for each in wanted.specifier)


def test_files_of_tests_have_names_of_their_own():
    names = [path.name for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    assert len(names) == len(set(names)), sorted(n for n in set(names) if names.count(n) > 1)
