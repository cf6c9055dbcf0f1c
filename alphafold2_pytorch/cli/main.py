"""The command `alphafold2`: every module of this folder that has a function `run` is a subcommand.

`cli/<name>.py` defines `run(...)` with typer annotations; its docstring is the help. What is slow
to import (torch, the model) is imported inside `run`, so that `alphafold2 --help` answers at once.
`run` raises the errors listed in `friendly_errors` and returns nothing; to end with another exit
code after its own message it raises `typer.Exit(code)`.
"""

import functools
import importlib
import pkgutil
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand

from alphafold2_pytorch import cli
from alphafold2_pytorch.heap import keep_freed_memory

RAY_ADDRESS = r"local|auto|(ray://)?[^/\s]+:\d+"
BARE = {"--ray": ("local", RAY_ADDRESS)}  # options without a value: what it is then, and the others


def print_error(error: Exception, where: str = "") -> None:
    """Print one line, `error: where: ...`, on stderr, however many lines the message has."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror + (f": {error.filename}" if error.filename is not None else "")
    elif isinstance(error, MemoryError):
        message = "not enough memory" + (f": {message}" if message else "")
    message = " ".join(f"{where}: {message}".removeprefix(": ").split())
    text = Text.assemble(("error: ", "bold red"), printable(message))
    Console(stderr=True, soft_wrap=True, highlight=False).print(text)


def printable(text: str) -> str:
    """Text with escapes for what would steer a terminal: names in files may hold anything."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


def is_user_error(error: Exception) -> bool:
    """Whether the message alone tells what to do: input, files, memory, numbers, missing extras."""
    kinds = (ValueError, OSError, FloatingPointError, ImportError)
    return isinstance(error, kinds) or is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory was asked for that there is not; torch says so in a RuntimeError."""
    said = str(error).lower()
    signs = ("out of memory", "t allocate", "alloc_failed")
    short = isinstance(error, RuntimeError) and any(sign in said for sign in signs)
    return short or isinstance(error, MemoryError)


def friendly_errors(run: Callable[..., Any]) -> Callable[..., Any]:
    """Turn a user's errors (see `is_user_error`) into one line on stderr and exit code 1.

    Anything else is a fault of this program and keeps its traceback.
    """

    @functools.wraps(run)
    def guarded(*args, **keywords):
        try:
            return run(*args, **keywords)
        except Exception as error:
            if not is_user_error(error):
                raise
            print_error(error)
            raise typer.Exit(1) from None

    return guarded


def show_version(wanted: bool) -> bool:
    """The answer to `--version`."""
    if wanted:
        from alphafold2_pytorch.cli.results import package_version

        typer.echo(f"alphafold2-pytorch {package_version()}")
        raise typer.Exit
    return wanted


def program(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it, stop.")
    ] = False,
) -> None:
    """Predict protein structures with AlphaFold2 in PyTorch, and train it."""


def fill_bare(words: list[str]) -> list[str]:
    """The words of a command, in which each option of `BARE` has a value.

    Typer knows no options whose value may be missing. A word is the value if it looks like one.
    """
    options = words[: words.index("--")] if "--" in words else words
    filled = []
    for word, value in zip(options, [*options[1:], ""], strict=True):
        filled.append(word)
        if word in BARE and not re.fullmatch(BARE[word][1], value):
            filled.append(BARE[word][0])
    return filled + words[len(options) :]


class Command(TyperCommand):
    """A subcommand; see `fill_bare`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, fill_bare(args))


def build() -> typer.Typer:
    """The program with all its subcommands."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
    app.callback()(program)
    for found in pkgutil.iter_modules(cli.__path__):
        module = importlib.import_module(f"{cli.__name__}.{found.name}")
        if hasattr(module, "run"):
            app.command(found.name, cls=Command)(friendly_errors(module.run))
    return app


def main() -> None:
    """The entry point of the console script."""
    keep_freed_memory()
    build()()


if __name__ == "__main__":  # `python -m alphafold2_pytorch.cli.main`, as torchrun calls it
    main()
