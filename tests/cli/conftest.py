"""A model small enough to fold in a blink."""

import pytest
import torch

from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.weights.io import save_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """A weights file of a random model with one Evoformer block."""
    torch.manual_seed(0)
    model = Alphafold2(
        dim=16,
        heads=2,
        dim_head=8,
        custom_block_types=("evoformer",),
        predict_coords=True,
        structure_module_dim=16,
        structure_module_depth=1,
        structure_module_heads=2,
        structure_module_dim_head=4,
    )
    for parameter in model.parameters():  # zero at the start, most residual updates say nothing
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, model.state_dict(), model.config)
    return path
