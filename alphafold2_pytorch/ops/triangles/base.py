"""What a backend of the triangle multiplication has to offer."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F

from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.registry import Registry
from alphafold2_pytorch.typing import Bool, Float, Tensor


class TriangleWeights(NamedTuple):
    """The parameters of one triangle multiplication, `d` features wide and `h` inside.

    Of `two_h`, the first half makes left edges and the second right ones.
    """

    norm_weight: Float[Tensor, " d"]
    norm_bias: Float[Tensor, " d"]
    edges_weight: Float[Tensor, "two_h d"]
    edges_bias: Float[Tensor, " two_h"]
    gates_weight: Float[Tensor, "two_h d"]
    gates_bias: Float[Tensor, " two_h"]
    norm_out_weight: Float[Tensor, " h"]
    norm_out_bias: Float[Tensor, " h"]
    out_weight: Float[Tensor, "d h"]
    out_bias: Float[Tensor, " d"]
    gate_weight: Float[Tensor, "d d"]
    gate_bias: Float[Tensor, " d"]


class TriangleBackend(Protocol):
    """`refuses` says in words why it cannot run a call, or None; `run` computes.

    `rows` (and its `chunked`) cuts temporaries of whoever makes large ones. With `into`, which may
    be `pair`, the update is added to that and not given out.
    """

    @staticmethod
    def refuses(
        pair: Tensor, mask: Tensor, outgoing: bool, weights: TriangleWeights
    ) -> str | None: ...

    @staticmethod
    def run(
        pair: Float[Tensor, "b n n d"],
        mask: Bool[Tensor, "b n n"],
        outgoing: bool,
        weights: TriangleWeights,
        rows: Rows,
        into: Float[Tensor, "b n n d"] | None = None,
    ) -> Float[Tensor, "b n n d"] | None: ...


TRIANGLES: Registry[TriangleBackend] = Registry("triangle backend")


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Over the last axis, computed in the wider of both dtypes; the result has the weights'."""
    wide = torch.promote_types(x.dtype, weight.dtype)
    return F.layer_norm(x.to(wide), weight.shape, weight.to(wide), bias.to(wide)).to(weight.dtype)


def sum_with_room(left: Float[Tensor, "*b i k"], right: Float[Tensor, "*b j k"]) -> Tensor:
    """left right^T; in float32 where it came in float16, which has no room for the sum."""
    if left.dtype != torch.float16:
        return torch.matmul(left, right.mT)
    with torch.autocast(left.device.type, enabled=False):
        return torch.matmul(left.float(), right.float().mT)


def computed_in(x: Tensor) -> torch.dtype:
    """The dtype of products with `x`, which under autocast is not its own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
