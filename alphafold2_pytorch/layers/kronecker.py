"""A grid as the means of its rows and columns, and back (Gao et al. 2020)."""

from alphafold2_pytorch.typing import Bool, Float, Tensor


def row_means(
    x: Float[Tensor, "b i j d"], mask: Bool[Tensor, "b i j"]
) -> tuple[Float[Tensor, "b i d"], Bool[Tensor, "b i"]]:
    """The mean of each row over what `mask` keeps, zero where it keeps nothing; where it keeps any.

    Columns are the rows of `x.transpose(1, 2)`.
    """
    count = mask.sum(2)
    total = x.masked_fill(~mask[..., None], 0.0).sum(2)
    return total / count.clamp(min=1)[..., None], count > 0


def outer_sum(
    rows: Float[Tensor, "b i d"], columns: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j d"]:
    """Give each entry of a grid its row's and its column's part."""
    return rows[:, :, None] + columns[:, None]
