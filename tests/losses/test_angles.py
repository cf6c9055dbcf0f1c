"""The angles between residues, against loops that take another way."""

import numpy as np
import pytest
import torch
from kit import real_chain

from alphafold2_pytorch.geometry.atoms import cbeta_or_placed
from alphafold2_pytorch.losses.angles import (
    angle_bins,
    angle_loss,
    pair_omega,
    pair_phi,
    pair_theta,
)


@pytest.fixture(scope="module")
def atoms():
    """N, CA and C-beta of part of a real chain, n 3 in float64."""
    truth = real_chain(30).targets
    positions = truth.positions.double()
    cb, known = cbeta_or_placed(truth.seq, positions, truth.atom_mask)
    assert known.all()
    return positions[0, :, 0], positions[0, :, 1], cb[0]


def slow_planar(a, b, c):
    left, right = a - b, c - b
    cos = left @ right / np.linalg.norm(left) / np.linalg.norm(right)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))


def slow_dihedral(a, b, c, d):
    """The angle between the arms as seen along b-c, clockwise from the nearer one."""
    axis = (c - b) / np.linalg.norm(c - b)
    near, far = (each - (each @ axis) * axis for each in (a - b, d - c))
    cos = near @ far / np.linalg.norm(near) / np.linalg.norm(far)
    sign = np.sign(np.linalg.det(np.stack([near, far, axis])))
    return sign * np.degrees(np.arccos(np.clip(cos, -1, 1)))


def test_angles_of_a_real_chain_equal_a_loop(atoms):
    n, ca, cb = (each.numpy() for each in atoms)
    found = [pair_theta(*atoms), pair_phi(*atoms[1:]), pair_omega(*atoms[1:])]
    for i in range(len(n)):
        for j in range(len(n)):
            if i != j:
                wanted = (
                    slow_dihedral(n[i], ca[i], cb[i], cb[j]),
                    slow_planar(ca[i], cb[i], cb[j]),
                    slow_dihedral(ca[i], cb[i], cb[j], ca[j]),
                )
                np.testing.assert_allclose([each[i, j] for each in found], wanted, atol=1e-4)


def test_only_omega_is_symmetric(atoms):
    theta, phi, omega = pair_theta(*atoms), pair_phi(*atoms[1:]), pair_omega(*atoms[1:])
    torch.testing.assert_close(omega, omega.mT)
    assert (theta - theta.mT).abs().max() > 10 and (phi - phi.mT).abs().max() > 10


def test_known_geometry():
    """Two residues whose C-beta atoms are joined along z; the arms of the second turn by 90."""
    n = torch.tensor([[1.0, 1.0, -1.0], [9.0, 9.0, 9.0]], dtype=torch.float64)
    ca = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 5.0]], dtype=torch.float64)
    cb = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]], dtype=torch.float64)
    assert pair_phi(ca, cb)[0, 1] == pytest.approx(90)
    # IUPAC: clockwise, seen along the bond from the front, is positive
    assert pair_omega(ca, cb)[0, 1] == pytest.approx(90)
    mirrored = torch.tensor([1.0, 1.0, -1.0])
    assert pair_omega(ca * mirrored, cb * mirrored)[0, 1] == pytest.approx(-90)
    assert pair_theta(n, ca, cb)[0, 1] == pytest.approx(
        slow_dihedral(*(each.numpy() for each in (n[0], ca[0], cb[0], cb[1])))
    )


def test_bins_are_fifteen_degrees_and_the_first_means_far():
    near = torch.tensor([[0.0, 0, 0], [19.9, 0, 0]])
    far = torch.tensor([[0.0, 0, 0], [20.1, 0, 0]])
    for angle, lowest, wanted in (
        (-180.0, -180.0, 1),
        (-165.1, -180.0, 1),
        (-164.9, -180.0, 2),
        (0.1, -180.0, 13),
        (180.0, -180.0, 24),
        (0.0, 0.0, 1),
        (15.1, 0.0, 2),
        (180.0, 0.0, 12),
    ):
        assert angle_bins(torch.full((2, 2), angle), near, lowest)[0, 1] == wanted
        assert angle_bins(torch.full((2, 2), angle), far, lowest)[0, 1] == 0


def test_the_loss_is_the_mean_over_known_pairs_and_reads_no_other():
    logits, bins = torch.randn(1, 4, 4, 13, requires_grad=True), torch.randint(0, 13, (1, 4, 4))
    known = torch.rand(1, 4, 4) < 0.5
    pairs = [(i, j) for i in range(4) for j in range(4) if i != j and known[0, i, j]]
    wanted = -sum(logits[0, i, j].log_softmax(-1)[bins[0, i, j]] for i, j in pairs) / len(pairs)
    loss = angle_loss(logits, bins, known)
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    counted = known & ~torch.eye(4, dtype=torch.bool)
    assert not logits.grad[~counted].any() and logits.grad[counted].any(-1).all()
    assert angle_loss(logits, bins, known & False) == 0
