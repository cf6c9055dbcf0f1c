"""The feed-forward update of every entry on its own."""

from torch import nn

from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.typing import Float, Tensor


class Transition(nn.Module):
    """Norm, widen by `widen`, ReLU, back; Jumper et al. (2021) Suppl. Alg. 9 and 15."""

    def __init__(self, dim: int, widen: int = 4, dropout: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.wide = linear(dim, dim * widen, role="relu")
        self.out = linear(dim * widen, dim, role="final")
        self.dropout = nn.Dropout(dropout)
        self.widen, self.rows = widen, Rows()

    def forward(
        self, x: Float[Tensor, "b i j d"], into: Float[Tensor, "b i j d"] | None = None
    ) -> Float[Tensor, "b i j d"] | None:
        """The update, or None once it has been added to `into`."""
        return self.rows(self._update, x, 2 * self.widen, reads=(self,), last=self.out, into=into)

    def _update(self, x: Tensor) -> Tensor:
        return self.dropout(self.wide(self.norm(x), relu=True))
