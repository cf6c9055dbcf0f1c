"""How blocks are compiled on which device, and what a trunk of CUDA graphs gives out."""

from dataclasses import replace

import pytest
import torch
from kit import random_streams, scrambled, tiny_config

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.trunk import Trunk, compile_options


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_graphs_are_for_predictions_on_a_gpu(kind, lengths, gradients):
    options = compile_options(torch.device(kind), lengths, gradients)
    graphs = kind == "cuda" and not gradients
    assert options["mode"] == ("reduce-overhead" if graphs else None)
    assert options["dynamic"] == (False if lengths else None)


def test_streams_of_graphs_are_written_by_nobody_and_copied_out():
    trunk, x = scrambled(Trunk(tiny_config("evoformer", "self"))), random_streams()
    with torch.no_grad():
        wanted, made = trunk(x), []
        for block in trunk.blocks:
            block.register_forward_hook(lambda block, given, out: made.append((given[0], out)))
        trunk.graphs = True
        own = replace(x, pair=x.pair.clone(), msa=x.msa.clone(), owned=True)
        found = trunk(own)
    assert torch.equal(found.pair, wanted.pair) and torch.equal(found.msa, wanted.msa)
    assert torch.equal(own.pair, x.pair) and found.owned  # which nothing wrote to
    assert not any(given.owned for given, _ in made) and len(made) == 2
    assert found.pair.data_ptr() != made[-1][1].pair.data_ptr()
    assert trunk(x).pair.requires_grad  # with gradients as ever


def test_what_fold_finds_may_take_part_in_gradients():
    found = Alphafold2(tiny_config("self", predict_coords=True)).fold("MKTAY", recycles=0)
    pull = torch.ones((), requires_grad=True)
    (pull * found.structure.atoms).sum().backward()
    assert pull.grad is not None and not found.structure.atoms.is_inference()
