"""What an attention kernel has to offer."""

from typing import Protocol

import torch

from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.typing import Bool, Float, Tensor


class Backend(Protocol):
    """A kernel: `refuses` says in words why it cannot run, or None; `run` computes.

    Where `mask` keeps no key of a row, its output is zero. The value that stands for minus infinity
    exists only in these files.
    """

    @staticmethod
    def refuses(q: Tensor) -> str | None: ...

    @staticmethod
    def run(
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h m d"],
        v: Float[Tensor, "b r h m d"],
        bias: Float[Tensor, "b h n m"] | None,
        mask: Bool[Tensor, "b r m"] | None,
        dropout: float,
    ) -> Float[Tensor, "b r h n d"]: ...


BACKENDS: Registry[Backend] = Registry("attention backend")


def zero_empty(out: Float[Tensor, "b r h n d"], mask: Bool[Tensor, "b r m"] | None) -> Tensor:
    """The output with zeros for rows without a key."""
    return out if mask is None else out * mask.any(-1)[:, :, None, None, None]


def joint_bias(
    bias: Float[Tensor, "b h n m"] | None, mask: Bool[Tensor, "b r m"] | None, like: Tensor
) -> Tensor | None:
    """Bias and mask as one addend of the logits, broadcastable to `b r h n m`."""
    joint = None if bias is None else bias[:, None]
    if mask is None:
        return joint
    low = torch.finfo(like.dtype).min / 2  # half, so that adding a bias cannot overflow
    keys = like.new_zeros(mask.shape).masked_fill(~mask, low)[:, :, None, None]
    return keys if joint is None else keys + joint
