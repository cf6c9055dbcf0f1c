"""Every registered structure module: it moves with the world, and does not see what is masked."""

import pytest
import torch
from kit import OWN_STRUCTURES, random_rigid, scrambled, tiny_config

from alphafold2_pytorch.structure import STRUCTURES

NAMES = OWN_STRUCTURES


def build(name: str):
    config = tiny_config("self", predict_coords=True, structure_module_type=name)
    return scrambled(STRUCTURES[name].from_config(config)).double()


def inputs(n=8, batch=2):
    single, pair = torch.randn(batch, n, 16).double(), torch.randn(batch, n, n, 16).double()
    return single, pair, torch.ones(batch, n, dtype=torch.bool), torch.randint(0, 20, (batch, n))


@pytest.mark.parametrize("name", NAMES)
def test_rotating_the_frames_rotates_the_atoms_and_nothing_else(name):
    module, (single, pair, mask, seq) = build(name), inputs()
    start, world = random_rigid(2, 8), random_rigid(1, 1)
    here = module(single, pair, mask, seq, start)
    there = module(single, pair, mask, seq, world.compose(start))
    moved = world.unsqueeze(-1).apply(here.atoms)
    moved = torch.where(here.atom_mask[..., None], moved, 0.0)
    torch.testing.assert_close(there.atoms, moved, rtol=0, atol=1e-8)
    torch.testing.assert_close(there.single, here.single)


@pytest.mark.parametrize("name", NAMES)
def test_masked_residues_change_nothing(name):
    module, (single, pair, mask, seq) = build(name), inputs()
    mask[:, -2:] = False
    noisy_single = torch.where(mask[..., None], single, 100.0)
    both = mask[:, :, None] & mask[:, None]
    noisy_pair = torch.where(both[..., None], pair, 100.0)
    clean, noisy = module(single, pair, mask, seq), module(noisy_single, noisy_pair, mask, seq)
    torch.testing.assert_close(clean.atoms[:, :, :-2], noisy.atoms[:, :, :-2], rtol=0, atol=1e-9)
    assert not clean.atom_mask[:, -2:].any()


@pytest.mark.parametrize("name", NAMES)
def test_permuting_residues_permutes_the_atoms(name):
    module, (single, pair, mask, seq) = build(name), inputs()
    order = torch.randperm(8)
    there = module(single[:, order], pair[:, order][:, :, order], mask, seq[:, order])
    here = module(single, pair, mask, seq)
    torch.testing.assert_close(there.atoms, here.atoms[:, :, order], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_one_residue_is_enough_and_gradients_are_finite(name):
    module = build(name)
    single, pair, mask, seq = inputs(n=1, batch=1)
    module(single, pair, mask, seq).atoms.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
