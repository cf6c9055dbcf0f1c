"""Protein chains in shards: an `index.tsv`, coordinates in `chains/*.npz`, alignments in zips."""

import csv
import hashlib
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from alphafold2_pytorch.chem.residues import decode, encode
from alphafold2_pytorch.data.parse.a3m import parse_a3m
from alphafold2_pytorch.data.parse.records import Msa
from alphafold2_pytorch.features import Features, Targets

COLUMNS = ("id", "split", "kind", "length", "homology_group", "shard", "msa_zip")
ARRAYS = (
    "id",
    "length",
    "offset",
    "aatype",
    "residue_index",
    "xyz",
    "xyz_unit",
    "atom14_mask_bits",
)
ATOM14 = 14


@dataclass(frozen=True)
class Entry:
    """One line of `index.tsv`, as far as loading needs it."""

    id: str
    length: int
    shard: str
    msa_zip: str  # empty: no homologue is known


@dataclass(frozen=True)
class Chain:
    """One chain: what a model reads, what it should say, and how deep its alignment is on disk."""

    id: str
    features: Features
    targets: Targets
    msa_rows: int  # of the whole alignment, the query counts as one


class ChainShards:
    """The chains of one split, read on demand; coordinates stay in memory once their shard is read.

    `exclude_groups` leaves whole homology groups out, `min_length` and `max_length` bound the
    residues. Everything that can be missing is looked for here, so that no training starts on a
    folder with holes: raises `FileNotFoundError` naming what is missing, `ValueError` for an
    unknown split, a damaged file, or limits that leave nothing.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        exclude_groups: Collection[int] = (),
        min_length: int | None = None,
        max_length: int | None = None,
    ):
        self.root = Path(root)
        lines = read_index(self.root / "index.tsv")
        if split not in (splits := {line["split"] for line in lines}):
            raise ValueError(f"{self.root} has no split {split!r}; choose from {sorted(splits)}")
        left_out = {str(group) for group in exclude_groups}
        low, high = min_length or 1, max_length or 2**31
        self.entries = [
            Entry(line["id"], int(line["length"]), line["shard"], line["msa_zip"])
            for line in lines
            if line["split"] == split
            and line["homology_group"] not in left_out
            and low <= int(line["length"]) <= high
        ]
        if not self.entries:
            raise ValueError(
                f"no chain is left of split {split!r} in {self.root} with lengths {low} to {high} "
                f"and {len(left_out)} homology groups left out"
            )
        self._check_files()
        self._shards: dict[str, dict[str, np.ndarray]] = {}
        self._rows: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def lengths(self) -> np.ndarray:
        """Residues of each chain."""
        return np.array([entry.length for entry in self.entries])

    @property
    def fingerprint(self) -> str:
        """Tells two selections of chains apart."""
        names = "\n".join(f"{entry.id} {entry.length}" for entry in self.entries)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def _check_files(self) -> None:
        """All files exist and hold what the index says they hold, before anyone relies on it."""
        shards = sorted({entry.shard for entry in self.entries})
        zips = sorted({entry.msa_zip for entry in self.entries if entry.msa_zip})
        paths = [self.root / "chains" / name for name in shards]
        paths += [self.root / "msas" / name for name in zips]
        if missing := [str(path.relative_to(self.root)) for path in paths if not path.is_file()]:
            raise FileNotFoundError(f"{self.root} lacks files its index.tsv names: {missing}")
        self._zips = {}
        for path in paths:
            try:
                opened = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, EOFError):
                raise ValueError(f"{path} is damaged: it is no readable zip archive") from None
            if path.parent.name == "msas":
                self._zips[path.name] = opened
            else:
                opened.close()
        known = {name: set(each.namelist()) for name, each in self._zips.items()}
        lost = [e.id for e in self.entries if e.msa_zip and f"{e.id}.a3m" not in known[e.msa_zip]]
        if lost:
            raise FileNotFoundError(
                f"{self.root}: {len(lost)} alignments are not in the zip that index.tsv names, "
                f"the first is {lost[0]}.a3m"
            )

    def _shard(self, name: str) -> dict[str, np.ndarray]:
        if name not in self._shards:
            path = self.root / "chains" / name
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    self._shards[name] = {key: arrays[key] for key in ARRAYS}
            except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
                raise ValueError(f"{path} is damaged: {error}") from None
            ids = self._shards[name]["id"]
            self._rows[name] = {str(each): row for row, each in enumerate(ids)}
        return self._shards[name]

    def load(
        self, i: int, max_rows: int | None = None, generator: np.random.Generator | None = None
    ) -> Chain:
        """Chain `i` of the split, whole, coordinates in angstrom.

        Of a deeper alignment the query and `max_rows - 1` others are kept, in their order: the
        first ones, or with a `generator` a random choice without repetition.
        """
        entry = self.entries[i]
        shard = self._shard(entry.shard)
        if (row := self._rows[entry.shard].get(entry.id)) is None:
            raise ValueError(
                f"shard {entry.shard} has no chain {entry.id}, which index.tsv puts there"
            )
        start, length = int(shard["offset"][row]), int(shard["length"][row])
        here = slice(start, start + length)
        tokens = shard["aatype"][here].astype(np.int64)
        alignment = self._alignment(entry, decode(tokens))
        kept = choose_rows(len(alignment.rows), max_rows, generator)
        msa = encode("".join(alignment.rows[row] for row in kept)).reshape(len(kept), length)
        slots = shard["xyz"].shape[1]
        positions = np.zeros((length, ATOM14, 3), dtype=np.float32)
        positions[:, :slots] = shard["xyz"][here] * np.float32(shard["xyz_unit"])
        atom_mask = (shard["atom14_mask_bits"][here, None] >> np.arange(ATOM14)) & 1 == 1
        seq = torch.from_numpy(tokens)
        index = torch.from_numpy(shard["residue_index"][here].astype(np.int64))
        features = Features(
            seq=seq,
            residue_index=index,
            mask=torch.ones(length, dtype=torch.bool),
            msa=torch.from_numpy(msa),
            deletions=torch.from_numpy(alignment.deletions[kept]),
            msa_mask=torch.ones(len(kept), length, dtype=torch.bool),
        )
        targets = Targets(seq, index, torch.from_numpy(positions), torch.from_numpy(atom_mask))
        return Chain(entry.id, features, targets, len(alignment.rows))

    def _alignment(self, entry: Entry, sequence: str) -> Msa:
        if not entry.msa_zip:
            return Msa(entry.id, (sequence,), np.zeros((1, len(sequence)), np.float32), ("",))
        where = f"{entry.id}.a3m in {entry.msa_zip}"
        try:
            text = self._zips[entry.msa_zip].read(f"{entry.id}.a3m").decode("ascii")
            alignment = parse_a3m(text, entry.id)
        except (ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{where} cannot be read: {error}") from None
        if alignment.query != sequence:
            raise ValueError(f"{where}: the first row is not the sequence of the chain")
        return alignment


def read_index(path: Path) -> list[dict[str, str]]:
    """The lines of `index.tsv` as dictionaries; `ValueError` if a needed column is absent."""
    if not path.is_file():
        raise FileNotFoundError(f"no data here: {path} does not exist")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        lines = list(reader)
    if absent := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise ValueError(f"{path} has no column {absent}; columns needed: {list(COLUMNS)}")
    if not lines:
        raise ValueError(f"{path} lists no chains")
    for number, line in enumerate(lines, start=2):
        if any(line[name] is None for name in COLUMNS) or not line["length"].isdecimal():
            raise ValueError(f"{path} line {number} is cut off or has no whole number as length")
    return lines


def choose_rows(
    rows: int, max_rows: int | None, generator: np.random.Generator | None
) -> np.ndarray:
    """Which rows of an alignment to keep, ascending, always with row 0."""
    if max_rows is None or rows <= max_rows:
        return np.arange(rows)
    if generator is None:
        return np.arange(max_rows)
    others = generator.choice(rows - 1, size=max_rows - 1, replace=False) + 1
    return np.concatenate([[0], np.sort(others)])
