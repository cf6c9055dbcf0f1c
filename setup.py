"""Keeps `python setup.py test` alive, which setuptools dropped; all else is in pyproject.toml."""

import shlex
import subprocess
import sys

from setuptools import Command, setup


class Test(Command):
    """Run the fast tests with pytest."""

    description = "run the fast tests (needs pip install -e '.[dev]')"
    user_options = [("args=", "a", "what else to tell pytest, in quotes")]
    args = ""

    def initialize_options(self) -> None: ...

    def finalize_options(self) -> None: ...

    def run(self) -> None:
        sys.exit(subprocess.call([sys.executable, "-m", "pytest", *shlex.split(self.args)]))


setup(cmdclass={"test": Test})
