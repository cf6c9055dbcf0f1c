"""The triangle multiplication in PyTorch's products, some features and then some rows at a time."""

import torch
import torch.nn.functional as F
from einops import rearrange

from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.ops.triangles.base import TRIANGLES, layer_norm, sum_with_room
from alphafold2_pytorch.typing import Float, Tensor


@TRIANGLES.register("pieces")
class Pieces:
    """Features are in front where residues are summed over, so that none has to be copied there."""

    @staticmethod
    def refuses(pair, mask, outgoing, weights):
        return None

    @staticmethod
    def run(pair, mask, outgoing, weights, rows):
        w = weights
        dim, hidden = w.out_weight.shape
        x = layer_norm(pair, w.norm_weight, w.norm_bias)

        def multiply(start: int, stop: int) -> Tensor:  # some features, each on its own
            edges = features_first(w.edges_weight, w.edges_bias, x, start, stop)
            gates = features_first(w.gates_weight, w.gates_bias, x, start, stop)
            left, right = sigmoid_gate(edges, gates).mul_(mask[:, None]).chunk(2, dim=1)
            return sum_with_room(left, right) if outgoing else sum_with_room(left.mT, right.mT)

        def update(x: Tensor, product: Tensor) -> Tensor:
            found = layer_norm(product, w.norm_out_weight, w.norm_out_bias)
            gate = F.linear(x, w.gate_weight, w.gate_bias)
            return sigmoid_gate(F.linear(found, w.out_weight, w.out_bias), gate)

        bytes_each = 6 * x[..., 0].numel() * x.element_size()
        product = rearrange(rows.chunked(multiply, hidden, bytes_each, 1), "b d i j -> b i j d")
        return rows(update, x, 2 + 2 * hidden / dim, product)


def features_first(
    weight: Float[Tensor, "two_h d"],
    bias: Float[Tensor, " two_h"],
    x: Float[Tensor, "b i j d"],
    start: int,
    stop: int,
) -> Float[Tensor, "b part i j"]:
    """A linear layer of two sides, from `start` to `stop` of each, its features in front."""
    weight, bias = (
        each.unflatten(0, (2, -1))[:, start:stop].flatten(0, 1) for each in (weight, bias)
    )
    columns = x.flatten(1, 2).mT
    found = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), columns)
    return found.unflatten(2, x.shape[1:3])
