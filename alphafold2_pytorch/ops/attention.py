"""Attention with one pair bias that broadcasts over rows and one key mask."""

from einops import rearrange
from torch import nn

from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.backends.base import zero_empty
from alphafold2_pytorch.ops.backends.reference import softmax_weights
from alphafold2_pytorch.ops.choice import choose, reasons
from alphafold2_pytorch.ops.empty import average_empty
from alphafold2_pytorch.ops.runtime import Operation
from alphafold2_pytorch.typing import Bool, Float, Tensor

# The first that does not refuse, by device. Kernels for a GPU that are not PyTorch's own (and
# flex_attention) run by name only, until a page of benchmarks/results shows them right and faster.
AUTO = {"cpu": ("tiled", "sdpa", "reference")}
AUTO_ELSEWHERE = ("sdpa", "reference")


class Attend(Operation):
    """softmax(q k / sqrt(d) + bias) v over the keys that `mask` keeps; where none, see `empty`.

    `dropout` falls on the attention weights, in training only. `ValueError` if the backend that
    `Runtime(attention=...)` names refuses the input.
    """

    empty = "zero"  # or "average"; written by `set_empty`

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout

    def forward(
        self,
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h m d"],
        v: Float[Tensor, "b r h m d"],
        bias: Float[Tensor, "b h n m"] | None = None,
        mask: Bool[Tensor, "b r m"] | None = None,
    ) -> Float[Tensor, "b r h n d"]:
        dropout = self.dropout if self.training else 0.0
        backend = self._choose(q, k, v, bias, mask, dropout)

        def run(start: int, stop: int) -> Tensor:
            rows = slice(start, stop)
            keep = None if mask is None else mask[:, rows]
            return backend.run(q[:, rows], k[:, rows], v[:, rows], bias, keep, dropout)

        rows = q.shape[1]
        weights_bytes = 2 * (q[:, 0, :, :, 0].numel() * k.shape[3] * q.element_size())
        out = self.chunked(run, rows, weights_bytes, 1)
        if self.empty == "zero" or mask is None:
            return out
        return average_empty(out, v, mask)

    def weights(
        self,
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h m d"],
        bias: Float[Tensor, "b h n m"] | None = None,
        mask: Bool[Tensor, "b r m"] | None = None,
    ) -> Float[Tensor, "b r h n m"]:
        """By what `forward` multiplies the values, dropout left out.

        For looking at: all are in memory at once, so ask for few rows.
        """
        weights = softmax_weights(q, k, bias, mask)
        return zero_empty(weights, mask) if self.empty == "zero" else weights

    def _choose(self, q: Tensor, *rest):
        named, auto = self.runtime.attention, AUTO.get(q.device.type, AUTO_ELSEWHERE)
        name = choose(BACKENDS, named, auto, q, *rest)
        self.ran(name, q, lambda: reasons(BACKENDS, named, auto, name, q, *rest))
        return BACKENDS[name]


class TiedAttend(nn.Module):
    """One map of attention for all rows: logits summed over rows, by the root of their number.

    Rao et al. (2021), MSA Transformer. Of each batch element only rows in use count, those of
    which `mask` keeps any entry; entries that it does not keep add nothing to logits or output.
    `attend` computes the one map, over features of all rows side by side.
    """

    def __init__(self, attend: nn.Module):
        super().__init__()
        self.attend = attend

    def forward(
        self,
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h n d"],
        v: Float[Tensor, "b r h n d"],
        bias: Float[Tensor, "b h n n"] | None = None,
        mask: Bool[Tensor, "b r n"] | None = None,
    ) -> Float[Tensor, "b r h n d"]:
        rows, columns = q.shape[1], None
        if mask is not None:
            in_use = mask.any(-1).sum(-1).clamp(min=1)
            entries, columns = mask[:, :, None, :, None], mask.any(1, keepdim=True)
            # `attend` divides by the root of all rows
            scale = (rows / in_use).sqrt().to(q.dtype)[:, None, None, None, None]
            q, k, v = q * entries * scale, k * entries, v * entries
        q, k, v = (rearrange(x, "b r h n d -> b 1 h n (r d)") for x in (q, k, v))
        out = self.attend(q, k, v, bias, columns)
        return rearrange(out, "b 1 h n (r d) -> b r h n d", r=rows)
