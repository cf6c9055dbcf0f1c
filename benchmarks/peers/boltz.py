"""Boltz' Pairformer layer: the updates of the pairs, and attention of one row, biased by them."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from peers import Arrays, Work
from peers.torch_side import tensors, torch_work


def load(arrays: Arrays) -> Work:
    """At our widths, with the chunks of triangle attention it predicts with; random parameters."""
    import torch

    layer = import_module("boltz.model.layers.pairformer").PairformerLayer(
        token_s=256, token_z=128, num_heads=8, pairwise_head_width=32, pairwise_num_heads=4, v2=True
    )
    msa, pair = tensors(arrays)
    threshold = import_module("boltz.data.const").chunk_size_threshold
    chunk = 128 if pair.shape[1] > threshold else 512

    def call(module: Any, row: Any, pair: Any) -> tuple[Any, Any]:
        masks = torch.ones_like(row[..., 0]), torch.ones_like(pair[..., 0])
        return module(row, pair, *masks, chunk_size_tri_attn=chunk)

    work = torch_work(layer, call, (msa[:, 0], pair))
    return work._replace(version=f"boltz {version('boltz')}, {work.version}")
