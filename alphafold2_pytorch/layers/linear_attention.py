"""Attention in linear time and memory by random features of the softmax kernel (Performer)."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from alphafold2_pytorch.geometry.precision import float32
from alphafold2_pytorch.ops import Operation
from alphafold2_pytorch.typing import Bool, Float, Tensor


def default_features(dim_head: int) -> int:
    """As many as Choromanski et al. (2021) find enough: dim_head ln(dim_head)."""
    return max(1, round(dim_head * math.log(dim_head)))


class LinearAttend(Operation):
    """An estimate of softmax(q k / sqrt(d)) v over the keys that `mask` keeps, without n m weights.

    FAVOR+ of Choromanski et al. (2021): positive features exp(w k - k k / 2) with orthogonal `w`,
    `features` of them; the more there are, the nearer it is. Zero where no key is kept. `dropout`
    drops a key for all queries alike, in training only: there are no single weights to drop. The
    projection is saved with the weights; see `redraw_projections`. `ValueError` for fewer than one
    feature, or one step from a draw to the next.
    """

    projection: Tensor
    steps: Tensor  # since it was drawn

    def __init__(
        self,
        dim_head: int,
        features: int,
        redraw_every: int = 1000,
        dropout: float = 0.0,
    ):
        super().__init__()
        if features < 1 or redraw_every < 1:
            raise ValueError(
                "linear attention needs at least 1 feature, and 1 step from a draw of them to the "
                f"next; got {features} and {redraw_every}"
            )
        self.redraw_every, self.dropout = redraw_every, dropout
        drawn = orthogonal_rows(features, dim_head).to(torch.get_default_dtype())
        self.register_buffer("projection", drawn)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        q: Float[Tensor, "b r h n d"],
        k: Float[Tensor, "b r h m d"],
        v: Float[Tensor, "b r h m d"],
        mask: Bool[Tensor, "b r m"],
    ) -> Float[Tensor, "b r h n d"]:
        if self.training and self.dropout:
            v = v * F.dropout(torch.ones_like(v[..., :1]), self.dropout)
        top, sums = _sum_keys(k, v, self.projection, mask)

        def run(start: int, stop: int) -> Tensor:
            return _read(q[..., start:stop, :], self.projection, top, sums).to(v.dtype)

        features_bytes = 4 * top.numel() * top.element_size()
        return self.chunked(run, q.shape[3], features_bytes, 3)

    @torch.no_grad()
    def redraw(self) -> None:
        """Draw a new projection with torch's generator of the CPU, the same for any device."""
        self.projection.copy_(orthogonal_rows(*self.projection.shape))
        self.steps.zero_()

    def count_step(self) -> None:
        """One more step of training; every `redraw_every` steps the projection is drawn anew."""
        self.steps.add_(1)
        if int(self.steps) >= self.redraw_every:
            self.redraw()


def redraw_projections(model: nn.Module) -> None:
    """Count a training step in every `LinearAttend` of a model in training mode, and redraw if due.

    Call it once after each step of the optimizer. Never between a forward pass and its backward
    pass: one that computes again what it did not keep must find the projection of the forward pass.
    """
    for module in model.modules():
        if isinstance(module, LinearAttend) and module.training:
            module.count_step()


def orthogonal_rows(rows: int, dim: int) -> Float[Tensor, "rows dim"]:
    """Rows that are unit normal each, and orthogonal within every `dim` of them; float64."""
    blocks = []
    for _ in range(-(-rows // dim)):
        q, r = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, device="cpu"))
        blocks.append(q * r.diagonal().sign())  # uniform only with the signs set
    lengths = torch.randn(rows, dim, dtype=torch.float64, device="cpu").norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:rows] * lengths


@float32
def _sum_keys(
    k: Float[Tensor, "b r h m d"],
    v: Float[Tensor, "b r h m d"],
    projection: Float[Tensor, "f d"],
    mask: Bool[Tensor, "b r m"],
) -> tuple[Float[Tensor, "b r h 1 f"], Float[Tensor, "b r h f e"]]:
    """Of each feature the log of its largest key, and over that the sums of its keys' (v, 1).

    What a feature is divided by here its queries are multiplied with in `_read`. It is taken over
    the kept keys of one batch element and head alone, so it tells nobody of any other.
    """
    k = k * k.shape[-1] ** -0.25
    logs = k @ projection.T - k.square().sum(-1, keepdim=True) / 2
    logs = logs.masked_fill(~mask[:, :, None, :, None], -math.inf)
    top = logs.detach().amax(3, keepdim=True)
    top = top.masked_fill(top.isinf(), 0.0)  # no key at all
    return top, (logs - top).exp().mT @ F.pad(v, (0, 1), value=1.0)


@float32
def _read(
    q: Float[Tensor, "b r h n d"],
    projection: Float[Tensor, "f d"],
    top: Float[Tensor, "b r h 1 f"],
    sums: Float[Tensor, "b r h f e"],
) -> Float[Tensor, "b r h n d"]:
    """Each query's weighted mean; the factor exp(-q q / 2) of its features cancels in it.

    The largest term of the denominator is at least 1, so that none needs a small number added.
    """
    logs = q * q.shape[-1] ** -0.25 @ projection.T + top
    weights = (logs - logs.detach().amax(-1, keepdim=True)).exp()
    total = weights @ sums
    count = total[..., -1:]
    return total[..., :-1] / (count + (count == 0))
