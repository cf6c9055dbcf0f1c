"""The twenty residues as numpy arrays, read from `tables/*.csv`; no torch.

Arrays start with a residue axis of 21: `RESIDUES`, then X, which has no atoms. Lengths are in
angstrom. Rigid groups: 0 backbone, 1 pre-omega, 2 phi (no heavy atoms), 3 psi (the oxygen),
4-7 chi 1-4. The facts are those of Jumper et al. (2021) Suppl. Tables 2 and 3 (atoms, torsions)
and Engh and Huber (2001) (ideal geometry), as AlphaFold's published residue constants have them.
"""

import csv
from importlib.resources import files

import numpy as np

RESIDUES = "ARNDCQEGHILKMFPSTWYV"
X, GAP, MASK = 20, 21, 22
NUM_TOKENS = 23
LETTERS = RESIDUES + "X-?"  # how `decode` writes each token
SYNONYMS = {"U": "C", "B": "D", "Z": "E", "O": "X", "J": "X"}
GROUPS, CHIS = 8, 4
CA_CA_DISTANCE = 3.80209737096  # of neighbours joined by a trans peptide bond


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of `chem/tables/{name}.csv` by column."""
    table = files("alphafold2_pytorch.chem") / "tables" / f"{name}.csv"
    return list(csv.DictReader(table.read_text("utf-8").splitlines()))


ONE_TO_THREE = {row["letter"]: row["name"] for row in read_table("residues")}
THREE_TO_ONE = {name: letter for letter, name in ONE_TO_THREE.items()}
TOKEN = {ONE_TO_THREE[letter]: token for token, letter in enumerate(RESIDUES)}  # by three letters

ATOM37_NAMES = tuple(row["atom"] for row in read_table("atom37"))
VAN_DER_WAALS = {r["element"]: float(r["van_der_waals_radius"]) for r in read_table("elements")}
# Peptide bonds between neighbours: (mean, standard deviation) of lengths and of cosines of angles.
LINKS = {r["quantity"]: (float(r["mean"]), float(r["deviation"])) for r in read_table("links")}

ATOM14_NAMES: list[list[str]] = [[""] * 14 for _ in range(21)]
ATOM14_ELEMENT: list[list[str]] = [[""] * 14 for _ in range(21)]
ATOM14_GROUP = np.zeros((21, 14), np.int64)
ATOM14_LITERATURE = np.zeros((21, 14, 3))  # in the frame of the atom's own group
for _row in read_table("atoms"):
    _token = TOKEN[_row["residue"]]
    _slot = ATOM14_NAMES[_token].index("")
    ATOM14_NAMES[_token][_slot] = _row["atom"]
    ATOM14_ELEMENT[_token][_slot] = _row["element"]
    ATOM14_GROUP[_token, _slot] = int(_row["group"])
    ATOM14_LITERATURE[_token, _slot] = [float(_row[axis]) for axis in "xyz"]

ATOM14_MASK = np.array(ATOM14_NAMES) != ""
ATOM14_RADIUS = np.array([[VAN_DER_WAALS.get(e, 0.0) for e in row] for row in ATOM14_ELEMENT])


def slot(token: int, atom: str) -> int:
    """Where a residue keeps an atom in atom14 order; `ValueError` if it has no such atom."""
    return ATOM14_NAMES[token].index(atom)


# Where absent, both maps say 0: they are read together with the masks.
ATOM14_TO_ATOM37 = np.zeros((21, 14), np.int64)
ATOM37_TO_ATOM14 = np.zeros((21, 37), np.int64)
ATOM37_MASK = np.zeros((21, 37), bool)
for _token, _slot in np.argwhere(ATOM14_MASK):
    _index = ATOM37_NAMES.index(ATOM14_NAMES[_token][_slot])
    ATOM14_TO_ATOM37[_token, _slot] = _index
    ATOM37_TO_ATOM14[_token, _index] = _slot
    ATOM37_MASK[_token, _index] = True

# Chemically equal atoms of Asp, Glu, Phe and Tyr: where each slot's twin is (itself elsewhere).
ATOM14_SWAP = np.tile(np.arange(14), (21, 1))
for _row in read_table("swaps"):
    _token = TOKEN[_row["residue"]]
    _slot, _other = slot(_token, _row["atom"]), slot(_token, _row["other"])
    ATOM14_SWAP[_token, [_slot, _other]] = _other, _slot
ATOM14_AMBIGUOUS = np.arange(14) != ATOM14_SWAP

CHI_ATOMS = np.zeros((21, CHIS, 4), np.int64)  # atom14 slots
CHI_MASK = np.zeros((21, CHIS), bool)
CHI_PI_PERIODIC = np.zeros((21, CHIS), bool)  # turned by 180 degrees it is the same molecule
for _row in read_table("chi"):
    _token, _chi = TOKEN[_row["residue"]], int(_row["chi"]) - 1
    CHI_ATOMS[_token, _chi] = [slot(_token, _row[f"atom{i}"]) for i in (1, 2, 3, 4)]
    CHI_MASK[_token, _chi] = True
    CHI_PI_PERIODIC[_token, _chi] = _row["pi_periodic"] == "1"

# Three atoms of each group: on the negative x axis, the origin, in the xy plane.
GROUP_ATOMS = np.zeros((21, GROUPS, 3), np.int64)
GROUP_ATOMS[:, 0], GROUP_ATOMS[:, 3], GROUP_ATOMS[:, 4:] = (2, 1, 0), (1, 2, 3), CHI_ATOMS[..., 1:]
GROUP_MASK = np.ones((21, GROUPS), bool)  # X keeps its backbone and psi, should a file show them
GROUP_MASK[:, 1:3], GROUP_MASK[:, 4:] = False, CHI_MASK
# A group is ambiguous where its own chi angle ends in one of two equal atoms.
GROUP_AMBIGUOUS = np.zeros((21, GROUPS), bool)
GROUP_AMBIGUOUS[:, 4:] = CHI_MASK & np.take_along_axis(ATOM14_AMBIGUOUS, CHI_ATOMS[..., 3], axis=1)


def _frame(x: np.ndarray, y: np.ndarray, origin: np.ndarray) -> np.ndarray:
    x = x / np.linalg.norm(x)
    y = y - y @ x * x
    y = y / np.linalg.norm(y)
    frame = np.eye(4)
    frame[:3] = np.stack([x, y, np.cross(x, y), origin], axis=1)
    return frame


def _default_frames(token: int) -> np.ndarray:
    n, ca, c = ATOM14_LITERATURE[token, :3]
    frames = np.zeros((GROUPS, 4, 4))
    frames[:2] = np.eye(4)
    frames[2] = _frame(n - ca, np.array([1.0, 0.0, 0.0]), n)
    frames[3] = _frame(c - ca, ca - n, c)
    for chi in np.flatnonzero(CHI_MASK[token]):
        end = ATOM14_LITERATURE[token, CHI_ATOMS[token, chi, 2]]
        # chi 1 hangs on the backbone; each later one on the group before it, along its x axis.
        frames[4 + chi] = (
            _frame(end - ca, n - ca, end) if chi == 0 else _frame(end, np.array([-1.0, 0, 0]), end)
        )
    return frames


# Where each group sits at torsion zero: groups 0-4 in the backbone's frame, 5-7 in the one before.
# A group that a residue lacks, any of X too, is all zero as in AlphaFold, and masked wherever used.
GROUP_DEFAULT_FRAMES = np.zeros((21, GROUPS, 4, 4))
for _token in range(20):
    GROUP_DEFAULT_FRAMES[_token] = _default_frames(_token)

_CODES = np.full(256, -1, np.int64)
for _letter in RESIDUES + "X-" + "".join(SYNONYMS):
    _CODES[ord(_letter)] = LETTERS.index(SYNONYMS.get(_letter, _letter))


def encode(sequence: str) -> np.ndarray:
    """Tokens (int64) of a sequence in upper-case letters.

    U is read as C, B as D, Z as E, O and J as X; `-` is a gap. Raises `ValueError` for any other
    letter, with its position counted from 1.
    """
    tokens = _CODES[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]
    if (tokens < 0).any():
        at = int(np.flatnonzero(tokens < 0)[0])
        raise ValueError(
            f"letter {sequence[at]!r} at position {at + 1} is no residue; possible are "
            f"{RESIDUES}, X (unknown), {''.join(SYNONYMS)} and - (gap), in upper case"
        )
    return tokens


def decode(tokens: np.ndarray) -> str:
    """The letters of tokens: X for unknown, `-` for a gap, `?` for a masked residue.

    Raises `ValueError` for numbers outside 0 to 22.
    """
    if np.size(tokens) and not (0 <= np.min(tokens) and np.max(tokens) < NUM_TOKENS):
        raise ValueError(
            f"tokens are 0 to {NUM_TOKENS - 1}, got {np.min(tokens)}..{np.max(tokens)}"
        )
    return "".join(LETTERS[int(token)] for token in tokens)
