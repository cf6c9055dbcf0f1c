"""What the readers of sequence files return: one sequence, or an alignment of many."""

from dataclasses import dataclass, replace

import numpy as np

from alphafold2_pytorch.chem.residues import SYNONYMS, encode
from alphafold2_pytorch.typing import Bool, Float


@dataclass(frozen=True)
class Sequence:
    """One chain: `letters` are the twenty residues and X."""

    name: str
    letters: str


@dataclass(frozen=True, eq=False)
class Msa:
    """Aligned rows in upper case with `-` for gaps; the first is the query.

    `deletions` counts the residues that a row has between the column before and this one (after
    the last column they are not kept). `headers` has one text a row, empty where a file has none.
    Raises `ValueError` for no rows, rows of unequal length, and letters that are no residue.
    """

    name: str
    rows: tuple[str, ...]
    deletions: Float[np.ndarray, "s m"]
    headers: tuple[str, ...]

    def __post_init__(self):
        if not self.rows or not self.rows[0]:
            raise ValueError(f"alignment {self.name!r} has no columns")
        width = len(self.rows[0])
        for at, row in enumerate(self.rows):
            if len(row) != width:
                raise ValueError(
                    f"{self.describe(at)} has {len(row)} aligned columns, the query has {width}"
                )
        try:
            encode("".join(self.rows))
        except ValueError:
            for at, row in enumerate(self.rows):
                check_letters(row, self.describe(at))

    def describe(self, at: int) -> str:
        """Where a person finds a row: its number from 1 and its header's first word."""
        header = self.headers[at].split()[:1]
        return f"row {at + 1} {header[0][:60]!r}" if header else f"row {at + 1}"

    @property
    def query(self) -> str:
        """The first row without gaps, in the letters of `Sequence`."""
        return plain_letters(self.rows[0].replace("-", ""))

    def letters(self) -> np.ndarray:
        """The rows as ASCII codes: uint8 [s, m]."""
        codes = np.frombuffer("".join(self.rows).encode("ascii"), np.uint8)
        return codes.reshape(len(self.rows), -1)

    def keep_columns(self, keep: Bool[np.ndarray, " m"]) -> "Msa":
        """Without the other columns, whose residues are counted as insertions from then on."""
        letters = self.letters()
        inserted = self.deletions + ((letters != ord("-")) & ~keep)
        before = np.cumsum(inserted, axis=1, dtype=np.float64)[:, keep]
        deletions = np.diff(before, axis=1, prepend=0.0).astype(np.float32)
        rows = tuple(row.tobytes().decode("ascii") for row in letters[:, keep])
        return replace(self, rows=rows, deletions=deletions)

    def on_query(self) -> "Msa":
        """Only the columns where the query has a residue."""
        return self.keep_columns(self.letters()[0] != ord("-"))


def plain_letters(letters: str) -> str:
    """Upper-case letters with U, B, Z, O and J replaced by the residues they are read as."""
    return letters.translate(str.maketrans(SYNONYMS))


def check_letters(letters: str, where: str, gaps: bool = True) -> None:
    """Raise `ValueError` naming the first letter that is no residue, and its position from 1."""
    for at, letter in enumerate(letters):
        if not (letter.isascii() and letter.isupper() or gaps and letter == "-"):
            raise ValueError(
                f"{where} has {letter!r} at position {at + 1}; possible are the letters A to Z"
                + (" and - for a gap" if gaps else " (a gap or * is possible in alignments only)")
            )
