"""Atoms to PDB and mmCIF text, one protein chain called A, numbered from 1.

Reading both formats is `alphafold2_pytorch.data.parse.structure.read_structure`.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from alphafold2_pytorch.chem.residues import ATOM14_ELEMENT, ATOM14_NAMES, LETTERS, ONE_TO_THREE
from alphafold2_pytorch.typing import Bool, Float, Int

CHAIN = "A"
LAST_SERIAL, LAST_NUMBER = 99_999, 9_999  # what the columns of the PDB format hold
BACKBONE = ["N", "CA", "C", "O"]  # all that a residue of unknown kind can have

Integers = Int[np.ndarray, " n"] | Int[Tensor, " n"]
Floats = Float[np.ndarray, " n"] | Float[Tensor, " n"]
Positions = Float[np.ndarray, "n 14 3"] | Float[Tensor, "n 14 3"]
Mask = Bool[np.ndarray, "n 14"] | Bool[Tensor, "n 14"]


class Atom(NamedTuple):
    """One line of a file; `position` in angstrom."""

    name: str
    element: str
    position: np.ndarray


class Residue(NamedTuple):
    """What stands in each of its atoms' lines; `number` counts from 1."""

    name: str
    number: int
    bfactor: float
    atoms: list[Atom]


def to_pdb(
    seq: Integers,
    residue_index: Integers,
    positions: Positions,
    mask: Mask,
    bfactor: Floats,
    name: str = "",
) -> str:
    """PDB text of the atoms that `mask` keeps, in angstrom; `name` is the title.

    `seq` are tokens, `residue_index` counts from 0, `bfactor` (pLDDT for a prediction) is one
    number a residue. Raises `ValueError` for what the format's columns cannot hold (numbers above
    9,999, more than 99,999 atoms, 10,000 angstrom): `to_mmcif` can. Format: wwPDB version 3.3.
    """
    title = name.encode("ascii", "replace").decode()
    lines = [f"TITLE     {title[:70]}".rstrip()] if title else []
    serial, last = 0, None
    for residue in residues(seq, residue_index, positions, mask, bfactor):
        last = residue
        for atom in residue.atoms:
            serial += 1
            if serial >= LAST_SERIAL or residue.number > LAST_NUMBER:
                raise ValueError(
                    f"atom {serial} of residue {residue.number} is beyond what PDB files can "
                    f"number ({LAST_SERIAL:,} atoms, {LAST_NUMBER:,} residues): write mmCIF instead"
                )
            lines.append(atom_line(serial, residue, atom))
    if last is not None:
        lines.append(f"TER   {serial + 1:5d}      {last.name:>3} {CHAIN}{last.number:4d}")
    return "\n".join([*lines, "END"]) + "\n"


def atom_line(serial: int, residue: Residue, atom: Atom) -> str:
    """One ATOM line of 80 columns."""
    numbers = "".join(f"{value:8.3f}" for value in atom.position)
    factor = f"{residue.bfactor:6.2f}"
    if len(numbers) > 24 or len(factor) > 6:
        raise ValueError(
            f"atom {atom.name} of residue {residue.number} at {atom.position} angstrom, B-factor "
            f"{residue.bfactor}, is beyond the columns of PDB files: write mmCIF instead"
        )
    label = f" {atom.name:<3}" if len(atom.name) < 4 else atom.name
    return (
        f"ATOM  {serial:5d} {label} {residue.name:>3} {CHAIN}{residue.number:4d}    "
        f"{numbers}  1.00{factor}          {atom.element:>2}  "
    )


def to_mmcif(
    seq: Integers,
    residue_index: Integers,
    positions: Positions,
    mask: Mask,
    bfactor: Floats,
    name: str = "",
) -> str:
    """mmCIF text of the same atoms as `to_pdb`, without its limits; `name` is the block's name."""
    import gemmi

    structure = gemmi.Structure()
    structure.name = "".join(c if c.isascii() and c.isalnum() else "_" for c in name) or "model"
    entity = gemmi.Entity("1")
    entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
    entity.subchains = [CHAIN]
    chain = gemmi.Chain(CHAIN)
    sequence = []
    for at, each in enumerate(residues(seq, residue_index, positions, mask, bfactor), start=1):
        sequence.append(each.name)
        residue = gemmi.Residue()
        residue.name, residue.seqid = each.name, gemmi.SeqId(str(each.number))
        residue.label_seq, residue.subchain, residue.entity_id = at, CHAIN, "1"
        residue.entity_type, residue.het_flag = gemmi.EntityType.Polymer, "A"
        for known in each.atoms:
            atom = gemmi.Atom()
            atom.name, atom.element = known.name, gemmi.Element(known.element)
            atom.pos, atom.b_iso = gemmi.Position(*known.position.tolist()), each.bfactor
            residue.add_atom(atom)
        chain.add_residue(residue)
    entity.full_sequence = sequence
    model = gemmi.Model(1)
    model.add_chain(chain)
    structure.add_model(model)
    structure.entities.append(entity)
    structure.assign_serial_numbers()
    groups = gemmi.MmcifOutputGroups(False, block_name=True, entry=True, entity=True)
    groups.entity_poly = groups.entity_poly_seq = groups.struct_asym = groups.atoms = True
    return structure.make_mmcif_document(groups).as_string()


def residues(
    seq: Integers, residue_index: Integers, positions: Positions, mask: Mask, bfactor: Floats
) -> Iterator[Residue]:
    """Residues with their present atoms; `ValueError` for numbers that are not finite."""
    arrays = [np.asarray(each) for each in (seq, residue_index, positions, mask, bfactor)]
    for token, index, places, present, factor in zip(*arrays, strict=True):
        names = ATOM14_NAMES[min(int(token), 20)]
        elements = ATOM14_ELEMENT[min(int(token), 20)]
        if not names[0]:
            names, elements = BACKBONE, [atom[0] for atom in BACKBONE]
        atoms = [
            Atom(atom, element, place)
            for atom, element, place, there in zip(names, elements, places, present, strict=False)
            if there and atom
        ]
        if not np.isfinite([factor, *(x for atom in atoms for x in atom.position)]).all():
            raise ValueError(
                f"residue {int(index) + 1} has a position or B-factor that is no number"
            )
        letter = LETTERS[int(token)]
        yield Residue(ONE_TO_THREE.get(letter, "UNK"), int(index) + 1, float(factor), atoms)
