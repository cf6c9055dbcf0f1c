"""Points lifted from residues: which atoms, what joins them, and what the config says of them."""

import logging
from dataclasses import replace

import pytest
import torch
from kit import (
    OWN_STRUCTURES,
    random_features,
    random_rigid,
    random_targets,
    real_chain,
    scrambled,
    tiny_config,
)

from alphafold2_pytorch.chem.bonds import BONDED
from alphafold2_pytorch.chem.residues import ATOM14_NAMES, RESIDUES, slot
from alphafold2_pytorch.config import ATOM_SETS, Alphafold2Config
from alphafold2_pytorch.heads import total_loss
from alphafold2_pytorch.inputs.once import EACH_TIME
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.structure import STRUCTURES, base
from alphafold2_pytorch.structure.cloud import CloudStructure, Summaries, covalent_bonds

CLOUDS = [name for name in OWN_STRUCTURES if issubclass(STRUCTURES[name], CloudStructure)]


def model(**keywords) -> Alphafold2:
    keywords = {"structure_module_type": "egnn", "predict_coords": True, **keywords}
    return scrambled(Alphafold2(tiny_config("self", "cross", **keywords)))


def test_bonds_of_residues():
    tryptophan = RESIDUES.index("W")
    ring = {("CD2", "CE2"), ("CE2", "NE1"), ("NE1", "CD1"), ("CD1", "CG"), ("CG", "CD2")}
    for one, other in ring:
        assert BONDED[tryptophan, slot(tryptophan, one), slot(tryptophan, other)]
    # a tree of heavy atoms has one bond less than atoms, and each ring one more
    rings = {"P": 1, "H": 1, "F": 1, "Y": 1, "W": 2}
    for token, letter in enumerate(RESIDUES):
        atoms = sum(name != "" for name in ATOM14_NAMES[token])
        assert BONDED[token].sum() == 2 * (atoms - 1 + rings.get(letter, 0))
    assert (BONDED == BONDED.swapaxes(1, 2)).all() and not BONDED[20].any()


def test_bonds_of_a_chain_are_as_short_as_bonds():
    truth = real_chain().targets
    slots, known = list(range(14)), truth.atom_mask[0].flatten()
    everyone = torch.ones_like(truth.seq, dtype=torch.bool)
    bonds = covalent_bonds(truth.seq, truth.residue_index, everyone, slots)[0]
    bonds = bonds & known & known[:, None]
    points = truth.positions[0].flatten(0, 1)
    apart = torch.cdist(points, points)
    assert torch.equal(bonds, bonds.mT)
    assert apart[bonds].min() > 1.0 and apart[bonds].max() < 2.1
    near = (apart < 1.9) & known & known[:, None] & ~torch.eye(len(points), dtype=torch.bool)
    assert torch.equal(near & ~bonds, torch.zeros_like(near))  # no other atoms are so close


def test_a_broken_chain_has_no_bond_at_the_break():
    seq, mask = torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool)
    bonds = covalent_bonds(seq, torch.tensor([[0, 1, 5]]), mask, [0, 1, 2])[0]
    assert bonds[2, 3] and bonds[3, 2] and not bonds[5, 6] and not bonds[6, 5]


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("atoms", sorted(ATOM_SETS))
def test_atoms_that_a_residue_does_not_have_are_masked_and_not_seen(name, atoms):
    net, features = model(structure_module_type=name, atoms=atoms), random_features(8)
    features.seq[0, :3] = torch.tensor([RESIDUES.index("G"), RESIDUES.index("A"), 20])
    found = net.predict(features).structure
    slots = torch.tensor(ATOM_SETS[atoms])
    assert not found.atom_mask[0, 0, 4:].any()  # glycine
    assert found.atom_mask[0, 0, :3].all()
    assert found.atom_mask[0, 1, 4] == (4 in slots) and not found.atom_mask[0, 1, 5:].any()
    assert not found.atom_mask[0, 2].any()  # X
    other = torch.ones(14, dtype=torch.bool)
    other[slots] = False
    assert not found.atom_mask[..., other].any()
    assert (found.atoms[:, ~found.atom_mask] == 0).all()
    assert torch.isfinite(found.frames.rot).all() and found.frames.trans[0, 0, 2].any()
    assert found.torsions is None and found.atoms.shape[0] == 2


def test_what_is_not_chosen_is_no_point():
    """Side chains change the result only where they take part."""
    x = {
        "single": torch.randn(1, 6, 16).double(),
        "pair": torch.randn(1, 6, 6, 16).double(),
        "mask": torch.ones(1, 6, dtype=torch.bool),
        "seq": torch.full((1, 6), RESIDUES.index("L")),
        "start": random_rigid(1, 6),
    }

    def built(atoms):
        torch.manual_seed(0)
        config = tiny_config("self", structure_module_type="egnn", atoms=atoms)
        return scrambled(STRUCTURES["egnn"].from_config(config)).double()

    backbone, whole = built("backbone"), built("all")
    assert [p.shape for p in backbone.parameters()] == [p.shape for p in whole.parameters()]
    assert not torch.allclose(backbone(**x).atoms[:, :, :, :3], whole(**x).atoms[:, :, :, :3])
    sizes = []
    for module in (backbone, whole):
        refine = module.network.refine
        module.network.refine = lambda *a, refine=refine: sizes.append(a[2].sum()) or refine(*a)
        module(**x)
    assert [int(size) for size in sizes] == [18, 18, 48, 48]


@pytest.mark.parametrize("gradient", ["all", "last"])
def test_gradients_through_all_iterations_or_the_last(gradient):
    options = {"egnn": {"gradient": gradient}}
    net = model(structure_module_refinement_iters=3, options=options)
    features = random_features(6)
    found = net.predict(features).structure
    assert found.atoms.shape[0] == 3
    total, _ = total_loss(net.heads, net.predict(features), random_targets(features))
    total.backward()
    assert all(p.grad is not None and p.grad.any() for p in net.structure.parameters())
    first = found.atoms[0].sum()
    if gradient == "all":
        first.backward()
    else:
        (early,) = torch.autograd.grad(
            first, net.structure.project.weight, allow_unused=True, retain_graph=True
        )
        assert early is None or not early.any()
    with pytest.raises(ValueError, match="'all' or 'last', got 'some'"):
        model(options={"egnn": {"gradient": "some"}})


def test_gradient_last_gives_the_numbers_of_all():
    features = random_features(6)
    found = []
    for gradient in ("all", "last"):
        torch.manual_seed(1)
        net = model(options={"egnn": {"gradient": gradient}})
        found.append(net.predict(features).structure.atoms)
    torch.testing.assert_close(*found)


def test_every_word_that_a_module_reads_changes_it():
    features = random_features(8)
    changes = {
        "structure_module_dim": 24,
        "structure_module_depth": 3,
        "structure_module_heads": 4,
        "structure_module_dim_head": 12,
        "structure_module_refinement_iters": 3,
        "structure_module_knn": 4,
        "structure_num_global_nodes": 2,
    }
    assert changes.keys() == base.WORDS
    for name in OWN_STRUCTURES:
        for word, value in changes.items():
            torch.manual_seed(0)
            one = model(structure_module_type=name, atoms="all")
            torch.manual_seed(0)
            other = model(structure_module_type=name, atoms="all", **{word: value})
            left, right = (m.predict(features).structure.atoms for m in (one, other))
            same = left.shape == right.shape and torch.equal(left, right)
            assert same == (word not in STRUCTURES[name].reads_words), (name, word)


def test_words_that_are_not_read_are_logged_once(caplog, monkeypatch):
    monkeypatch.setattr(base, "_told", set())
    with caplog.at_level(logging.WARNING, logger="alphafold2_pytorch"):
        for _ in range(2):
            Alphafold2(dim=8, depth=1, predict_coords=True, structure_module_knn=4)
    [record] = caplog.records
    assert record.getMessage() == "structure_module_type='ipa' does not read structure_module_knn"
    caplog.clear()
    for name in OWN_STRUCTURES:
        Alphafold2(dim=8, depth=1, heads=1, predict_coords=True, structure_module_type=name)
    assert not caplog.records


def test_config_of_atoms():
    mask = torch.zeros(14, dtype=torch.long)
    mask[[0, 1, 2, 5]] = 1
    config = Alphafold2Config(dim=8, depth=1, atoms=mask)
    assert config.atoms == tuple(mask.tolist()) and config.atom_slots == (0, 1, 2, 5)
    assert config == Alphafold2Config(dim=8, depth=1, atoms=mask.tolist())
    assert Alphafold2Config.from_json(config.to_json()) == config
    assert Alphafold2Config(dim=8, depth=1, atoms=mask.bool()) == config
    assert Alphafold2Config(dim=8, depth=1, atoms="backbone-with-cbeta").atom_slots == (0, 1, 2, 4)
    wrong = ["backbones", mask[:3], [2] * 14, torch.zeros(14), None, torch.ones(1, 14)]
    for atoms in wrong:
        with pytest.raises(ValueError, match="atoms"):
            Alphafold2Config(dim=8, depth=1, atoms=atoms)
    sidechain = [0, 1, 1, 1] + 10 * [0]
    with pytest.raises(ValueError, match="N, CA and C"):
        model(atoms=sidechain)
    assert model(structure_module_type="ipa", atoms=sidechain)(torch.zeros(1, 4).long()).shape == (
        1,
        12,
        3,
    )


def test_config_of_the_module():
    assert Alphafold2Config(dim=8, depth=1, structure_module_type=False).structure_module_type == (
        "en"
    )
    wrong = {
        "structure_module_type": True,
        "structure_num_global_nodes": -1,
        "structure_module_knn": 0,
        "structure_module_refinement_iters": 0,
        "structure_module_heads": 0,
    }
    for word, value in wrong.items():
        with pytest.raises(ValueError, match=word):
            Alphafold2Config(dim=8, depth=1, **{word: value})
    with pytest.raises(ValueError, match="unknown structure module 'moon'"):
        model(structure_module_type="moon")


def test_summaries_do_not_see_masked_residues():
    module = scrambled(Summaries(8, 3))
    x, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
    mask[:, 3:], mask[1] = False, False
    out = module(x, mask)
    torch.testing.assert_close(out, module(torch.where(mask[..., None], x, 9.0), mask))
    torch.testing.assert_close(out[:1], module(x[:1, :3], mask[:1, :3]))
    assert not out[1].any()


def test_recycling_sees_a_placed_beta_where_none_is_chosen():
    net, features = model(), random_features(6)
    x = net._cycle([features], net.inputs.first(features), EACH_TIME)
    found = net._recycle(features, x).cbeta
    ca = x.structure.atoms[-1][..., 1, :]
    away = (found - ca).norm(dim=-1)[0]
    glycine = features.seq[0] == RESIDUES.index("G")
    named = (features.seq[0] < 20) & ~glycine
    assert (away[named] > 1.4).all() and (away[named] < 1.7).all()


def test_the_plddt_head_and_files_work_without_torsions():
    net, features = model(atoms="backbone-with-oxygen"), random_features(6)
    features = replace(features, seq=features.seq.clamp(max=19))
    prediction = net.predict(features)
    assert prediction.plddt.shape == (1, 6)
    assert prediction.to_pdb().count("ATOM") == 24
    assert "torsion" not in total_loss(net.heads, prediction, random_targets(features))[1]
