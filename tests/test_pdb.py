"""What is written is what gemmi, and so everybody else, reads."""

import gemmi
import numpy as np
import pytest
import torch

from alphafold2_pytorch.chem.residues import ATOM14_MASK
from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.pdb import to_mmcif, to_pdb


def every_residue(seed=0):
    rng = np.random.default_rng(seed)
    seq = np.arange(20)
    index = np.where(seq < 10, seq, seq + 5)  # a break of the chain
    positions = rng.uniform(-900, 900, (20, 14, 3)).astype(np.float32)
    return {
        "seq": seq,
        "residue_index": index,
        "positions": positions,
        "mask": ATOM14_MASK[seq],
        "bfactor": rng.uniform(0, 100, 20).astype(np.float32),
    }


@pytest.mark.parametrize(("write", "ending"), [(to_pdb, "pdb"), (to_mmcif, "cif")])
def test_a_written_structure_reads_back_the_same(tmp_path, write, ending):
    atoms = every_residue()
    path = tmp_path / f"x.{ending}"
    path.write_text(write(**atoms, name="every residue / é"))
    chain = read_structure(path)
    assert chain.sequence == "ARNDCQEGHILKMFPSTWYV"
    np.testing.assert_array_equal(chain.atom_mask, atoms["mask"])
    wanted = atoms["positions"] * atoms["mask"][..., None]
    np.testing.assert_allclose(chain.positions, wanted, atol=6e-4)
    model = gemmi.read_structure(str(path))[0]
    assert [r.seqid.num for r in model["A"]] == (atoms["residue_index"] + 1).tolist()
    factors = [r[0].b_iso for r in model["A"]]
    np.testing.assert_allclose(factors, atoms["bfactor"], atol=6e-3)


def test_pdb_lines_have_the_columns_of_the_format():
    lines = to_pdb(**every_residue()).splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    assert len(atoms) == ATOM14_MASK.sum() and {len(line) for line in atoms} == {80}
    assert [int(line[6:11]) for line in atoms] == list(range(1, len(atoms) + 1))
    assert {line[76:78].strip() for line in atoms} == {"C", "N", "O", "S"}
    assert lines[-2].startswith("TER ") and lines[-2][17:26] == "VAL A  25" and lines[-1] == "END"


def test_tensors_serve_as_arrays_do():
    atoms = every_residue()
    tensors = {name: torch.from_numpy(np.array(each)) for name, each in atoms.items()}
    assert to_pdb(**tensors) == to_pdb(**atoms) and to_mmcif(**tensors) == to_mmcif(**atoms)


def test_an_unknown_residue_is_written_as_unk_with_its_backbone(tmp_path):
    mask = np.zeros((1, 14), bool)
    mask[0, :4] = True
    atoms = {
        "seq": np.array([20]),
        "residue_index": np.array([0]),
        "positions": np.ones((1, 14, 3), np.float32),
        "mask": mask,
        "bfactor": np.zeros(1, np.float32),
    }
    for write, ending in ((to_pdb, "pdb"), (to_mmcif, "cif")):
        (tmp_path / f"x.{ending}").write_text(write(**atoms))
        chain = read_structure(tmp_path / f"x.{ending}")
        assert chain.sequence == "X" and chain.atom_mask.sum() == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"residue_index": np.arange(20) + 9990}, "residue 10000 .* write mmCIF"),
        ({"positions": np.full((20, 14, 3), 10_000.0, np.float32)}, "columns .* write mmCIF"),
        ({"bfactor": np.full(20, 1000.0, np.float32)}, "columns .* write mmCIF"),
    ],
)
def test_what_pdb_files_cannot_hold_is_refused_and_mmcif_takes_it(tmp_path, change, said):
    atoms = every_residue() | change
    with pytest.raises(ValueError, match=said):
        to_pdb(**atoms)
    (tmp_path / "x.cif").write_text(to_mmcif(**atoms))
    assert len(read_structure(tmp_path / "x.cif").sequence) == 20


@pytest.mark.parametrize("write", [to_pdb, to_mmcif])
def test_coordinates_that_are_no_numbers_are_refused(write):
    atoms = every_residue()
    atoms["positions"][3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="residue 4 has a position"):
        write(**atoms)
