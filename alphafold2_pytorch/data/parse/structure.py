"""PDB and mmCIF: one protein chain's sequence and heavy atoms."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphafold2_pytorch.chem.residues import ATOM14_NAMES, RESIDUES
from alphafold2_pytorch.data.parse.records import plain_letters
from alphafold2_pytorch.typing import Bool, Float, Int

BACKBONE = ("N", "CA", "C", "O")
RENAMED = {("MSE", "SE"): "SD", ("SEC", "SE"): "SG"}


@dataclass(frozen=True, eq=False)
class Chain:
    """The residues of one chain that a file shows; absent atoms are zeros and False in the mask."""

    name: str
    sequence: str
    residue_index: Int[np.ndarray, " n"]  # from 0, jumps where the file's numbers do
    positions: Float[np.ndarray, "n 14 3"]  # angstrom
    atom_mask: Bool[np.ndarray, "n 14"]


def read_structure(path: str | Path, chain: str | None = None) -> Chain:
    """A chain of a file's first model, by the name the authors gave it; None: the first protein.

    Of alternative places the one with the highest occupancy counts, of alternative residues the one
    whose atoms have it. Modified residues are read as their parents (MSE as MET) with the atoms
    they share, unknown ones as X; water, ligands and other polymers are left out. Raises
    `FileNotFoundError`, and `ValueError` for what is no structure or has no such protein chain.
    """
    import gemmi

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(2, "no such file", str(path))
    try:
        structure = gemmi.read_structure(str(path), format=gemmi.CoorFormat.Detect)
        structure.setup_entities()
    except (RuntimeError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no PDB or mmCIF file: {error}") from None
    if not len(structure):
        raise ValueError(f"{path} has no atoms: is it a PDB or mmCIF file?")
    model = structure[0]
    proteins = {each.name: found for each in model if (found := residues_of(each))}
    if not proteins:
        raise ValueError(f"{path} has no protein chain")
    if chain is not None and chain not in proteins:
        raise ValueError(f"{path} has no protein chain {chain!r}; it has {', '.join(proteins)}")
    name = next(iter(proteins)) if chain is None else chain
    return build(name, proteins[name])


def residues_of(chain) -> list:
    """The amino acids of a gemmi chain's polymer, one where the file has alternatives."""
    kept: dict[tuple, list] = {}
    for residue in chain.get_polymer():
        if parent(residue) is not None:
            kept.setdefault((residue.seqid.num, residue.seqid.icode), []).append(residue)
    return [max(each, key=lambda r: max(atom.occ for atom in r)) for each in kept.values()]


def parent(residue) -> str | None:
    """The letter a gemmi residue is read as, X where unknown, None for what is no amino acid."""
    import gemmi

    info = gemmi.find_tabulated_residue(residue.name)
    if not info.found():
        return "X" if {"N", "CA", "C"} <= {atom.name for atom in residue} else None
    if not info.is_amino_acid():
        return None
    letter = plain_letters(info.one_letter_code.upper())
    return letter if letter.isalpha() else "X"


def build(name: str, residues: list) -> Chain:
    """Arrays from gemmi residues."""
    letters = "".join(parent(residue) or "X" for residue in residues)
    positions = np.zeros((len(residues), 14, 3), np.float32)
    mask = np.zeros((len(residues), 14), bool)
    for at, (residue, letter) in enumerate(zip(residues, letters, strict=True)):
        token = RESIDUES.find(letter)
        slots = list(BACKBONE) if token < 0 else ATOM14_NAMES[token]
        best: dict[str, float] = {}
        for atom in residue:
            atom_name = RENAMED.get((residue.name, atom.name), atom.name)
            if atom_name in slots and atom.occ > best.get(atom_name, -1.0):
                best[atom_name] = atom.occ
                slot = slots.index(atom_name)
                positions[at, slot], mask[at, slot] = atom.pos.tolist(), True
    return Chain(name, letters, number(residues), positions, mask)


def number(residues: list) -> np.ndarray:
    """Increasing indices from 0 that jump where the chain is broken.

    The file's position in the full sequence where it gives one; else the residue number, which an
    insertion code or a numbering that turns back advances by one.
    """
    if all(residue.label_seq is not None for residue in residues):
        numbers = np.array([residue.label_seq for residue in residues], np.int64)
    else:
        numbers = np.array([residue.seqid.num for residue in residues], np.int64)
    steps = np.maximum(np.diff(numbers), 1)
    return np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
