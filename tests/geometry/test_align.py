import numpy as np
import torch

from alphafold2_pytorch.geometry.align import best_rotation, rmsd, superpose
from alphafold2_pytorch.geometry.rigid import Rigid


def points(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, 3, dtype=torch.float64, generator=g) * 5


def rotation(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(*shape, 3, 3, dtype=torch.float64, generator=g))[0]
    return q * torch.linalg.det(q)[..., None, None]


def test_a_moved_copy_is_laid_back_exactly():
    fixed = points(4, 12)
    motion = Rigid(rotation(4), points(4, seed=1))
    found = superpose(motion.inverse().unsqueeze(-1).apply(fixed), fixed, torch.ones(4, 12))
    torch.testing.assert_close(found.rot, motion.rot)
    torch.testing.assert_close(found.trans, motion.trans)


def test_no_small_turn_or_shift_does_better():
    fixed, moving = points(9), points(9, seed=1)
    weights = torch.rand(9, dtype=torch.float64)
    found = superpose(moving, fixed, weights)

    def cost(rot, trans):
        return float((weights * (moving @ rot.T + trans - fixed).square().sum(-1)).sum())

    best = cost(found.rot, found.trans)
    for seed in range(30):
        g = torch.Generator().manual_seed(seed)
        skew = torch.randn(3, 3, dtype=torch.float64, generator=g) * 0.02
        turn = torch.linalg.matrix_exp(skew - skew.T)
        shift = torch.randn(3, dtype=torch.float64, generator=g) * 0.02
        assert cost(turn @ found.rot, found.trans) > best
        assert cost(found.rot, found.trans + shift) > best


def test_the_rotation_is_proper_also_for_mirror_images_and_flat_or_coincident_points():
    fixed = points(8)
    flat = fixed * torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    for moving, goal in ((-fixed, fixed), (flat, -flat), (flat * 0, fixed), (fixed, fixed * 0)):
        rot = superpose(moving, goal, torch.ones(8)).rot
        torch.testing.assert_close(torch.linalg.det(rot), torch.ones((), dtype=torch.float64))
        torch.testing.assert_close(rot @ rot.T, torch.eye(3, dtype=torch.float64))
    assert rmsd(-fixed, fixed, torch.ones(8, dtype=torch.bool)) > 1
    torch.testing.assert_close(torch.linalg.det(best_rotation(-torch.eye(3))), torch.ones(()))


def test_rmsd_is_that_of_the_residual_singular_values():
    moving, fixed = points(7), points(7, seed=1)
    a, b = moving - moving.mean(0), fixed - fixed.mean(0)
    u, s, vt = np.linalg.svd((a.T @ b).numpy())
    s[2] *= np.sign(np.linalg.det(u @ vt))
    wanted = np.sqrt((float(a.square().sum() + b.square().sum()) - 2 * s.sum()) / 7)
    np.testing.assert_allclose(float(rmsd(moving, fixed, torch.ones(7, dtype=torch.bool))), wanted)


def test_masked_points_are_not_read_and_none_known_gives_nan():
    moving, fixed = points(2, 10), points(2, 10, seed=1)
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[0, 6:] = False
    dirty = moving.masked_fill(~mask[..., None], float("nan"))
    torch.testing.assert_close(
        rmsd(dirty, fixed, mask),
        torch.stack(
            [rmsd(moving[0, :6], fixed[0, :6], mask[0, :6]), rmsd(moving[1], fixed[1], mask[1])]
        ),
    )
    assert rmsd(moving, fixed, mask & False).isnan().all()
    assert superpose(moving, fixed, mask & False).rot.isfinite().all()
