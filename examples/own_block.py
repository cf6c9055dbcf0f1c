"""A trunk block of your own: one class, one name, and every list of blocks can use it."""

import torch
from torch import nn

from alphafold2_pytorch import Alphafold2, Block, register_block


class Smoothing(nn.Module):
    """Add to each pair the mean over its neighbours along both axes, projected."""

    writes = "pair"  # the stream this update is added to; `x` carries both, with their masks

    def __init__(self, dim: int, reach: int):
        super().__init__()
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, dim)
        self.window = nn.AvgPool2d(2 * reach + 1, stride=1, padding=reach, divisor_override=1)

    def forward(self, x):
        keep = x.pair_mask[..., None].float()
        total = self.sum(self.norm(x.pair) * keep)
        return self.out(total / self.sum(keep).clamp(min=1))

    def sum(self, grid):
        return self.window(grid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@register_block("smooth")
class Smooth(Block):
    """Its children are its updates, in order. `reach`: neighbours on each side."""

    def __init__(self, dim: int, reach: int = 1):
        super().__init__()
        self.smoothing = Smoothing(dim, reach)


def main() -> None:
    torch.manual_seed(0)
    model = Alphafold2(
        dim=32,
        heads=4,
        dim_head=8,
        custom_block_types=("smooth", "self", "smooth", "cross"),
        options={"smooth": {"reach": 2}},
        reversible=True,  # works with any list of updates
    )
    seq, msa = torch.randint(0, 21, (1, 48)), torch.randint(0, 21, (1, 5, 40))
    distogram = model(seq, msa)
    distogram.logsumexp(-1).mean().backward()
    slope = model.trunk.blocks[0].smoothing.out.weight.grad
    print(f"distogram {tuple(distogram.shape)}; the block's weights get a gradient: {slope.any()}")


if __name__ == "__main__":
    main()
