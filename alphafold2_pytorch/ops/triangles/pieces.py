"""The triangle multiplication in PyTorch's products, some rows at a time."""

from alphafold2_pytorch.ops.batched import products
from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.ops.linear import linear
from alphafold2_pytorch.ops.runtime import stack
from alphafold2_pytorch.ops.triangles.base import TRIANGLES, layer_norm
from alphafold2_pytorch.typing import Bool, Float, Tensor


@TRIANGLES.register("pieces")
class Pieces:
    """Features are in front where residues are summed over; of a piece that stays in the cache they
    are brought there fast. Of the whole there are left and right edges, of which the sum takes a
    place, and the update; with gradients the sum has its own.
    """

    @staticmethod
    def refuses(pair, mask, outgoing, weights):
        return None

    @staticmethod
    def run(pair, mask, outgoing, weights, rows, into=None):
        w, named = weights, rows.runtime.linear
        dim, hidden = w.out_weight.shape

        def edges(pair: Tensor, mask: Bool[Tensor, "b i j"]) -> Float[Tensor, "b two_h i j"]:
            x = layer_norm(pair, w.norm_weight, w.norm_bias)
            gates = linear(x, w.gates_weight, w.gates_bias, named=named)
            found = sigmoid_gate(linear(x, w.edges_weight, w.edges_bias, named=named), gates)
            return features_first(found * mask[..., None])

        def update(pair: Tensor, product: Float[Tensor, "b i h j"]) -> Float[Tensor, "b i j d"]:
            x = layer_norm(pair, w.norm_weight, w.norm_bias)
            found = features_last(product.transpose(1, 2))
            found = layer_norm(found, w.norm_out_weight, w.norm_out_bias)
            gate = linear(x, w.gate_weight, w.gate_bias, named=named)
            return sigmoid_gate(linear(found, w.out_weight, w.out_bias, named=named), gate)

        left, right = rows(edges, pair, 1 + 6 * hidden / dim, mask, join=2).chunk(2, 1)
        product = products(left, right, not outgoing, named)
        return rows(update, pair, 3 + 2 * hidden / dim, product.transpose(1, 2), into=into)


def features_first(x: Float[Tensor, "b i j d"]) -> Float[Tensor, "b d i j"]:
    """In memory too, each of the batch as one matrix: the only transposition that is fast."""
    return stack([each.flatten(0, 1).t().contiguous() for each in x]).unflatten(2, x.shape[1:3])


def features_last(x: Float[Tensor, "b d i j"]) -> Float[Tensor, "b i j d"]:
    """The same the other way."""
    return stack([each.flatten(1).t().contiguous() for each in x]).unflatten(1, x.shape[2:])
