"""What starting costs, told by what is loaded: modules, never seconds."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from alphafold2_pytorch.graphs import constant_in_graphs

ROOT = Path(__file__).parents[1]
CORE = {"alphafold2_pytorch", "einops", "jaxtyping", "numpy", "safetensors"}
HELP = {"alphafold2_pytorch", "annotated_doc", "attr", "attrs", "click", "markdown_it", "mdurl"}
HELP |= {"pygments", "rich", "shellingham", "typer", "typing_extensions", "colorama"}
# a second of the compiler and of algebra, which whoever does not compile need not wait for
SLOW = {"torch._dynamo", "torch._inductor", "sympy", "scipy", "matplotlib", "gemmi", "transformers"}


def loads(before: str, after: str) -> set[str]:
    """Modules that a fresh Python loads for a statement, beyond those of the first one."""
    code = f"""
import sys, json
{before}
known = set(sys.modules)
try:
    {after}
except SystemExit:
    pass
print()
print(json.dumps(sorted(set(sys.modules) - known)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def packages(modules: set[str]) -> set[str]:
    """Those of nobody's standard library, by their first names."""
    first = {name.split(".")[0] for name in modules} - sys.stdlib_module_names
    return {name for name in first if not name.startswith("_")}


def test_the_package_alone_loads_nothing_of_others():
    assert packages(loads("", "import alphafold2_pytorch")) == {"alphafold2_pytorch"}


def test_the_model_loads_its_few_dependencies_and_no_compiler():
    found = loads("import torch", "from alphafold2_pytorch import Alphafold2")
    extra = packages(found) - {"typing_extensions", "cython_runtime", "torch", "torchgen", "tqdm"}
    assert extra <= CORE, f"new to `import alphafold2_pytorch`: {sorted(extra - CORE)}"
    assert not found & SLOW


def test_help_of_the_command_line_loads_neither_torch_nor_numbers():
    start = "sys.argv = ['alphafold2', '--help']"
    found = loads(start, "from alphafold2_pytorch.cli.main import main; main()")
    assert packages(found) <= HELP, f"new to --help: {sorted(packages(found) - HELP)}"
    assert "alphafold2_pytorch.cli.fold" in found  # it was the command line that ran


def test_the_mark_of_constants_is_that_of_the_compiler():
    def number() -> int:
        return 1

    def same() -> int:
        return 1

    assert vars(constant_in_graphs(number)) == vars(torch.compiler.assume_constant_result(same))
