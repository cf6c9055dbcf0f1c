"""The triangle multiplication as its definition: what every other backend is tested against."""

import torch.nn.functional as F

from alphafold2_pytorch.ops.runtime import added
from alphafold2_pytorch.ops.triangles.base import TRIANGLES, layer_norm, sum_with_room


@TRIANGLES.register("reference")
class Reference:
    """Jumper et al. (2021) Suppl. Alg. 11 (outgoing) and 12 (incoming), line by line."""

    @staticmethod
    def refuses(pair, mask, outgoing, weights):
        return None

    @staticmethod
    def run(pair, mask, outgoing, weights, rows, into=None):
        w = weights
        x = layer_norm(pair, w.norm_weight, w.norm_bias)
        gates = F.linear(x, w.gates_weight, w.gates_bias).sigmoid()
        edges = F.linear(x, w.edges_weight, w.edges_bias) * gates * mask[..., None]
        left, right = edges.movedim(-1, 1).chunk(2, 1)  # b h n n
        product = sum_with_room(left, right) if outgoing else sum_with_room(left.mT, right.mT)
        found = layer_norm(product.movedim(1, -1), w.norm_out_weight, w.norm_out_bias)
        gate = F.linear(x, w.gate_weight, w.gate_bias).sigmoid()
        return added(F.linear(found, w.out_weight, w.out_bias) * gate, into)
