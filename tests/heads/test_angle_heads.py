"""Heads of the angles between residues."""

from dataclasses import replace

import pytest
import torch
from kit import halves_its_loss, random_features, random_targets, real_chain, scrambled, tiny_config

from alphafold2_pytorch.chem.residues import RESIDUES
from alphafold2_pytorch.heads import total_loss
from alphafold2_pytorch.losses.angles import pair_phi
from alphafold2_pytorch.model import Alphafold2

BINS = {"theta": 25, "phi": 13, "omega": 25}


def build(**keywords) -> Alphafold2:
    return scrambled(Alphafold2(tiny_config("self", "cross", predict_angles=True, **keywords)))


def test_forward_gives_distances_and_angles_of_which_omega_is_symmetric():
    out = build()(torch.randint(0, 21, (2, 12)), torch.randint(0, 21, (2, 5, 10)))
    distogram, theta, phi, omega = out
    assert distogram.shape == (2, 12, 12, 37)
    for name, logits in (("theta", theta), ("phi", phi), ("omega", omega)):
        assert logits.shape == (2, 12, 12, BINS[name]) and logits is getattr(out, name)
        symmetric = torch.allclose(logits, logits.transpose(1, 2), atol=1e-5)
        assert symmetric == (name == "omega")


def test_omega_need_not_be_symmetric():
    omega = build(symmetrize_omega=False)(torch.randint(0, 21, (1, 8))).omega
    assert not torch.allclose(omega, omega.transpose(1, 2), atol=1e-2)


def test_beside_coordinates_angles_come_with_the_logits():
    model = build(predict_coords=True, return_aux_logits=True)
    coords, logits = model(torch.randint(0, 21, (1, 8)))
    assert coords.shape == (1, 24, 3) and logits.omega.shape == (1, 8, 8, 25)
    assert not {"theta", "phi", "omega"} & set(Alphafold2(tiny_config("self")).heads)


def test_it_learns_one_real_chain_and_its_angles():
    batch = real_chain(40)
    model = Alphafold2(tiny_config("self", "cross", predict_angles=True))
    first = total_loss(model.heads, model.predict(batch.features), batch.targets)[1]
    assert halves_its_loss(model, batch.features, batch.targets)
    last = total_loss(model.heads, model.predict(batch.features), batch.targets)[1]
    for name in BINS:
        assert last[name] < 0.8 * first[name]


def test_every_parameter_of_the_heads_gets_a_gradient():
    model, features = build(), random_features(12)
    total, _ = total_loss(model.heads, model.predict(features), random_targets(features))
    total.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.heads.parameters())


@pytest.mark.parametrize("name", BINS)
def test_logits_of_the_truth_cost_nothing_and_those_of_its_mirror_image_do(name):
    truth = real_chain(30).targets
    own_cb = truth.atom_mask & (truth.seq != RESIDUES.index("G"))[..., None]
    truth = replace(truth, atom_mask=own_cb)  # the mirror image of a placed one lies elsewhere
    head = Alphafold2(tiny_config("self", predict_angles=True)).heads[name]
    logits = torch.zeros(1, 30, 30, BINS[name], requires_grad=True)
    head.loss(logits, truth, None)[name].backward()
    right = -1e6 * logits.grad  # the gradient of a uniform guess points away from the true bin
    assert head.loss(right, truth, None)[name] < 1e-3
    wrong = replace(truth, positions=-truth.positions)
    turned = head.loss(right, wrong, None)[name]
    assert turned < 1e-3 if name == "phi" else turned > 1  # a planar angle has no hand


def test_what_is_unknown_is_not_read_and_absent_cbeta_is_placed():
    truth = real_chain(30).targets
    head = Alphafold2(tiny_config("self", predict_angles=True)).heads["phi"]
    logits = torch.randn(1, 30, 30, 13)
    mask = truth.atom_mask.clone()
    mask[:, 4], mask[:, 7, 0] = False, False
    partly = replace(truth, atom_mask=mask)
    moved = torch.where(mask[..., None], truth.positions, 99.0)
    one, two = (
        head.loss(logits, partly, None),
        head.loss(logits, replace(partly, positions=moved), None),
    )
    assert one == two != head.loss(logits, truth, None)
    mask = truth.atom_mask.clone()
    mask[:, :, 4:] = False
    bare = head.loss(logits, replace(truth, atom_mask=mask), None)["phi"]
    assert bare > 0 and torch.isfinite(bare)
    assert pair_phi(truth.positions[0, :, 1], truth.positions[0, :, 4]).isfinite().all()
