"""Relaxation removes violations and lowers the energy, and moves little."""

import json
import random
import sys

import gemmi
import numpy as np
import pytest
from relax_kit import CHAIN, heavy, piece, residues, shaken, stripped, text

from alphafold2_pytorch.chem.residues import decode
from alphafold2_pytorch.pdb import to_pdb
from alphafold2_pytorch.relax import (
    RelaxationError,
    Relaxed,
    RelaxSettings,
    check_engine,
    relax,
    try_relax,
)
from alphafold2_pytorch.relax.platforms import PLATFORMS, load, properties_of, repeatable
from alphafold2_pytorch.relax.protein import read_protein

pytest.importorskip("openmm", reason="OpenMM is an extra: pip install 'alphafold2-pytorch[relax]'")


def positions(pdb):
    protein = read_protein(pdb)
    return protein.positions, protein.mask


def ca_rmsd(one, other):
    a, b = (positions(each)[0][:, 1] for each in (one, other))
    return float(np.sqrt(np.square(a - b).sum(-1).mean()))


def test_a_sound_structure_stays_and_gets_hydrogens():
    before = text(piece(1, 20))
    found = relax(before, device="cpu")
    assert found.energy_after < found.energy_before
    assert found.violations_after["residues"] == 0 and found.rounds == 1
    assert found.platform == "CPU" and found.seconds > 0
    assert 0 < found.rmsd < 0.4 and ca_rmsd(before, found.pdb) < 0.3
    old, new = residues(before), residues(found.pdb)
    for at, (a, b) in enumerate(zip(old, new, strict=True)):
        assert (a.name, a.seqid) == (b.name, b.seqid)
        assert heavy(b) == heavy(a) | ({"OXT"} if at == len(old) - 1 else set())
        assert any(atom.is_hydrogen() for atom in b)
        assert {atom.b_iso for atom in b} == {a["CA"][0].b_iso}
    again, mask = positions(found.pdb)
    first, _ = positions(before)
    moved = np.square(again - first).sum(-1)[mask].mean() ** 0.5
    assert found.rmsd == pytest.approx(moved, abs=1e-3)


def test_clashes_and_broken_bonds_are_mended():
    before = text(shaken(piece(1, 20), 0.3))
    found = relax(before, device="cpu")
    assert found.violations_before["link"] > 10 and found.violations_before["within"] > 10
    assert found.violations_after["residues"] == 0
    assert found.energy_after < 0 < found.energy_before
    assert ca_rmsd(before, found.pdb) < 1


def test_what_is_still_broken_is_let_go_in_another_round():
    """The two cysteines are far too near each other to be mended where they are held."""
    one = relax(cysteines(2.0), device="cpu", settings=RelaxSettings(max_rounds=1))
    more = relax(cysteines(2.0), device="cpu")
    assert one.rounds == 1 and one.violations_after["residues"] > 0
    assert more.rounds > 1 and more.violations_after["residues"] == 0
    assert more.rmsd > one.rmsd


def test_restraints_hold():
    before = text(shaken(piece(1, 12), 0.3))
    loose, usual, stiff = (
        relax(before, device="cpu", settings=RelaxSettings(stiffness=k, max_rounds=1)).rmsd
        for k in (0.0, 10.0, 1000.0)
    )
    assert stiff < usual < loose


def test_equal_input_gives_equal_output():
    before = text(piece(1, 12))
    assert relax(before, device="cpu").pdb == relax(before, device="cpu").pdb


def test_what_is_relaxed_can_be_relaxed_again():
    once = relax(text(piece(1, 8)), device="cpu")
    twice = relax(once.pdb, device="cpu")
    assert twice.rmsd < once.rmsd
    assert twice.energy_after <= once.energy_after + 1
    assert [heavy(each) for each in residues(twice.pdb)] == [
        heavy(each) for each in residues(once.pdb)
    ]


def test_the_random_numbers_and_settings_of_others_are_left_alone():
    import openmm

    platform = openmm.Platform.getPlatformByName("CPU")
    threads, state = platform.getPropertyDefaultValue("Threads"), random.getstate()
    with repeatable(platform):
        first = random.random()
    with repeatable(platform):
        assert random.random() == first
    assert random.getstate() == state
    assert platform.getPropertyDefaultValue("Threads") == threads


def test_missing_side_chains_are_built():
    backbone = stripped(piece(1, 12), lambda residue, name: name in {"N", "CA", "C", "O"})
    found = relax(text(backbone), device="cpu")
    for whole, built in zip(residues(text(piece(1, 12))), residues(found.pdb), strict=True):
        assert heavy(whole) <= heavy(built)
    assert found.violations_after["residues"] == 0


def test_a_break_stays_open_and_has_no_end_groups():
    structure = piece(1, 20)
    for at in (11, 10, 9):
        del structure[0]["A"][at]
    before = text(structure)
    found = relax(before, device="cpu")
    names = [{atom.name for atom in residue} for residue in residues(found.pdb)]
    assert "OXT" in names[-1] and {"H2", "H3"} <= names[0]
    assert not any({"OXT", "H2", "H3"} & each for each in names[1:-1])
    places, _ = positions(found.pdb)
    first, _ = positions(before)
    gaps = [np.linalg.norm(each[8, 2] - each[9, 0]) for each in (first, places)]
    assert gaps[1] == pytest.approx(gaps[0], abs=1.5) and gaps[1] > 3


def test_chains_keep_their_names():
    structure = piece(1, 6)
    other = structure[0]["A"].clone()
    other.name = "Q"
    for residue in other:
        for atom in residue:
            atom.pos = gemmi.Position(atom.pos.x + 25, atom.pos.y, atom.pos.z)
    structure[0].add_chain(other)
    found = relax(text(structure), device="cpu")
    for content in (found.pdb, found.cif):
        protein = read_protein(content)
        assert protein.chains == ["A"] * 6 + ["Q"] * 6
        assert protein.mask.sum() == read_protein(text(structure)).mask.sum()


def cysteines(distance):
    """Residues 4 and 8 of a helix as cysteines with sulphurs that far apart."""
    structure = stripped(
        piece(1, 12),
        lambda residue, name: (
            residue.seqid.num not in (4, 8) or name in {"N", "CA", "C", "O", "CB"}
        ),
    )
    pair = [structure[0]["A"][at] for at in (3, 7)]
    betas = [np.array(residue["CB"][0].pos.tolist()) for residue in pair]
    middle, along = sum(betas) / 2, betas[1] - betas[0]
    along /= np.linalg.norm(along)
    for residue, side in zip(pair, (-0.5, 0.5), strict=True):
        sulphur = gemmi.Atom()
        sulphur.name, sulphur.element, residue.name = "SG", gemmi.Element("S"), "CYS"
        sulphur.pos = gemmi.Position(*(middle + side * distance * along))
        residue.add_atom(sulphur)
    return text(structure)


@pytest.mark.parametrize(("distance", "bonded"), [(2.0, True), (0.5, True), (4.0, False)])
def test_cysteines_near_each_other_are_bonded(distance, bonded):
    found = residues(relax(cysteines(distance), device="cpu").pdb)
    one, other = found[3], found[7]
    apart = one["SG"][0].pos.dist(other["SG"][0].pos)
    assert (1.9 < apart < 2.3) == bonded
    assert ("HG" in {atom.name for atom in one}) == (not bonded)


def test_a_chain_of_glycines_is_relaxed():
    structure = stripped(piece(1, 10), lambda residue, name: name in {"N", "CA", "C", "O"})
    for residue in structure[0]["A"]:
        residue.name = "GLY"
    assert relax(text(structure), device="cpu").violations_after["residues"] == 0


def everything_at_one_point(structure):
    for residue in structure[0]["A"]:
        for atom in residue:
            atom.pos = gemmi.Position(1, 2, 3)


def two_atoms_at_one_point(structure):
    chain = structure[0]["A"]
    chain[3]["CB"][0].pos = chain[6]["CB"][0].pos


@pytest.mark.parametrize("spoil", [everything_at_one_point, two_atoms_at_one_point])
def test_a_failure_is_an_error_of_its_own_and_callers_can_have_the_reason(spoil):
    structure = piece(1, 10)
    spoil(structure)
    with pytest.raises(RelaxationError, match="lie upon each other"):
        relax(text(structure), device="cpu")
    reason = try_relax(text(structure), device="cpu")
    assert isinstance(reason, str) and "\n" not in reason
    assert isinstance(try_relax("", device="cpu"), str)
    assert isinstance(try_relax(text(piece(1, 3)), device="cpu"), Relaxed)


def test_the_report_is_plain_json():
    found = relax(text(piece(1, 4)), device="cpu")
    report = json.loads(json.dumps(found.report(), allow_nan=False))
    assert {"pdb", "cif"} & report.keys() == set()
    assert report["violations_after"] == {"residues": 0, "link": 0, "clash": 0, "within": 0}
    assert report["energy_unit"] == "kcal/mol"


@pytest.mark.parametrize(
    "wrong", [{"stiffness": -1.0}, {"tolerance": 0.0}, {"max_rounds": 0}, {"threads": 0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RelaxSettings(**wrong)


def test_unknown_engines_and_devices_are_refused():
    with pytest.raises(ValueError, match="unknown relaxation engine 'x'; choose from openmm"):
        check_engine("x")
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        check_engine(device="tpu")
    with pytest.raises(ValueError, match="not on 'cuda'"):
        check_engine("pyrosetta", "cuda")
    with pytest.raises(ValueError, match="max_rounds only"):
        check_engine("pyrosetta", settings=RelaxSettings(stiffness=1.0))


def openmm_platforms():
    platform = load("openmm").Platform
    return [platform.getPlatform(i).getName() for i in range(platform.getNumPlatforms())]


def test_a_named_device_that_is_absent_is_refused():
    if "CUDA" in openmm_platforms():
        pytest.skip("OpenMM has CUDA here")
    with pytest.raises(ValueError, match="cannot relax on 'cuda' here"):
        relax(text(piece(1, 3)), device="cuda")


@pytest.mark.parametrize("device", ["cuda", "hip", "opencl"])
def test_other_devices_relax_as_the_processor_does(device):
    """Runs where OpenMM has them; OpenCL also without a GPU, by Intel's runtime."""
    before = text(shaken(piece(1, 8), 0.2))
    try:
        found = relax(before, device=device)
    except ValueError as error:
        if f"cannot relax on '{device}' here" not in str(error):
            raise
        pytest.skip(str(error))
    true = relax(before, device="cpu")
    assert found.platform == PLATFORMS[device]
    assert found.violations_after == true.violations_after
    assert found.energy_after == pytest.approx(true.energy_after, rel=0.02)
    assert ca_rmsd(found.pdb, true.pdb) < 0.1


def test_a_platform_is_told_only_what_it_knows():
    for name in openmm_platforms():
        platform = load("openmm").Platform.getPlatformByName(name)
        assert set(properties_of(platform, 1)) <= set(platform.getPropertyNames())
    known = properties_of(load("openmm").Platform.getPlatformByName("CPU"), 2)
    assert known == {"DeterministicForces": "true", "Threads": "2"}


@pytest.mark.parametrize(
    ("engine", "module", "said"),
    [
        ("openmm", "openmm", r"pip install 'alphafold2-pytorch\[relax\]'"),
        ("openmm", "pdbfixer", r"pip install 'alphafold2-pytorch\[relax\]'"),
        ("pyrosetta", "pyrosetta", "own licence: see https://www.pyrosetta.org"),
    ],
)
def test_an_engine_that_is_not_installed_says_how_to_get_it(monkeypatch, engine, module, said):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=said):
        check_engine(engine)


def test_what_an_untrained_model_folds_is_relaxed_or_refused_in_a_line():
    """Atoms anywhere, as the worst of predictions has them."""
    protein = read_protein(text(piece(1, 12)))
    rng = np.random.default_rng(0)
    scattered = 2 * rng.normal(size=protein.positions.shape)
    content = to_pdb(
        protein.seq,
        np.arange(12),
        scattered,
        protein.mask,
        np.full(12, 30.0),
    )
    found = try_relax(content, device="cpu", settings=RelaxSettings(max_iterations=200))
    assert isinstance(found, str) or found.energy_after < found.energy_before


@pytest.mark.slow
def test_a_whole_chain_is_mended():
    before = text(shaken(gemmi.read_pdb_string(CHAIN.read_text()), 0.25))
    found = relax(before, device="cpu")
    assert found.violations_before["residues"] > 100 > 3 >= found.violations_after["residues"]
    assert found.energy_after < -2000 and ca_rmsd(before, found.pdb) < 0.8


@pytest.mark.slow
def test_a_prediction_of_the_embedded_model_is_relaxed():
    from alphafold2_pytorch import Alphafold2
    from alphafold2_pytorch.weights.io import embedded_weights

    letters = decode(read_protein(CHAIN.read_text()).seq)
    model = Alphafold2.from_pretrained(embedded_weights())
    prediction = model.fold(letters[:40], recycles=0)
    found = relax(prediction.to_pdb(), device="cpu")
    assert found.energy_after < found.energy_before
    assert found.violations_after["residues"] < found.violations_before["residues"]
