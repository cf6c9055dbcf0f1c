"""Published networks as structure modules, from the extra `packages`; imported when first named.

They show that the place of a structure module is open, and are here to compare with. Each is called
as its authors call it and keeps its limits: graphs are dense tables of all pairs, so memory grows
with the square of the points, and their random weights need not keep float64's digits.
"""

import importlib
import os
from types import ModuleType

import torch
from torch import nn

from alphafold2_pytorch.geometry.neighbours import Neighbours
from alphafold2_pytorch.structure.base import STRUCTURES, WORDS
from alphafold2_pytorch.structure.cloud import CloudStructure
from alphafold2_pytorch.typing import Bool, Float, Tensor

GLOBAL = "structure_num_global_nodes"
HEADS = frozenset({"structure_module_heads", "structure_module_dim_head"})


def published(module: str) -> ModuleType:
    """A package of the extra `packages`; `ImportError` says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"this structure module is the package of {module}, and {error.name} is missing: "
            "pip install 'alphafold2-pytorch[packages]'"
        ) from error


def published_se3() -> ModuleType:
    """The SE(3) package, with its cache off: pickles in the home directory that it reads back.

    `ImportError` if someone imported it before with the cache on. Like a plain import it reads one
    table that lies in the package itself through `torch.load`.
    """
    before = os.environ.get("CLEAR_CACHE")
    os.environ["CLEAR_CACHE"] = "1"  # read at import alone
    try:
        basis = published("se3_transformer_pytorch.basis")
    finally:
        del os.environ["CLEAR_CACHE"]
        if before is not None:
            os.environ["CLEAR_CACHE"] = before
    if basis.CACHE_PATH is not None:
        raise ImportError(
            f"se3_transformer_pytorch was imported before, with a cache of pickles in "
            f"{basis.CACHE_PATH}: set CLEAR_CACHE=1 before that import, or let this library do it"
        )
    return published("se3_transformer_pytorch")


class PublishedStructure(CloudStructure):
    """A package's network in the frame of point networks."""


@STRUCTURES.register("egnn-pytorch")
class EgnnStructure(PublishedStructure):
    """`egnn_pytorch.EGNN_Network`; options are its keywords. Satorras et al. (2021)."""

    reads_words = WORDS - HEADS - {GLOBAL}

    def build(self, dim: int, edge_dim: int, **numbers) -> "PublishedEgnn":
        return PublishedEgnn(dim, edge_dim, **numbers)


class PublishedEgnn(nn.Module):
    """Sees just the neighbours it is given, and edges with itself that say nothing."""

    def __init__(self, dim: int, edge_dim: int, norm_coors: bool = True, **keywords):
        super().__init__()
        keywords |= {"norm_coors": norm_coors, "only_sparse_neighbors": True}
        network = published("egnn_pytorch").EGNN_Network
        self.network = network(dim=dim, edge_dim=edge_dim, **keywords)

    def refine(
        self,
        feats: Float[Tensor, "b n d"],
        coors: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"],
        graph: Neighbours,
        edges: Float[Tensor, "b n k e"] | None = None,
        global_feats: Float[Tensor, "b g d"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 3"]]:
        """As `PointNetwork` has it; `ValueError` for global features."""
        refuse_global(global_feats)
        adjacent, edges = dense(graph, edges)
        # Each point gets as many places as the most connected one has, itself included.
        itself = torch.eye(adjacent.shape[1], dtype=torch.bool, device=adjacent.device)
        out, moved = self.network(feats, coors, adjacent | itself, edges=edges, mask=mask)
        return out, torch.where(mask[..., None], moved, coors)


@STRUCTURES.register("en-transformer")
class EnTransformerStructure(PublishedStructure):
    """`en_transformer.EnTransformer`; options are its keywords.

    It refuses heads narrower than 32, so `structure_module_dim_head` is not read:
    `options={"en-transformer": {"dim_head": 64}}` sets the width, 32 by default.
    """

    reads_words = WORDS - {"structure_module_dim_head", GLOBAL}

    def build(self, dim: int, edge_dim: int, **numbers) -> "PublishedEnTransformer":
        return PublishedEnTransformer(dim, edge_dim, **numbers)


class PublishedEnTransformer(nn.Module):
    """Sees just the neighbours it is given, and itself."""

    def __init__(self, dim: int, edge_dim: int, dim_head: int = 32, **keywords):
        super().__init__()
        keywords |= {"dim_head": dim_head, "only_sparse_neighbors": True}
        network = published("en_transformer").EnTransformer
        self.network = network(dim=dim, edge_dim=edge_dim, **keywords)

    def refine(
        self,
        feats: Float[Tensor, "b n d"],
        coors: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"],
        graph: Neighbours,
        edges: Float[Tensor, "b n k e"] | None = None,
        global_feats: Float[Tensor, "b g d"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 3"]]:
        """As `PointNetwork` has it; `ValueError` for global features."""
        refuse_global(global_feats)
        adjacent, edges = dense(graph, edges)
        # With a mask the package must find fewer neighbours than points: one more, masked point.
        adjacent = one_more(one_more(adjacent), 2)
        edges = None if edges is None else one_more(one_more(edges), 2)
        feats, moved, keep = one_more(feats), one_more(coors), one_more(mask)
        out, moved = self.network(feats, moved, edges=edges, mask=keep, adj_mat=adjacent)
        return out[:, :-1], torch.where(mask[..., None], moved[:, :-1], coors)


@STRUCTURES.register("se3-transformer-pytorch")
class Se3TransformerStructure(PublishedStructure):
    """`se3_transformer_pytorch.SE3Transformer`; options are its keywords. Fuchs et al. (2020).

    Nothing is written to the home directory or read from it: see `published_se3`.
    """

    def build(self, dim: int, edge_dim: int, **numbers) -> "PublishedSe3Transformer":
        return PublishedSe3Transformer(dim, edge_dim, **numbers)


class PublishedSe3Transformer(nn.Module):
    """Sees just the neighbours it is given; a point moves by `scale` times the vector it gets."""

    def __init__(self, dim: int, edge_dim: int, num_degrees: int = 2, **keywords):
        super().__init__()
        keywords |= {"num_degrees": num_degrees, "out_fiber_dict": {0: dim, 1: 1}}
        network = published_se3().SE3Transformer
        self.network = network(dim=dim, edge_dim=edge_dim, num_neighbors=1, **keywords)
        self.scale = nn.Parameter(torch.tensor(0.1))

    def refine(
        self,
        feats: Float[Tensor, "b n d"],
        coors: Float[Tensor, "b n 3"],
        mask: Bool[Tensor, "b n"],
        graph: Neighbours,
        edges: Float[Tensor, "b n k e"] | None = None,
        global_feats: Float[Tensor, "b g d"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n 3"]]:
        """As `PointNetwork` has it."""
        if not (places := graph.index.shape[-1]):
            return feats, coors  # the package cannot run on one point
        adjacent, edges = dense(graph, edges)
        # Its own choice of neighbours lets masked points take places; among these it has none.
        self.network.num_neighbors = places
        out = self.network(
            feats, coors, mask, edges=edges, neighbor_mask=adjacent, global_feats=global_feats
        )
        moved = coors + self.scale * out["1"][:, :, 0]
        return out["0"], torch.where(mask[..., None], moved, coors)


def refuse_global(feats: Tensor | None) -> None:
    """`ValueError` where there are features of the whole."""
    if feats is not None:
        raise ValueError("this network has no nodes that see all others: leave out global_feats")


def dense(
    graph: Neighbours, edges: Float[Tensor, "b n k e"] | None
) -> tuple[Bool[Tensor, "b n n"], Float[Tensor, "b n n e"] | None]:
    """Lists of neighbours and what is known of them as tables of all pairs."""
    b, n, _ = graph.index.shape
    adjacent = torch.zeros(b, n, n, dtype=torch.bool, device=graph.index.device)
    adjacent = adjacent.scatter(2, graph.index, graph.mask)
    if edges is None:
        return adjacent, None
    places = graph.index[..., None].expand_as(edges)
    table = edges.new_zeros(b, n, n, edges.shape[-1])
    return adjacent, table.scatter(2, places, edges * graph.mask[..., None])


def one_more(x: Tensor, dim: int = 1) -> Tensor:
    """Zeros or False for one more point."""
    return torch.cat([x, torch.zeros_like(x.narrow(dim, 0, 1))], dim)
