"""What there is to fold: the queries of files and folders."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple


class Job(NamedTuple):
    """One query; `name` is that of its result files.

    `sought` says what is searched for it: "msa", "templates". Of one that is `folded` only the
    stages after that are left.
    """

    name: str
    letters: str
    rows: int
    alignment: Path | None
    templates: Path | None = None  # a templates.npz
    sought: Mapping[str, Any] = MappingProxyType({})
    folded: bool = False

    def a3m(self) -> str:
        """The text of the alignment, an a3m as it is; `ValueError` where there is none."""
        from alphafold2_pytorch.data.parse.query import read_as_a3m

        if self.alignment is None:
            raise ValueError(f"{self.name} is a single sequence")
        return read_as_a3m(self.alignment)


def read_jobs(path: Path) -> list[Job]:
    """The queries of one file; errors name it."""
    from alphafold2_pytorch.data.parse.query import read_query, safe_name
    from alphafold2_pytorch.data.parse.records import Msa

    return [
        Job(safe_name(query.name), query.query, len(query.rows), path)
        if isinstance(query, Msa)
        else Job(safe_name(query.name), query.letters, 1, None)
        for query in read_query(path)
    ]


def files_of(path: Path) -> list[Path]:
    """The alignments of a folder, or the file itself."""
    from alphafold2_pytorch.data.parse.query import alignments_in

    return alignments_in(path) if path.is_dir() else [path]


def shortest_first(jobs: Iterable[Job]) -> list[Job]:
    """By length, as they were given where that is equal: what needs most memory comes last."""
    return sorted(jobs, key=lambda job: len(job.letters))
