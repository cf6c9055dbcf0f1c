"""What an attention kernel has to offer."""

from typing import Protocol

import torch

from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.typing import Bool, Float, Tensor

HALF = (torch.float16, torch.bfloat16)


class Backend(Protocol):
    """A kernel: `refuses` says in words why it cannot run a call, or None; `run` computes it.

    Both take the whole call, so a refusal may be for its device, dtype, widths, lengths, bias,
    dropout, or for gradients that are wanted. Where `mask` keeps no key of a row, the output is
    zero. The value that stands for minus infinity exists only in these files.
    """

    @staticmethod
    def refuses(
        q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None, dropout: float
    ) -> str | None: ...

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


def no_cuda_kernel(q: Tensor, dropout: float, dtypes: tuple[torch.dtype, ...]) -> str | None:
    """What most kernels for a GPU refuse."""
    if q.device.type != "cuda":
        return "it runs on CUDA only"
    if dropout:
        return "it has no dropout"
    if q.dtype not in dtypes:
        return f"it has no {q.dtype}"
    return None


def zero_empty(out: Float[Tensor, "b r h n d"], mask: Bool[Tensor, "b r m"] | None) -> Tensor:
    """The output with zeros for rows without a key."""
    return out if mask is None else out * mask.any(-1)[:, :, None, None, None]


def lowest(dtype: torch.dtype) -> float:
    """Stands for minus infinity; half of the least number, so that adding a bias cannot overflow."""
    return torch.finfo(dtype).min / 2


def joint_bias(
    bias: Float[Tensor, "b h n m"] | None, mask: Bool[Tensor, "b r m"] | None, like: Tensor
) -> Tensor | None:
    """Bias and mask as one addend of the logits, broadcastable to `b r h n m`."""
    joint = None if bias is None else bias[:, None]
    if mask is None:
        return joint
    keys = key_bias(mask, like)
    return keys if joint is None else keys + joint


def key_bias(mask: Bool[Tensor, "b r m"], like: Tensor) -> Float[Tensor, "b r 1 1 m"]:
    """The mask as an addend of the logits."""
    return like.new_zeros(mask.shape).masked_fill(~mask, lowest(like.dtype))[:, :, None, None]
