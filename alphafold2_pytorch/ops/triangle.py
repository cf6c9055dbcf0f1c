"""The update of every edge from the two other edges of its triangles."""

from alphafold2_pytorch.ops.choice import choose, reasons
from alphafold2_pytorch.ops.runtime import Operation, Rows
from alphafold2_pytorch.ops.triangles import TRIANGLES, TriangleWeights
from alphafold2_pytorch.typing import Bool, Float, Tensor

__all__ = ["TriangleUpdate", "TriangleWeights"]

# Kernels for a GPU run by name only, until a page of benchmarks/results shows them right and faster
AUTO = ("pieces", "reference")  # the first that does not refuse


class TriangleUpdate(Operation):
    """The whole triangle multiplication: norms, projections, gates and the sum over residues.

    With x = norm(pair) and [left, right] = (edges of x) * sigmoid(gates of x) * mask, the sum is
    p[i, j] = sum over k of left[i, k] * right[j, k] (outgoing, Jumper et al. (2021) Suppl. Alg.
    11), or of left[k, i] * right[k, j] (incoming, Alg. 12); the update is out(norm_out(p)) *
    sigmoid(gate of x). `ValueError` if the backend that `Runtime(triangle=...)` names refuses.
    """

    def __init__(self):
        super().__init__()
        self.rows = Rows()

    def forward(
        self,
        pair: Float[Tensor, "b n n d"],
        mask: Bool[Tensor, "b n n"],
        outgoing: bool,
        weights: TriangleWeights,
        into: Float[Tensor, "b n n d"] | None = None,
    ) -> Float[Tensor, "b n n d"] | None:
        """The update, or None once it has been added to `into`, which may be `pair`."""
        call, named = (pair, mask, outgoing, weights), self.runtime.triangle
        name = choose(TRIANGLES, named, AUTO, *call)
        self.ran(name, pair, lambda: reasons(TRIANGLES, named, AUTO, name, *call))
        return TRIANGLES[name].run(*call, self.rows, into)
