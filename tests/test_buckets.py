"""Chains padded to few lengths, so that few programs are compiled."""

from itertools import pairwise

import pytest
import torch

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.trunk import bucket, compile_blocks, programs

LETTERS = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ" * 3
SIZES = {"dim": 16, "heads": 2, "dim_head": 8, "structure_module_dim": 16}
SMALL = {"structure_module_depth": 1, "structure_module_heads": 2, "structure_module_dim_head": 4}


def make(*blocks, **keywords):
    """A model whose updates say something."""
    torch.manual_seed(0)
    coords = {"predict_coords": True, **SMALL} if keywords.get("inputs") is None else {}
    model = Alphafold2(**SIZES, custom_block_types=blocks, **coords, **keywords).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def test_buckets_hold_every_size_and_waste_little():
    sizes = list(range(1, 3000))
    found = [bucket(size) for size in sizes]
    assert all(0 <= big - size < max(32, big / 8) for big, size in zip(found, sizes, strict=True))
    assert all(a <= b for a, b in pairwise(found)) and all(bucket(big) == big for big in found)
    assert [bucket(n) for n in (1, 2, 32, 33, 256, 257, 512, 513, 1024, 1025)] == [
        *(1, 32, 32, 64, 256, 288, 512, 576, 1024, 1152)
    ]
    assert len({each for each in found if each <= 2500 + 256}) < 40


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("block", ["evoformer", "covariance", "self", "cross", "conv"])
def test_padding_to_a_bucket_changes_no_result(block, rows):
    model = make(block)
    letters = LETTERS[:37]
    msa = [letters, *(LETTERS[at : at + 37] for at in range(1, rows))]
    plain = model.fold(letters, msa, recycles=1)
    seen = []
    hook = model.trunk.blocks[0].register_forward_pre_hook(
        lambda _, given: seen.append((given[0].pair.shape[1:3], given[0].msa.shape[1:3]))
    )
    model.trunk.buckets = True
    padded = model.fold(letters, msa, recycles=1)
    hook.remove()
    assert set(seen) == {((64, 64), (1 if rows == 1 else 32, 64))}
    assert padded.features.seq.shape == (1, 37)
    for name, value in plain.outputs.items():
        torch.testing.assert_close(padded.outputs[name], value, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        padded.structure.atoms[-1], plain.structure.atoms[-1], rtol=1e-3, atol=1e-2
    )


def test_the_extra_alignment_is_padded_too():
    model = make("evoformer", inputs="clusters", extra_msa_depth=1, num_embedds=0)
    letters = LETTERS[:37]
    msa = [letters, *(LETTERS[at : at + 37] for at in range(1, 30))]
    plain = model.fold(letters, msa, recycles=1)
    model.trunk.buckets = True
    padded = model.fold(letters, msa, recycles=1)
    for name, value in plain.outputs.items():
        torch.testing.assert_close(padded.outputs[name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.compile
def test_chains_of_a_bucket_share_a_program():
    plain, model = make("evoformer"), make("evoformer")
    compile_blocks(model.trunk, torch.device("cpu"), lengths=True)
    before, made = programs(), []
    for length in (40, 60, 70):
        letters = LETTERS[:length]
        found, wanted = (each.fold(letters, recycles=1) for each in (model, plain))
        made.append(programs() - before)
        torch.testing.assert_close(found.plddt, wanted.plddt, rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(
            found.structure.atoms[-1], wanted.structure.atoms[-1], rtol=1e-3, atol=1e-2
        )
    assert made == [1, 1, 2]


@pytest.mark.compile
def test_more_buckets_than_dynamo_keeps_by_itself_have_programs(monkeypatch):
    model = make("evoformer")
    compile_blocks(model.trunk, torch.device("cpu"), lengths=True)
    for block in model.trunk.blocks:
        block.compile(dynamic=False, backend="eager")
    before = programs()
    for length in range(20, 360, 32):
        model.fold((LETTERS * 4)[:length], recycles=0)
    assert programs() - before == 11
