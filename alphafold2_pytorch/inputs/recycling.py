"""What the last cycle found becomes part of this cycle's input."""

import torch
from torch import nn

from alphafold2_pytorch.geometry.atoms import distance_bins
from alphafold2_pytorch.layers.init import linear
from alphafold2_pytorch.ops.runtime import Rows
from alphafold2_pytorch.streams import Recycled
from alphafold2_pytorch.typing import Bool, Float, Tensor


class RecyclingEmbedding(nn.Module):
    """Norms of the last pair representation and MSA row, and binned C-beta distances.

    Jumper et al. (2021) Suppl. Alg. 32. `distances` is False for a model without coordinates.
    """

    def __init__(self, dim: int, dim_msa: int, distances: bool, bins: int = 15):
        super().__init__()
        self.norm_pair, self.norm_msa = nn.LayerNorm(dim), nn.LayerNorm(dim_msa)
        self.bins, self.rows = bins, Rows()
        self.distances = linear(bins, dim) if distances else None

    def onto_pair(
        self, pair: Float[Tensor, "b n n d"], recycled: Recycled
    ) -> Float[Tensor, "b n n d"]:
        """A new pair representation, with the last one, normed, and its distances added."""
        binned = None
        if self.distances is not None and recycled.cbeta is not None:
            binned = distance_bins(recycled.cbeta, first=3.25, last=20.75, bins=self.bins)

        def rows(pair: Tensor, last: Tensor, binned: Tensor | None) -> Tensor:
            update = self.norm_pair(last)
            if self.distances is not None and binned is not None:
                update = update + self.distances(binned.to(update.dtype))
            return pair + update

        return self.rows(rows, pair, 3, recycled.take_pair(), binned, reads=(self,))

    def onto_first_row(
        self, msa: Float[Tensor, "b s m d_msa"], recycled: Recycled
    ) -> Float[Tensor, "b s m d_msa"]:
        """A new MSA, with the last first row, normed, added to its first row."""
        if recycled.msa_first is None:
            return msa.clone()
        first = msa[:, :1] + self.norm_msa(recycled.msa_first)[:, None]
        return torch.cat([first, msa[:, 1:]], dim=1)


def change(
    before: Float[Tensor, "b n a 3"], after: Float[Tensor, "b n a 3"], mask: Bool[Tensor, "b n"]
) -> float:
    """The largest of the chains' root mean square changes of CA distances, angstrom."""
    pairs = mask[:, :, None] & mask[:, None]
    old, new = (torch.cdist(atoms[:, :, 1], atoms[:, :, 1]) for atoms in (before, after))
    squares = ((new - old).square() * pairs).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)
    return float(squares.sqrt().max())
