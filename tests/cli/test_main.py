"""The frame of the command line: subcommands by file, errors in one line."""

import errno
import os

import pytest
import typer
from typer.testing import CliRunner

from alphafold2_pytorch.cli.main import build, friendly_errors


def run(error):
    """What a command that ends with `error` says and returns."""

    def command():
        raise error

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(friendly_errors(command))
    return CliRunner().invoke(app)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("two\n  lines [and] brackets"), "two lines [and] brackets"),
        (FileNotFoundError(2, "no such file", "x.fa"), "no such file: x.fa"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device"),
        (FloatingPointError("the loss is not finite"), "the loss is not finite"),
        (ImportError("this needs matplotlib"), "this needs matplotlib"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried"), "CUDA out of memory. Tried"),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, line):
    result = run(error)
    assert result.exit_code == 1 and result.stderr == f"error: {line}\n"


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("shapes differ"), TypeError("b")])
def test_a_fault_of_the_program_keeps_its_traceback(error):
    assert run(error).exception is error


def test_commands_are_found_and_the_version_is_told():
    commands = {command.name for command in build().registered_commands}
    assert {"fold", "train", "evaluate"} <= commands and not {"main", "picture"} & commands
    assert "fold" in CliRunner().invoke(build(), ["--help"]).output
    assert CliRunner().invoke(build(), ["--version"]).output.startswith("alphafold2-pytorch ")
