from pathlib import Path

import numpy as np
import torch

from alphafold2_pytorch.losses.torsion import torsion_loss

GOLDEN = Path(__file__).parent.parent / "golden"
PI_PERIODIC = {3: [1], 6: [2], 13: [1], 18: [1]}  # D chi2, E chi3, F chi2, Y chi2


def unit(angle):
    return torch.stack([angle.sin(), angle.cos()], dim=-1)


def test_agrees_with_deepmind():
    golden = {k: torch.from_numpy(v) for k, v in np.load(GOLDEN / "structure_losses.npz").items()}
    chi = unit(golden["in/batch/chi_angles"])
    other = chi.clone()
    for residue, angles in PI_PERIODIC.items():
        for angle in angles:
            other[golden["in/batch/aatype"] == residue, angle] *= -1
    rest = torch.zeros(len(chi), 3, 2)
    known = torch.cat([rest[..., 0], golden["in/batch/chi_mask"]], dim=1).bool()
    angle, norm = torsion_loss(
        golden["in/value/sidechains/angles_sin_cos"],
        golden["in/value/sidechains/unnormalized_angles_sin_cos"],
        torch.cat([rest, chi], dim=1),
        torch.cat([rest, other], dim=1),
        known,
        golden["in/batch/seq_mask"].bool(),
    )
    assert angle.shape == norm.shape == (3,)
    torch.testing.assert_close(angle.mean(), golden["out/supervised_chi/chi_loss"])
    torch.testing.assert_close(norm.mean(), golden["out/supervised_chi/angle_norm_loss"])


def test_the_nearer_of_two_symmetric_angles_counts():
    true = unit(torch.zeros(1, 7, dtype=torch.float64))
    torsions = unit(torch.full((1, 7), torch.pi - 0.1, dtype=torch.float64))
    known, mask = torch.ones(1, 7, dtype=torch.bool), torch.ones(1, dtype=torch.bool)
    far, _ = torsion_loss(torsions, torsions, true, true, known, mask)
    near, norm = torsion_loss(torsions, torsions, true, -true, known, mask)
    chord = 2 * torch.sin(torch.tensor(0.05, dtype=torch.float64))
    torch.testing.assert_close(near, chord**2)
    assert far > 3.9 and norm < 1e-6


def test_unknown_angles_and_residues_are_not_read_even_if_they_are_nan():
    g = torch.Generator().manual_seed(0)
    torsions, raw, true = (torch.randn(2, 4, 7, 2, generator=g) for _ in range(3))
    known = torch.rand(2, 4, 7, generator=g) < 0.5
    mask = known.any(-1)
    dirty = true.masked_fill(~known[..., None], float("nan"))
    torsions.requires_grad_()
    losses = torsion_loss(torsions, raw, dirty, dirty, known, mask)
    torch.testing.assert_close(losses, torsion_loss(torsions, raw, true, true, known, mask))
    losses[0].sum().backward()
    assert torsions.grad.isfinite().all() and not torsions.grad[~known].any()


def test_nothing_known_is_zero_with_a_finite_gradient():
    raw = torch.zeros(3, 7, 2, requires_grad=True)
    nothing = torch.zeros(3, 7, dtype=torch.bool)
    angle, norm = torsion_loss(raw, raw, raw.detach(), raw.detach(), nothing, nothing[:, 0])
    (angle + norm).backward()
    assert angle == norm == 0 and not raw.grad.any()
