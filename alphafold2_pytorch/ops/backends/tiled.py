"""Attention in tiles that stay in a CPU's cache; the weights of several are never kept."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from alphafold2_pytorch.ops.backends.base import BACKENDS
from alphafold2_pytorch.ops.backends.sdpa import fused
from alphafold2_pytorch.ops.batched import batched, faster
from alphafold2_pytorch.typing import Tensor

TILE_BYTES = 8 * 2**20  # of logits; as large as a piece; from 0.5 to 16 MiB no difference was seen
LEAST_QUERIES = 32  # of a tile, however many keys there are: all of them are read once a tile


@BACKENDS.register("tiled")
class Tiled:
    """softmax(q k + bias) v, rows and queries in tiles, computed again in the backward pass.

    The idea of Dao et al. (2022) without the running softmax: here all keys of a query fit. What
    autograd would keep of N rows, N^2 weights each, is never in main memory at once.
    """

    @staticmethod
    def refuses(q, k, v, bias, mask, dropout):
        if q.device.type != "cpu":
            return "its tiles are made for the cache of a CPU"
        if torch.compiler.is_compiling():
            return "the compiler cuts tiles of its own"
        return None

    @staticmethod
    def run(q, k, v, bias, mask, dropout):
        seed = int(torch.randint(2**62, ())) if dropout else 0
        if mask is not None and bool(mask.all()):
            mask = None
        given = q, k, v, bias, mask, dropout, seed
        return TiledAttention.apply(*given) if torch.is_grad_enabled() else attended(*given)


def attended(
    q: Tensor, k: Tensor, v: Tensor, bias: Any, mask: Any, dropout: float, seed: int
) -> Tensor:
    """What comes out, without gradients."""
    if not dropout and not faster(q[0], k[0].mT):
        return by_fused(q, k, v, bias, mask)
    out = like_projection(q)
    for tile in Tile.all(q, k, v, bias, mask, dropout, seed):
        tile.put(out, batched(tile.dropped(tile.weights()), tile.v))
    return out


def by_fused(q: Tensor, k: Tensor, v: Tensor, bias: Any, mask: Any) -> Tensor:
    """By PyTorch's fused attention, which is faster where products of tiles are MKL's.

    Bias and mask of a row are as large as its logits once they are one addend: so by few rows.
    """
    b, r, h, n, _ = q.shape
    size = r if mask is None else max(1, TILE_BYTES // (h * n * k.shape[3] * q.element_size()))
    out = like_projection(q)
    for element in range(b):
        one = slice(element, element + 1)
        for start in range(0, r, size):
            rows = slice(start, start + size)
            keep = None if mask is None else mask[one, rows]
            of = None if bias is None else bias[one]
            part = fused(q[one, rows], k[one, rows], v[one, rows], of, keep, 0.0)
            if part.shape == out.shape:
                return part
            out[one, rows] = part
    return out


class TiledAttention(torch.autograd.Function):
    """Keeps its inputs, and the weights if one tile has them all.

    `b r h n d` tensors are laid out as `b r n h d`, like projections.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Any, k: Any, v: Any, bias: Any, mask: Any, dropout: Any, seed: Any
    ) -> Any:
        ctx.dropout, ctx.seed, weights = dropout, seed, None
        rows, queries = sizes(q, k)
        # in lower precision the fused attention without gradients would be rounded otherwise
        whole = len(q) == 1 and 0 < q.shape[1] <= rows and queries == q.shape[3]
        whole = whole and q.dtype in (torch.float32, torch.float64)
        if whole:  # so that the backward pass need not copy these again
            k, v = k.contiguous(), v.contiguous()
        # PyTorch's fused attention refuses a bias that requires gradients, though none are taken
        given = *(x if x is None else x.detach() for x in (q, k, v, bias)), mask, dropout, seed
        if whole:
            [tile] = Tile.all(*given)
            out, weights = like_projection(q), tile.weights()
            tile.put(out, batched(tile.dropped(weights), tile.v))
        else:
            out = attended(*given)
        ctx.save_for_backward(q, k, v, bias, mask, weights)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Any) -> Any:
        q, k, v, bias, mask, kept = ctx.saved_tensors
        of_q, of_k, of_v = (like_projection(x) for x in (q, k, v))
        if several := kept is None:
            of_k.zero_()
            of_v.zero_()
        of_bias = torch.zeros_like(bias) if bias is not None else None
        for tile in Tile.all(q, k, v, bias, mask, ctx.dropout, ctx.seed):
            weights, of_out = tile.weights() if several else kept, tile.queries(slope)
            dropped = tile.dropped(weights)
            tile.put_keys(of_v, batched(dropped.mT, of_out), several)
            of_weights = tile.dropped(batched(of_out, tile.v.mT))
            of_logits = torch.ops.aten._softmax_backward_data(
                of_weights, weights, -1, weights.dtype
            )
            if of_bias is not None:
                tile.add_bias(of_bias, of_logits)
            tile.put(of_q, batched(of_logits, tile.k).mul_(tile.scale))
            # q carries the scale
            tile.put_keys(of_k, batched(of_logits.mT, tile.q), several)
        return of_q, of_k, of_v, of_bias, None, None, None


class Tile:
    """Some queries of some rows of one batch element, heads and rows joined: `(r h) n d`."""

    def __init__(self, inputs: tuple, element: int, rows: slice, queries: slice, dropout: tuple):
        q, self.k, self.v, self.bias, self.mask = inputs
        self.element, self.rows, self.chosen = element, rows, queries
        self.rate, self.seed = dropout
        self.scale = q.shape[-1] ** -0.5
        self.q = self.queries(q) * self.scale
        self.heads = q.shape[2]

    @classmethod
    def all(
        cls, q: Tensor, k: Tensor, v: Tensor, bias: Any, mask: Any, rate: float, seed: int
    ) -> Iterator["Tile"]:
        """Tiles of about `TILE_BYTES` of logits that cover everything once."""
        (b, r, _, n, _), (rows, queries), count = q.shape, sizes(q, k), 0
        for element in range(b):
            for row in range(0, r, rows):
                where = slice(row, row + rows)
                # once for all queries: each product would copy what is not contiguous
                keys, values = (x[element, where].flatten(0, 1).contiguous() for x in (k, v))
                for query in range(0, n, queries):
                    count += 1
                    inputs, chosen = (q, keys, values, bias, mask), slice(query, query + queries)
                    yield cls(inputs, element, where, chosen, (rate, seed + count))

    def queries(self, x: Tensor) -> Tensor:
        """The tile's part of something that each query has."""
        return x[self.element, self.rows, :, self.chosen].flatten(0, 1)

    def weights(self) -> Tensor:
        """The softmax, `(r h) n m`."""
        logits = batched(self.q, self.k.mT)
        grid = logits.unflatten(0, (-1, self.heads))
        if self.bias is not None:
            grid += self.bias[self.element, None, :, self.chosen]
        if self.mask is not None:
            hidden = ~self.mask[self.element, self.rows, None, None]
            grid.masked_fill_(hidden, torch.finfo(grid.dtype).min)
        weights = logits.softmax(-1)
        if self.mask is not None:
            empty = hidden.all(-1, keepdim=True)
            if bool(empty.any()):
                weights.unflatten(0, (-1, self.heads)).masked_fill_(empty, 0.0)
        return weights

    def dropped(self, weights: Tensor) -> Tensor:
        """The same entries at every call are dropped, the others scaled up."""
        if not self.rate:
            return weights
        generator = torch.Generator().manual_seed(self.seed)
        keep = torch.empty_like(weights).bernoulli_(1 - self.rate, generator=generator)
        return weights * keep.div_(1 - self.rate)

    def put(self, whole: Tensor, part: Tensor) -> None:
        grid = part.unflatten(0, (-1, self.heads))
        whole[self.element, self.rows, :, self.chosen] = grid

    def put_keys(self, whole: Tensor, part: Tensor, several: bool) -> None:
        """`several`: tiles have a part in them, so they are added up."""
        grid, mine = part.unflatten(0, (-1, self.heads)), whole[self.element, self.rows]
        mine.add_(grid) if several else mine.copy_(grid)

    def add_bias(self, whole: Tensor, part: Tensor) -> None:
        whole[self.element, :, self.chosen] += part.unflatten(0, (-1, self.heads)).sum(0)


def sizes(q: Tensor, k: Tensor) -> tuple[int, int]:
    """Rows and queries of a tile."""
    h, n = q.shape[2:4]
    per_query = h * k.shape[3] * q.element_size()
    queries = min(n, max(LEAST_QUERIES, TILE_BYTES // max(per_query, 1)))
    rows = max(1, TILE_BYTES // max(per_query * n, 1)) if queries == n else 1
    return rows, queries


def like_projection(x: Tensor) -> Tensor:
    """Uninitialised, `b r h n d` with heads next to features in memory: later no copy is needed."""
    b, r, h, n, d = x.shape
    return x.new_empty(b, r, n, h, d).transpose(2, 3)
