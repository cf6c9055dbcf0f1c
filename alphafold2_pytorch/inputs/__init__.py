"""Features and the last cycle's results become streams."""

from alphafold2_pytorch.inputs.embedding import InputEmbedding

__all__ = ["InputEmbedding"]
