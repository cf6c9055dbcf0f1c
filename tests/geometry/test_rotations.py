import torch

from alphafold2_pytorch.geometry import rotations
from alphafold2_pytorch.geometry.rigid import Rigid


def quaternions(count=50):
    return torch.randn(count, 4, generator=torch.manual_seed(0), dtype=torch.float64)


def test_a_quaternion_of_any_length_is_a_rotation():
    rot = rotations.quaternion_to_rotation(quaternions())
    torch.testing.assert_close(rot @ rot.mT, torch.eye(3).double().expand(50, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rot), torch.ones(50).double())
    torch.testing.assert_close(rot, rotations.quaternion_to_rotation(7 * quaternions()))


def test_rotations_become_quaternions_and_back_also_by_180_degrees():
    half_turns = torch.cat([torch.zeros(4, 1), torch.eye(3), torch.ones(1, 3)][1:], 0)
    half_turns = torch.nn.functional.pad(half_turns, (1, 0)).double()
    rot = rotations.quaternion_to_rotation(torch.cat([quaternions(), half_turns]))
    back = rotations.rotation_to_quaternion(rot)
    torch.testing.assert_close(back.norm(dim=-1), torch.ones(54).double())
    torch.testing.assert_close(rotations.quaternion_to_rotation(back), rot)


def test_quaternion_product_is_the_product_of_rotations():
    left, right = quaternions()[:25], quaternions()[25:]
    both = rotations.quaternion_to_rotation(rotations.quaternion_multiply(left, right))
    apart = [rotations.quaternion_to_rotation(each) for each in (left, right)]
    torch.testing.assert_close(both, apart[0] @ apart[1])


def test_zeros_are_no_motion():
    still = rotations.small_update(torch.zeros(2, 6))
    torch.testing.assert_close(still.rot, torch.eye(3).expand(2, 3, 3))
    assert not still.trans.any()
    same = Rigid.identity((2,), still.trans).compose(still)
    torch.testing.assert_close(same.rot, still.rot)


def test_turning_about_x_moves_y_towards_z():
    angle = torch.tensor(0.3, dtype=torch.float64)
    rot = rotations.rotation_about_x(torch.stack([angle.sin(), angle.cos()]))
    expected = torch.tensor([0.0, angle.cos(), angle.sin()], dtype=torch.float64)
    torch.testing.assert_close(rot @ torch.tensor([0.0, 1, 0]).double(), expected)
    torch.testing.assert_close(rot[:, 0], torch.tensor([1.0, 0, 0]).double())


def test_gradients_are_finite_for_zeros_and_half_turns():
    zero = torch.zeros(4, requires_grad=True)
    rotations.quaternion_to_rotation(zero).sum().backward()
    assert zero.grad.isfinite().all()
    update = torch.zeros(6, requires_grad=True)
    rotations.small_update(update).apply(torch.ones(3)).sum().backward()
    assert update.grad.isfinite().all() and update.grad.any()
    for turn in (torch.eye(3), torch.diag(torch.tensor([1.0, -1, -1]))):
        turn.requires_grad_()
        rotations.rotation_to_quaternion(turn).sum().backward()
        assert turn.grad.isfinite().all()


def test_rotation_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(
        lambda q: rotations.rotation_to_quaternion(rotations.quaternion_to_rotation(q)),
        quaternions(6).requires_grad_(),
    )
