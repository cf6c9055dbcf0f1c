"""The mean over alignment rows of an outer product, projected."""

import math

import torch
from einops import rearrange

from alphafold2_pytorch.ops.batched import batched
from alphafold2_pytorch.ops.linear import linear
from alphafold2_pytorch.ops.runtime import Operation, stack
from alphafold2_pytorch.typing import Bool, Float, Tensor


class OuterProduct(Operation):
    """project(sum over rows of left[s, i] x right[s, j]) / (rows that cover i and j + eps).

    Jumper et al. (2021) Suppl. Alg. 10 with the projection taken before the division, which is
    DeepMind's order: where no row covers a pair its bias is divided by `eps` too.
    """

    def forward(
        self,
        left: Float[Tensor, "b s n d"],
        right: Float[Tensor, "b s n e"],
        keep: Bool[Tensor, "b s n"],
        weight: Float[Tensor, "o de"],
        bias: Float[Tensor, " o"],
        eps: float = 1e-3,
        into: Float[Tensor, "b n n o"] | None = None,
    ) -> Float[Tensor, "b n n o"] | None:
        """With `into`, the result is added to that."""
        b, s, n, d = left.shape
        e = right.shape[-1]
        # In float16 a sum over thousands of rows has no room. A power of two loses no digits.
        scale = 2.0 ** -math.ceil(math.log2(max(s, 1)) / 2)
        bias, rows_in_common = bias * scale**2, (in_common(keep) + eps) * scale**2
        project_rows = s < d  # before they are summed, which is less work than projecting their sum
        orders = ("projected, then summed", "summed, then projected")
        ran, left_out = orders if project_rows else orders[::-1]
        self.ran(ran, left, lambda: {left_out: f"more work with {s} rows of {d} features"})
        named = self.runtime.linear
        if project_rows:
            left, right = left * scale, right * scale
            right = torch.einsum("bsje,ode->bsdjo", right, weight.unflatten(1, (d, e)))
            columns = right.reshape(b, s * d, -1)

            def project_first(start: int, stop: int) -> Tensor:
                part = left[:, :, start:stop].transpose(1, 2).flatten(2)
                total = batched(part, columns, named).unflatten(2, (n, -1)) + bias
                return total / rows_in_common[:, start:stop, :, None]

            return self.added(
                project_first, n, 2 * columns[:, 0].numel() * left.element_size(), 1, into
            )
        rows, columns = (  # copies, which may be changed, and no others beside them
            x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).mul_(scale)
            for x in (left, right)
        )
        columns = columns.flatten(1, 2)

        def run(start: int, stop: int) -> Tensor:
            part = rows[:, start:stop].flatten(1, 2)
            pairs = zip(part, columns, strict=True)
            outer = stack([linear(mine, theirs, named=named) for mine, theirs in pairs])
            outer = rearrange(outer, "b (i d) (j e) -> b i j (d e)", d=d, e=e)
            return linear(outer, weight, bias, named=named) / rows_in_common[:, start:stop, :, None]

        return self.added(run, n, 3 * b * d * n * e * left.element_size(), 1, into)


def in_common(keep: Bool[Tensor, "b s n"]) -> Float[Tensor, "b n n"]:
    """How many rows have both columns, in float32: bfloat16 counts to 256."""
    with torch.autocast(keep.device.type, enabled=False):
        count = keep.float()
        return torch.bmm(count.mT, count)
