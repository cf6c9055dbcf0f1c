"""The triangle multiplication in PyTorch's products, some rows at a time."""

from alphafold2_pytorch.ops.batched import products
from alphafold2_pytorch.ops.gate import sigmoid_gate
from alphafold2_pytorch.ops.linear import linear, linear_first
from alphafold2_pytorch.ops.runtime import elements, stack
from alphafold2_pytorch.ops.triangles.base import TRIANGLES, TriangleWeights, layer_norm
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
        named, (dim, hidden) = rows.runtime.linear, weights.out_weight.shape

        def edges(pair: Tensor, mask: Bool[Tensor, "b i j"], *given: Tensor) -> Tensor:
            w = TriangleWeights(*given)
            x = elements(layer_norm(pair, w.norm_weight, w.norm_bias).flatten(1, 2))
            found, gates = (
                stack([linear_first(each, *layer, named) for each in x])
                for layer in ((w.edges_weight, w.edges_bias), (w.gates_weight, w.gates_bias))
            )
            found = sigmoid_gate(found, gates) * mask.flatten(1)[:, None]
            return found.unflatten(2, mask.shape[1:])

        def update(pair: Tensor, product: Float[Tensor, "b i h j"], *given: Tensor) -> Tensor:
            w = TriangleWeights(*given)
            x = layer_norm(pair, w.norm_weight, w.norm_bias)
            found = features_last(product.transpose(1, 2))
            found = layer_norm(found, w.norm_out_weight, w.norm_out_bias)
            gate = linear(x, w.gate_weight, w.gate_bias, named=named)
            return sigmoid_gate(linear(found, w.out_weight, w.out_bias, named=named), gate)

        both = rows(edges, pair, 1 + 6 * hidden / dim, mask, whole=weights, join=2)
        product = products(both, not outgoing, named).transpose(1, 2)
        growth = 3 + 2 * hidden / dim
        return rows(update, pair, growth, product, whole=weights, into=into)


def features_last(x: Float[Tensor, "b d i j"]) -> Float[Tensor, "b i j d"]:
    """In memory too, each of the batch as one matrix: the only transposition that is fast."""
    found = stack([each.t().contiguous() for each in elements(x.flatten(2))])
    return found.unflatten(1, x.shape[2:])
