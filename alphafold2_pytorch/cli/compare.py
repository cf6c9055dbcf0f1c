"""A prediction beside an experimental structure of the same protein."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from alphafold2_pytorch.data.parse.structure import Chain
    from alphafold2_pytorch.features import Prediction


@dataclass(frozen=True)
class Comparison:
    """Scores over the residues whose C-alpha both have; see `compare`."""

    chain: str
    residues: int
    lddt_ca: float  # 0 to 1
    tm_score: float  # 0 to 1
    rmsd_ca: float  # angstrom, after superposition
    lddt_per_residue: "np.ndarray"  # [n] of the prediction, NaN where the truth has no residue
    distance: "np.ndarray"  # [n, n] angstrom, C-beta to C-beta by experiment, NaN where unknown

    def scores(self) -> dict[str, str | int | float]:
        """The single values, as they go into a results file."""
        names = ("chain", "residues", "lddt_ca", "tm_score", "rmsd_ca")
        values = {name: getattr(self, name) for name in names}
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


def match_chain(query: str, truth: "Chain") -> "np.ndarray":
    """Pairs of positions (int64 [pairs, 2]) in query and truth that a global alignment matches.

    Raises `ValueError` where less than 70 % of the shorter sequence agrees, or fewer than three
    pairs remain.
    """
    from alphafold2_pytorch.data.align import LEAST_IDENTITY, identity, match_residues

    pairs = match_residues(query, truth.sequence)
    share = identity(query, truth.sequence, pairs)
    known = pairs[truth.atom_mask[pairs[:, 1], 1]]
    if share < LEAST_IDENTITY or len(known) < 3:
        raise ValueError(
            f"chain {truth.name} of the truth is another protein than the query ({share:.0%} of "
            f"the residues agree, {len(known)} C-alpha atoms): choose one with --chain"
        )
    return known


def compare(prediction: "Prediction", truth: "Chain", pairs: "np.ndarray") -> Comparison:
    """lDDT, TM-score and RMSD of C-alpha atoms over matched residues (see `match_chain`).

    The TM-score is normalised by the number of these residues.
    """
    import torch

    from alphafold2_pytorch.chem.residues import encode
    from alphafold2_pytorch.geometry.align import rmsd
    from alphafold2_pytorch.geometry.atoms import cbeta_or_placed
    from alphafold2_pytorch.losses.lddt import lddt
    from alphafold2_pytorch.losses.tm import tm_score

    if prediction.structure is None:
        raise ValueError("the model predicts no coordinates, so there is nothing to compare")
    atoms = prediction.structure.atoms[-1, 0].float().cpu()
    at, there = torch.from_numpy(pairs).unbind(-1)
    known = torch.ones(len(pairs), dtype=torch.bool)
    true_atoms, true_mask = torch.from_numpy(truth.positions), torch.from_numpy(truth.atom_mask)
    predicted, true = atoms[at, 1], true_atoms[there, 1]
    cbeta, has_cbeta = cbeta_or_placed(
        torch.from_numpy(encode(truth.sequence)), true_atoms, true_mask
    )
    places = torch.full((len(atoms), 3), torch.nan)
    places[at] = torch.where(has_cbeta[:, None], cbeta, torch.nan)[there]
    per_residue = torch.full((len(atoms),), torch.nan)
    per_residue[at] = lddt(predicted, true, known, per_residue=True)
    return Comparison(
        chain=truth.name,
        residues=len(pairs),
        lddt_ca=float(lddt(predicted, true, known)),
        tm_score=tm_score(predicted, true, known),
        rmsd_ca=float(rmsd(predicted, true, known)),
        lddt_per_residue=per_residue.numpy(),
        distance=torch.linalg.norm(places[:, None] - places, dim=-1).numpy(),
    )
