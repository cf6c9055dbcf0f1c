"""A block of ESMFold's trunk from Hugging Face: updates of the pairs and of one row."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from peers import Arrays, Work
from peers.torch_side import tensors, torch_work


def load(arrays: Arrays) -> Work:
    """At our widths, with the chunk size of its configuration; random parameters."""
    import torch

    home = "transformers.models.esm"
    words = import_module(f"{home}.configuration_esm").TrunkConfig(
        sequence_state_dim=256, pairwise_state_dim=128
    )
    block = import_module(f"{home}.modeling_esmfold").EsmFoldTriangularSelfAttentionBlock(words)
    msa, pair = tensors(arrays)

    def call(module: Any, row: Any, pair: Any) -> tuple[Any, Any]:
        mask = torch.ones_like(row[..., 0])
        return module(row, pair, mask=mask, chunk_size=words.chunk_size)

    work = torch_work(block, call, (msa[:, 0], pair), "cpu")  # it knows no meta device
    return work._replace(version=f"transformers {version('transformers')}, {work.version}")
