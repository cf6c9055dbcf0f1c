from pathlib import Path

import numpy as np
import pytest
import torch

from alphafold2_pytorch.losses import contacts
from alphafold2_pytorch.losses.contacts import clashes, clashing_pairs, contact_precision

GOLDEN = Path(__file__).parent.parent / "golden" / "clashes.npz"


def chain(length=40, seed=2):
    g = torch.Generator().manual_seed(seed)
    points = torch.randn(length, 3, generator=g) * 5
    score = torch.rand(length, length, generator=g)
    known = torch.rand(length, generator=g) < 0.9
    return (score + score.T) / 2, points, known, torch.arange(length)


def slow_precision(score, points, known, index, share, separation):
    pairs = [
        (float(score[i, j]), float((points[i] - points[j]).norm()) < 8)
        for i in range(len(known))
        for j in range(i)
        if known[i] and known[j] and abs(int(index[i] - index[j])) >= separation
    ]
    best = sorted(pairs, reverse=True)[: max(1, int(len(known) * share))]
    return sum(contact for _, contact in best) / len(best)


@pytest.mark.parametrize("share", [1.0, 0.2])
@pytest.mark.parametrize("separation", [6, 24])
def test_agrees_with_sorting_all_pairs(share, separation):
    arguments = chain()
    wanted = slow_precision(*arguments, share, separation)
    assert contact_precision(*arguments, share, separation) == pytest.approx(wanted)
    assert 0 < wanted < 1


def test_separation_is_that_of_the_numbering_not_of_the_rows():
    score, points, known, index = chain(length=10)
    assert np.isnan(contact_precision(score, points, known, index))
    index[5:] += 100
    assert contact_precision(score, points, known, index) >= 0


def test_fewer_pairs_than_places_all_count_and_an_unknown_residue_has_none():
    score, points, known, index = chain(length=26)  # pairs 0-24, 0-25, 1-25
    known[:] = True
    points[:] = torch.tensor([100.0, 0, 0]) * index[:, None]
    points[24] = points[0] + 7.9
    assert contact_precision(score, points, known, index) == 0
    points[24] = points[0] + 4.5
    assert contact_precision(score, points, known, index) == pytest.approx(1 / 3)
    known[1] = False
    assert contact_precision(score, points, known, index) == pytest.approx(1 / 2)
    known[0] = False
    assert np.isnan(contact_precision(score, points, known, index))


def test_equal_scores_give_the_average_over_their_orders():
    score, points, known, index = chain()
    score = (score * 4).round()
    g = torch.Generator().manual_seed(1)
    shaken = []
    for _ in range(400):
        noise = torch.rand(score.shape, generator=g) * 0.5
        noise = noise.triu() + noise.triu(1).T
        shaken.append(contact_precision(score + noise, points, known, index, 0.5))
    assert contact_precision(score, points, known, index, 0.5) == pytest.approx(
        np.mean(shaken), abs=4 * np.std(shaken) / 20
    )
    assert np.std(shaken) > 0.01


@pytest.mark.parametrize("name", ["real", "disulfides", "with_violations", "perturbed"])
@pytest.mark.parametrize("cells", [2**22, 14 * 60 * 7])
def test_the_atoms_that_clash_are_deepminds(name, cells, monkeypatch):
    monkeypatch.setattr(contacts, "CELLS", cells)
    golden = {
        k: torch.from_numpy(v) for k, v in np.load(GOLDEN).items() if k.startswith(name + "/")
    }
    atoms, mask, seq, index = (
        golden[f"{name}/{key}"]
        for key in ("atom14_pred_positions", "atom14_atom_exists", "aatype", "residue_index")
    )
    pairs = clashing_pairs(atoms, mask.bool(), seq, index)
    wanted = golden[f"{name}/clashes_per_atom_clash_mask"].bool()
    assert clashes(atoms, mask.bool(), seq, index) == len(pairs) == len(pairs.unique(dim=0)) > 0
    # Their code spares slot 5, that of the sulphur in cysteine, in whichever two residues.
    theirs = pairs[~(pairs % 14 == 5).all(-1)]
    found = torch.zeros(wanted.numel(), dtype=torch.bool)
    found[theirs.flatten()] = True
    assert torch.equal(found.view(wanted.shape), wanted)


def test_a_bond_counts_as_a_clash_across_a_gap_in_the_numbering():
    atoms = torch.zeros(2, 14, 3)
    atoms[0, 2], atoms[1, 0] = torch.tensor([10.0, 0, 0]), torch.tensor([11.3, 0, 0])
    mask = torch.zeros(2, 14, dtype=torch.bool)
    mask[0, 2] = mask[1, 0] = True
    seq = torch.zeros(2, dtype=torch.long)
    assert clashes(atoms, mask, seq, torch.tensor([3, 4])) == 0
    assert clashes(atoms, mask, seq, torch.tensor([3, 9])) == 1
    assert clashes(atoms, mask & False, seq, torch.tensor([3, 9])) == 0
