"""Quaternions (w, x, y, z) and rotation matrices; gradients are finite everywhere."""

import torch

from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.typing import Float, Tensor


def quaternion_to_rotation(quaternion: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    """The rotation of a quaternion of any length; no rotation for the zero quaternion."""
    w, x, y, z = quaternion.unbind(-1)
    tiny = torch.finfo(quaternion.dtype).tiny
    twice = 2 / (quaternion * quaternion).sum(-1).clamp(min=tiny)
    rows = (
        1 - twice * (y * y + z * z), twice * (x * y - w * z), twice * (x * z + w * y),
        twice * (x * y + w * z), 1 - twice * (x * x + z * z), twice * (y * z - w * x),
        twice * (x * z - w * y), twice * (y * z + w * x), 1 - twice * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def rotation_to_quaternion(rotation: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 4"]:
    """The unit quaternion of a rotation matrix; of its two signs, the largest entry is positive."""
    r = rotation
    xx, yy, zz = r.diagonal(dim1=-2, dim2=-1).unbind(-1)
    wx, wy, wz = (
        r[..., 2, 1] - r[..., 1, 2],
        r[..., 0, 2] - r[..., 2, 0],
        r[..., 1, 0] - r[..., 0, 1],
    )
    xy, xz, yz = (
        r[..., 0, 1] + r[..., 1, 0],
        r[..., 0, 2] + r[..., 2, 0],
        r[..., 1, 2] + r[..., 2, 1],
    )
    # 4 q q^T: every row is the quaternion times one of its entries; the largest is the safe one.
    squares = torch.stack(
        [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1
    )
    sw, sx, sy, sz = squares.unbind(-1)
    outer = torch.stack(
        [sw, wx, wy, wz, wx, sx, xy, xz, wy, xy, sy, yz, wz, xz, yz, sz], -1
    ).unflatten(-1, (4, 4))
    best = squares.argmax(-1)[..., None, None]
    row = torch.take_along_dim(outer, best, dim=-2)[..., 0, :]
    return row / torch.linalg.vector_norm(row, dim=-1, keepdim=True)


def quaternion_multiply(
    left: Float[Tensor, "*n 4"], right: Float[Tensor, "*n 4"]
) -> Float[Tensor, "*n 4"]:
    """The quaternion of the rotation that turns by `right`, then by `left`."""
    w, v = left[..., :1], left[..., 1:]
    w2, v2 = right[..., :1], right[..., 1:]
    real = w * w2 - (v * v2).sum(-1, keepdim=True)
    return torch.cat([real, w * v2 + w2 * v + torch.linalg.cross(v, v2)], -1)


def small_update(vector: Float[Tensor, "*n 6"]) -> Rigid:
    """A motion from a layer's output: the quaternion (1, b, c, d), normalised, then a translation.

    Zeros are no motion. `frame.compose(small_update(vector))` moves in the frame's own axes, with
    the translation in the frame's unit. Jumper et al. (2021) Suppl. Alg. 23.
    """
    one = torch.ones_like(vector[..., :1])
    rotation = quaternion_to_rotation(torch.cat([one, vector[..., :3]], -1))
    return Rigid(rotation, vector[..., 3:])


def rotation_about_x(sin_cos: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 3 3"]:
    """Turn about the x axis by an angle given as (sin, cos), from y towards z.

    Jumper et al. (2021) Suppl. Alg. 25; `sin_cos` must have length 1, which is not checked.
    """
    sin, cos = sin_cos.unbind(-1)
    zero, one = torch.zeros_like(sin), torch.ones_like(sin)
    rows = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1)
    return rows.unflatten(-1, (3, 3))
