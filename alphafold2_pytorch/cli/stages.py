"""Which stages of a query's work are done, so that none is repeated."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alphafold2_pytorch.data.parse.files import read_json, sha256

RECORD = "stages.json"


class Stages:
    """The finished stages of one query, kept in FOLDER/stages.json.

    A stage is done if it was finished with the same key (see `fingerprint`) and all its files are
    as it left them. A record that cannot be read is as good as none.
    """

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / RECORD

    def done(self, stage: str, key: str) -> bool:
        """Whether there is nothing left to do."""
        record = self.read().get(stage)
        if not isinstance(record, dict) or record.get("key") != key:
            return False
        files = record.get("files")
        return isinstance(files, dict) and all(
            (self.folder / name).is_file() and sha256(self.folder / name) == known
            for name, known in files.items()
        )

    def finish(self, stage: str, key: str, files: Iterable[Path]) -> None:
        """Note that a stage left these files, which are inside the folder."""
        found = {path.relative_to(self.folder).as_posix(): sha256(path) for path in files}
        self.write(self.read() | {stage: {"key": key, "files": found}})

    def write(self, record: dict[str, Any]) -> None:
        """Put another record in place, whole."""
        with tempfile.NamedTemporaryFile("w", dir=self.folder, delete=False) as file:
            json.dump(record, file, indent=1)
        os.replace(file.name, self.path)

    def forget(self, stage: str) -> None:
        """Take a stage, and those named `STAGE something`, for not done."""
        record = self.read()
        kept = {k: v for k, v in record.items() if k != stage and not k.startswith(f"{stage} ")}
        if kept != record:
            self.write(kept)

    def rewritten(self, files: Iterable[Path]) -> None:
        """Note that a stage rewrote files that earlier ones had left, which stay done."""
        now = {path.relative_to(self.folder).as_posix(): path for path in files}
        record = self.read()
        for each in record.values():
            if isinstance(each, dict) and isinstance(known := each.get("files"), dict):
                known |= {name: sha256(now[name]) for name in known if name in now}
        self.write(record)

    def read(self) -> dict[str, Any]:
        """The record by stages; empty if there is none."""
        try:
            record = read_json(self.path)
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}


def fingerprint(settings: Any, files: Iterable[Path] = ()) -> str:
    """A key of a stage: what it was asked (anything that JSON can say), and its files' contents.

    Of what is too large to be read again, such as a database, `settings` has the name, size and
    time of change: see `stamp`.
    """
    said = json.dumps([settings, [sha256(path) for path in files]], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def stamp(path: Path) -> list[str | int]:
    """The name, size and time of change of a file."""
    told = path.stat()
    return [path.name, told.st_size, told.st_mtime_ns]
