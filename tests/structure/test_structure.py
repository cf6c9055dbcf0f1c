"""Every registered structure module: it moves with the world, and does not see what is masked."""

from dataclasses import replace

import pytest
import torch
from kit import (
    OWN_STRUCTURES,
    random_features,
    random_rigid,
    random_targets,
    scrambled,
    tiny_config,
)

from alphafold2_pytorch.config import ATOM_SETS
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.heads import total_loss
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.structure import STRUCTURES

NAMES = OWN_STRUCTURES
SIZES = {torch.float32: 1e-4, torch.float64: 1e-10}  # error allowed, relative to the update


def build(name: str, dtype=torch.float64, **keywords):
    keywords = {"atoms": "all", **keywords}
    config = tiny_config("self", predict_coords=True, structure_module_type=name, **keywords)
    return scrambled(STRUCTURES[name].from_config(config)).to(dtype)


def inputs(n=8, batch=2, dtype=torch.float64) -> dict:
    """Frames along a winding chain; no two distances tie, or rounding would choose among them."""
    start = random_rigid(batch, n, dtype=dtype)
    steps = torch.randn(batch, n, 3, dtype=dtype)
    steps = steps * (3.6 + 0.4 * torch.rand(batch, n, 1)) / steps.norm(dim=-1, keepdim=True)
    return {
        "single": torch.randn(batch, n, 16, dtype=dtype),
        "pair": torch.randn(batch, n, n, 16, dtype=dtype),
        "mask": torch.ones(batch, n, dtype=torch.bool),
        "seq": torch.randint(0, 21, (batch, n)),
        "start": Rigid(start.rot, steps.cumsum(1)),
        "residue_index": torch.arange(n).repeat(batch, 1),
    }


def update_size(structure, start: Rigid) -> float:
    return (structure.frames.trans[-1] - start.trans).norm(dim=-1).max().item()


@pytest.mark.parametrize("dtype", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_moving_the_frames_moves_the_atoms_and_nothing_else(name, dtype):
    module, x = build(name, dtype), inputs(dtype=dtype)
    world = random_rigid(1, 1, dtype=dtype)
    here = module(**x)
    there = module(**{**x, "start": world.compose(x["start"])})
    allowed = SIZES[dtype] * update_size(here, x["start"])
    moved = world.unsqueeze(-1).apply(here.atoms)
    moved = torch.where(here.atom_mask[..., None], moved, 0.0)
    torch.testing.assert_close(there.atoms, moved, rtol=0, atol=allowed)
    turned = world.compose(here.frames)
    torch.testing.assert_close(there.frames.rot, turned.rot, rtol=0, atol=allowed)
    torch.testing.assert_close(there.single, here.single, rtol=10 * SIZES[dtype], atol=allowed)


@pytest.mark.parametrize("name", NAMES)
def test_float32_has_the_digits_of_float64(name):
    x = inputs()
    module = build(name)
    exact = module(**x)
    single = module.to(torch.float32)(
        **{
            k: v.float() if torch.is_tensor(v) and v.is_floating_point() else v
            for k, v in x.items()
        }
        | {"start": Rigid(x["start"].rot.float(), x["start"].trans.float())}
    )
    assert single.atoms.dtype == torch.float32
    allowed = SIZES[torch.float32] * update_size(exact, x["start"])
    torch.testing.assert_close(single.atoms.double(), exact.atoms, rtol=0, atol=allowed)


@pytest.mark.parametrize("name", NAMES)
def test_masked_residues_change_nothing(name):
    module, x = build(name), inputs()
    mask = x["mask"].clone()
    mask[:, -2:] = False
    both = mask[:, :, None] & mask[:, None]
    noisy = {
        "single": torch.where(mask[..., None], x["single"], 100.0),
        "pair": torch.where(both[..., None], x["pair"], 100.0),
        "seq": torch.where(mask, x["seq"], 3),
        "start": Rigid(
            torch.where(mask[..., None, None], x["start"].rot, -1.0),
            torch.where(mask[..., None], x["start"].trans, 1e3),
        ),
        "residue_index": torch.where(mask, x["residue_index"], 0),
    }
    clean, noisy = module(**{**x, "mask": mask}), module(**{**x, "mask": mask, **noisy})
    cut = {k: v[:, :-2] for k, v in x.items() if torch.is_tensor(v)}
    cut |= {"pair": x["pair"][:, :-2, :-2], "start": x["start"][:, :-2]}
    short = module(**cut)
    for other in (noisy, short):
        left, right = clean.atoms[:, :, :-2], other.atoms[:, :, :6]
        torch.testing.assert_close(left, right, rtol=0, atol=1e-9)
        torch.testing.assert_close(clean.single[:, :-2], other.single[:, :6])
    assert not clean.atom_mask[:, -2:].any()


@pytest.mark.parametrize("name", NAMES)
def test_permuting_residues_permutes_the_atoms(name):
    module, x = build(name), inputs()
    order = torch.randperm(8)
    there = {k: v[:, order] for k, v in x.items() if k != "pair"}
    there = module(**there, pair=x["pair"][:, order][:, :, order])
    here = module(**x)
    torch.testing.assert_close(there.atoms, here.atoms[:, :, order], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_chains_of_a_batch_do_not_see_each_other(name):
    module, x = build(name), inputs()
    one = module(**{k: v[:1] for k, v in x.items()})
    torch.testing.assert_close(module(**x).atoms[:, :1], one.atoms, rtol=0, atol=1e-9)


def straight(n: int) -> Rigid:
    """What multidimensional scaling of a line leaves: frames without a rotation."""
    along = torch.arange(n).double()[None, :, None] * torch.tensor([3.8, 0, 0])
    return Rigid(torch.zeros(1, n, 3, 3).double(), along)


STARTS = {
    "one residue": random_rigid(1, 1),
    "two residues": random_rigid(1, 2),
    "all in one place": Rigid.identity((1, 5), torch.zeros(1).double()),
    "on a line": straight(5),
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_wherever_the_points_are(name, start):
    module, frames = build(name, structure_module_knn=4), STARTS[start]
    x = inputs(frames.shape[1], batch=1)
    x["single"].requires_grad_()
    x["pair"].requires_grad_()
    out = module(**{**x, "start": frames})
    assert torch.isfinite(out.atoms).all() and torch.isfinite(out.frames.rot).all()
    (out.atoms.square().sum() + out.frames.rot.square().sum() + out.single.sum()).backward()
    reached = [p.grad for p in module.parameters() if p.grad is not None]
    assert all(torch.isfinite(each).all() for each in (*reached, x["single"].grad, x["pair"].grad))


@pytest.mark.parametrize("atoms", sorted(ATOM_SETS))
@pytest.mark.parametrize("name", NAMES)
def test_whole_model_with_any_structure_module(name, atoms):
    model = Alphafold2(
        tiny_config("self", "cross", predict_coords=True, structure_module_type=name, atoms=atoms)
    )
    model, features = scrambled(model), random_features(7, batch=2)
    prediction = model.predict(features, recycles=1)
    total, parts = total_loss(model.heads, prediction, random_targets(features))
    total.backward()
    assert {"backbone_fape", "sidechain_fape", "plddt"} <= set(parts)
    own = [(n, p) for n, p in model.structure.named_parameters()]
    still = {n for n, p in own if p.grad is None or not p.grad.any()}
    assert still <= {"attention.bias.bias"}  # a softmax cancels it
    text, mask = prediction.to_pdb(), prediction.structure.atom_mask
    assert text.count("\nATOM") == mask[0].sum()
    slots = ATOM_SETS[atoms]
    assert mask[..., slots].any()
    coords = model(features.seq, features.msa)
    assert coords.shape == (2, 7 * len(slots), 3)
    structure = model.predict(replace(features, deletions=0 * features.deletions)).structure
    expected = structure.atoms[-1][:, :, list(slots)].flatten(1, 2)
    torch.testing.assert_close(coords, expected)


@pytest.mark.compile
@pytest.mark.parametrize("name", NAMES)
def test_compiled_gives_the_same_numbers(name):
    module, x = build(name, torch.float32), inputs(dtype=torch.float32)
    expected = module(**x).atoms
    found = torch.compile(module, backend="aot_eager")(**x).atoms
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
