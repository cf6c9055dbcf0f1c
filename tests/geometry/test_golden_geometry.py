"""Geometry against numbers computed by DeepMind's code (`tests/golden`)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alphafold2_pytorch.chem.lookup import of_residue
from alphafold2_pytorch.geometry import atoms, rotations
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.torsions import torsions_from_atom14

GOLDEN = Path(__file__).parents[1] / "golden"


def golden(name):
    """Arrays by name: numbers as float64, residue types as int64."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        arrays = {key: torch.from_numpy(file[key]) for key in file}
    return {k: v.double() if v.is_floating_point() else v.long() for k, v in arrays.items()}


def close(ours, theirs, tolerance=1e-4):
    torch.testing.assert_close(ours.double(), theirs, atol=tolerance, rtol=1e-5)


def atom14(seq, positions, mask):
    """Their atom37 in our slots; X, which has none in atom14, keeps its backbone and C-beta."""
    ours, known = atoms.atom37_to_atom14(seq.clamp(max=20), positions, mask.bool())
    first, unknown = torch.tensor([0, 1, 2, 4, 3]), seq >= 20
    ours[..., :5, :] = torch.where(
        unknown[..., None, None], positions[..., first, :], ours[..., :5, :]
    )
    known[..., :5] = torch.where(unknown[..., None], mask[..., first].bool(), known[..., :5])
    return ours, known


def test_small_updates_compose_like_theirs():
    g = golden("quat_affine")
    quaternion = g["in/quat"] / g["in/quat"].norm(dim=-1, keepdim=True)
    frame = Rigid(rotations.quaternion_to_rotation(quaternion), g["in/translation"])
    moved = frame.compose(rotations.small_update(g["in/update"]))
    close(moved.rot, g["out/pre_compose_rotation"], 1e-5)
    close(moved.trans, g["out/pre_compose_tensor"][:, 4:], 1e-5)
    back = rotations.rotation_to_quaternion(moved.rot)
    same_sign = (back * g["out/pre_compose_tensor"][:, :4]).sum(-1, keepdim=True).sign()
    close(back * same_sign, g["out/pre_compose_tensor"][:, :4], 1e-5)
    close(frame.apply(g["in/points"].transpose(0, 1)).transpose(0, 1), g["out/apply_to_point"])


def test_quaternions_multiply_and_turn_like_theirs():
    g = golden("quat_affine")
    close(rotations.quaternion_to_rotation(g["in/quat"]), g["out/quat_to_rot"], 1e-5)
    close(rotations.quaternion_multiply(g["in/quat"], g["in/quat2"]), g["out/quat_multiply"], 1e-5)
    vector = torch.nn.functional.pad(g["in/vec"], (1, 0))
    close(rotations.quaternion_multiply(g["in/quat"], vector), g["out/quat_multiply_by_vec"], 1e-5)


def test_frames_from_three_points_are_theirs_also_where_points_coincide():
    g = golden("r3_rigids")
    ours = Rigid.from_three_points(
        g["in/point_on_neg_x_axis"], g["in/origin"], g["in/point_on_xy_plane"]
    )
    close(ours.rot, g["out/rigids_from_3_points/rot"], 1e-5)
    close(ours.trans, g["out/rigids_from_3_points/trans"], 1e-5)


def test_backbone_frames_are_theirs():
    g = golden("make_transform_from_reference")
    frames = atoms.backbone_frames(torch.stack([g["in/n_xyz"], g["in/ca_xyz"], g["in/c_xyz"]], 1))
    close(frames.rot, g["out/rotation"], 2e-5)  # the row of a missing residue is all zeros
    close(frames.trans, g["out/translation"])


@pytest.mark.parametrize("which", ["random", "real"])
def test_torsions_become_their_groups_and_atoms(which):
    g = golden(f"torsion_angles_to_frames_{which}")
    backbone = Rigid(g["in/backbone_rot"], g["in/backbone_trans"])
    groups = atoms.torsions_to_groups(backbone, g["in/torsion_angles_sin_cos"], g["in/aatype"])
    close(groups.rot, g["out/frames/rot"], 1e-5)
    close(groups.trans, g["out/frames/trans"])
    positions, mask = atoms.groups_to_atom14(groups, g["in/aatype"])
    close(positions, g["out/atom14_pos"] * mask[..., None])
    assert torch.equal(mask, of_residue("ATOM14_MASK", g["in/aatype"]))


def test_groups_of_a_structure_are_theirs():
    g = golden("atom37_to_frames")
    seq = g["in/aatype"]
    placed = atom14(seq, g["in/all_atom_positions"], g["in/all_atom_mask"])
    groups, known = atoms.groups_from_atom14(seq, *placed)
    assert torch.equal(known, g["out/rigidgroups_gt_exists"].bool())
    assert torch.equal(
        of_residue("GROUP_AMBIGUOUS", seq), g["out/rigidgroups_group_is_ambiguous"].bool()
    )
    for ours, name in [(groups, "gt"), (atoms.alternative_groups(seq, groups), "alt_gt")]:
        theirs = g[f"out/rigidgroups_{name}_frames"]
        close(ours.rot[known], theirs[known][:, :9].unflatten(-1, (3, 3)))
        close(ours.trans[known], theirs[known][:, 9:])
    torch.testing.assert_close(
        groups.rot[~known], torch.eye(3).double().expand(int((~known).sum()), 3, 3)
    )


@pytest.mark.parametrize("suffix", ["", "_placeholder"])
def test_torsions_of_a_structure_are_theirs(suffix):
    g = golden(f"atom37_to_torsion_angles{suffix}")
    placed = atom14(g["in/aatype"], g["in/all_atom_pos"], g["in/all_atom_mask"])
    ours, alternative, known = torsions_from_atom14(g["in/aatype"], *placed)
    assert torch.equal(known, g["out/torsion_angles_mask"].bool())
    close(ours[known], g["out/torsion_angles_sin_cos"][known])
    close(alternative[known], g["out/alt_torsion_angles_sin_cos"][known])
    assert not ours[~known].any()


def test_atom_orders_are_theirs():
    g = golden("atom14_atom37")
    seq, mask = g["in/aatype"], g["in/atom37_mask"].bool()
    positions, known = atoms.atom37_to_atom14(seq, g["in/atom37_positions"], mask)
    assert torch.equal(known, g["out/atom14_mask"].bool())
    close(positions, g["out/atom14_positions"])
    back, known = atoms.atom14_to_atom37(seq, positions, known)
    assert torch.equal(known, g["out/atom37_mask_back"].bool())
    close(back, g["out/atom37_positions_back"])


def test_atom_maps_are_theirs():
    g = golden("make_atom14_masks")
    for ours, theirs in [
        ("ATOM14_MASK", "atom14_atom_exists"),
        ("ATOM37_MASK", "atom37_atom_exists"),
        ("ATOM14_TO_ATOM37", "residx_atom14_to_atom37"),
        ("ATOM37_TO_ATOM14", "residx_atom37_to_atom14"),
    ]:
        assert torch.equal(of_residue(ours, g["in/aatype"]).double(), g[f"out/{theirs}"].double())


def test_other_naming_is_theirs():
    g = golden("renamed_ground_truth")
    seq, exists = g["in/aatype"], g["in/atom14_gt_exists"].bool()
    positions, known = atoms.swap_ambiguous(seq, g["in/atom14_gt_positions"], exists)
    close(positions, g["in/atom14_alt_gt_positions"])
    assert torch.equal(known, g["in/atom14_alt_gt_exists"].bool())
    assert torch.equal(of_residue("ATOM14_AMBIGUOUS", seq), g["in/atom14_atom_is_ambiguous"].bool())


def test_distance_bins_are_theirs():
    g = golden("dgram_from_positions")
    points = g["in/positions"].float()
    close(atoms.distance_bins(points), g["out/prev_pos_15"])
    close(atoms.distance_bins(points, last=50.75, bins=39), g["out/template_39"])
