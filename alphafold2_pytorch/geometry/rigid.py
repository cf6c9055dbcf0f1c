"""Rigid motions: a rotation, then a translation."""

from dataclasses import dataclass

import torch

from alphafold2_pytorch.typing import Float, Tensor


@dataclass(frozen=True)
class Rigid:
    """x -> rot x + trans; `trans` in angstrom, float32 or wider. Quaternions are functions."""

    rot: Float[Tensor, "*n 3 3"]
    trans: Float[Tensor, "*n 3"]

    @classmethod
    def identity(cls, shape: tuple[int, ...], like: Tensor) -> "Rigid":
        """No motion, on the device of `like`, float32 or wider."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        rot = torch.eye(3, device=like.device, dtype=dtype).expand(*shape, 3, 3)
        return cls(rot, torch.zeros(*shape, 3, device=like.device, dtype=dtype))

    @classmethod
    def from_three_points(
        cls,
        on_negative_x: Float[Tensor, "*n 3"],
        origin: Float[Tensor, "*n 3"],
        in_xy_plane: Float[Tensor, "*n 3"],
        eps: float = 1e-8,
    ) -> "Rigid":
        """Frames from three points each (Gram-Schmidt), finite also where points coincide.

        Jumper et al. (2021) Suppl. Alg. 21. For the backbone call it with C, CA, N of which C lies
        on the positive x axis: see `alphafold2_pytorch.geometry.atoms.backbone_frames`.
        """
        x = origin - on_negative_x
        x = x / torch.sqrt((x * x).sum(-1, keepdim=True) + eps)
        y = in_xy_plane - origin
        y = y - (y * x).sum(-1, keepdim=True) * x
        y = y / torch.sqrt((y * y).sum(-1, keepdim=True) + eps)
        return cls(torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1), origin)

    @property
    def shape(self) -> torch.Size:
        return self.trans.shape[:-1]

    def __getitem__(self, index) -> "Rigid":
        """Index the leading dimensions; end an index that reaches them all with no ellipsis."""
        return Rigid(self.rot[index], self.trans[index])

    def unsqueeze(self, dim: int) -> "Rigid":
        """A new leading dimension; `dim` counts leading dimensions and may be negative."""
        dim = dim if dim >= 0 else dim + len(self.shape) + 1
        return Rigid(self.rot.unsqueeze(dim), self.trans.unsqueeze(dim))

    def compose(self, first: "Rigid") -> "Rigid":
        """The motion that applies `first`, then this one."""
        return Rigid(self.rot @ first.rot, self.apply(first.trans))

    def apply(self, points: Float[Tensor, "*p 3"]) -> Float[Tensor, "*q 3"]:
        """Move points; leading dimensions broadcast."""
        return rotate(self.rot, points) + self.trans

    def apply_inverse(self, points: Float[Tensor, "*p 3"]) -> Float[Tensor, "*q 3"]:
        """Undo the motion on points; leading dimensions broadcast."""
        return rotate(self.rot.mT, points - self.trans)

    def inverse(self) -> "Rigid":
        """The motion that undoes this one."""
        return Rigid(self.rot.mT, -rotate(self.rot.mT, self.trans))

    def scale(self, factor: float) -> "Rigid":
        """The same rotation, the translation in another unit."""
        return Rigid(self.rot, self.trans * factor)

    @staticmethod
    def stack(frames: "list[Rigid]", dim: int = 0) -> "Rigid":
        """Join along a new leading dimension (`dim` >= 0)."""
        return Rigid(
            torch.stack([f.rot for f in frames], dim), torch.stack([f.trans for f in frames], dim)
        )


def rotate(rot: Float[Tensor, "*n 3 3"], points: Float[Tensor, "*p 3"]) -> Float[Tensor, "*q 3"]:
    """rot x, written out: on a CPU far faster than a batch of tiny matrix products."""
    x, y, z = points[..., None].unbind(-2)
    return rot[..., 0] * x + rot[..., 1] * y + rot[..., 2] * z
