"""How far apart the atoms of one residue may be: numpy, no torch; lengths in angstrom."""

import numpy as np

from alphafold2_pytorch.chem.residues import ATOM14_MASK, ATOM14_RADIUS, TOKEN, read_table, slot

# Of atoms one bond apart, or two with an angle between, the ideal distance and its standard
# deviation, derived from the lengths and angles of Engh and Huber (2001); zero for other pairs.
DISTANCE = np.zeros((21, 14, 14))
DEVIATION = np.zeros((21, 14, 14))
for _row in read_table("distances"):
    _token = TOKEN[_row["residue"]]
    _pair = [slot(_token, _row["atom1"]), slot(_token, _row["atom2"])]
    DISTANCE[_token, _pair, _pair[::-1]] = float(_row["distance"])
    DEVIATION[_token, _pair, _pair[::-1]] = float(_row["deviation"])

# Of which atom14 slots a covalent bond joins: no bond is longer than 1.9, no angle spans less than
# 2.1. Between residues C of one is bonded to N of the next (slots 2 and 0).
BONDED = (DEVIATION > 0) & (DISTANCE < 2.0)


def distance_bounds(
    overlap: float = 1.5, deviations: float = 12.0, far: float = 1e10
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest allowed distance of two atoms of one residue, by atom14 slots (21 14 14).

    Bonded pairs may differ from the ideal by so many standard `deviations`; other pairs may
    `overlap` their van der Waals spheres by so many angstrom, and be as far apart as `far`. Both
    bounds are zero where an atom does not exist and on the diagonal.
    Jumper et al. (2021) Suppl. Sec. 1.9.11.
    """
    both = ATOM14_MASK[:, :, None] & ATOM14_MASK[:, None, :] & ~np.eye(14, dtype=bool)
    touching = ATOM14_RADIUS[:, :, None] + ATOM14_RADIUS[:, None, :] - overlap
    bonded = DEVIATION > 0
    lower = np.where(bonded, DISTANCE - deviations * DEVIATION, touching)
    upper = np.where(bonded, DISTANCE + deviations * DEVIATION, far)
    return lower * both, upper * both
