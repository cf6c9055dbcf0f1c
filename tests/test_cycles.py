"""Cycles, ensembles, and what a prediction keeps of them."""

from collections import Counter
from dataclasses import replace
from weakref import ref

import pytest
import torch
from kit import random_features, scrambled

from alphafold2_pytorch import Alphafold2, Runtime
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs.recycling import change
from alphafold2_pytorch.ops import set_runtime

SMALL = {"dim": 8, "depth": 1, "heads": 2, "dim_head": 4, "num_embedds": 0}
COORDS = {
    "predict_coords": True,
    "structure_module_dim": 8,
    "structure_module_depth": 1,
    "structure_module_heads": 2,
    "template_attn_depth": 0,
}


def with_other_rows(features: Features, seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, 20, features.msa[:, 1:].shape, generator=generator)
    return replace(features, msa=torch.cat([features.msa[:, :1], rows], 1))


@pytest.fixture
def model():
    model = Alphafold2(**SMALL, **COORDS).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_each_cycle_reads_its_own_batch(model):
    one = random_features(n=9, rows=4)
    other = with_other_rows(one, 1)
    with torch.no_grad():
        found = model.predict([one, other], recycles=1).outputs["distogram"]
        first = model.predict(one, recycles=1).outputs["distogram"]
        second = model.predict(other, recycles=1).outputs["distogram"]
    assert not torch.allclose(found, first) and not torch.allclose(found, second)


def test_an_ensemble_of_equals_gives_what_one_gives(model):
    features = random_features(n=9, rows=4)
    with torch.no_grad():
        one = model.predict(features, recycles=1)
        two = model.predict([features] * 4, recycles=1, ensemble=2)
    torch.testing.assert_close(one.outputs["distogram"], two.outputs["distogram"])
    torch.testing.assert_close(one.structure.atoms, two.structure.atoms)


def test_an_ensemble_averages_pairs_and_keeps_the_first_msa(model):
    one = random_features(n=9, rows=4)
    other = with_other_rows(one, 1)
    with torch.no_grad():
        alone = [model.predict(x, representations=True).representations for x in (one, other)]
        both = model.predict([one, other], ensemble=2, representations=True).representations
    for name in ("pair", "single", "msa_first"):
        mean = (alone[0][name] + alone[1][name]) / 2
        torch.testing.assert_close(both[name], mean)
    torch.testing.assert_close(both["msa"], alone[0]["msa"])


@pytest.mark.parametrize("ensemble", [1, 3])
def test_of_the_last_cycle_no_pairs_are_held_once_all_members_have_read_them(model, ensemble):
    held, made = [], []

    def embedded(module, inputs, streams):
        made.append(ref(streams.pair))

    def in_trunk(module, inputs):
        held.append(sum(each() is not None for each in made))

    model.inputs.register_forward_hook(embedded)
    model.trunk.register_forward_pre_hook(in_trunk)
    with torch.no_grad():
        model.predict([random_features(n=9, rows=4)] * 3 * ensemble, recycles=2, ensemble=ensemble)
    # its own; the first member's; of an ensemble's last cycle the mean, which no input made
    assert held == {1: [1, 1, 1], 3: [1, 2, 1] * 3}[ensemble]


def test_the_trajectory_ends_with_the_prediction(model):
    features = random_features(n=9, rows=4)
    with torch.no_grad():
        found = model.predict(features, recycles=2, trajectory=True)
    assert len(found.trajectory) == 3
    assert torch.equal(found.trajectory[-1], found.structure.atoms[-1])
    assert model.predict(features).trajectory is None


def test_cycles_stop_when_distances_no_longer_change(model):
    features, done = random_features(n=9, rows=4), []
    with torch.no_grad():
        found = model.predict(
            features,
            recycles=5,
            tolerance=1e6,
            trajectory=True,
            progress=lambda cycle, _: done.append(cycle),
        )
        all_of_them = model.predict(features, recycles=2, tolerance=0.0, trajectory=True)
        second = model.predict(features, recycles=1)
    assert done == [1, 2] and len(found.trajectory) == 2
    assert torch.equal(found.structure.atoms, second.structure.atoms)
    assert len(all_of_them.trajectory) == 3


def test_a_moved_and_turned_structure_has_not_changed():
    atoms = torch.randn(1, 7, 14, 3)
    turn = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    mask = torch.ones(1, 7, dtype=torch.bool)
    assert change(atoms, atoms @ turn + 5, mask) < 1e-5
    assert change(atoms, 2 * atoms, mask) > 0.1


def test_masked_residues_do_not_keep_cycles_going():
    atoms = torch.randn(1, 7, 14, 3)
    mask = torch.arange(7)[None] < 5
    moved = torch.where(mask[..., None, None], atoms, 100.0)
    assert change(atoms, moved, mask) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"ensemble": 2}, "give a list"),
        ({"recycles": -1}, "at least 0"),
        ({"ensemble": 0}, "at least 1"),
        ({"tolerance": 0.5}, "no gradients"),
    ],
)
def test_what_does_not_fit_is_refused(model, arguments, says):
    with pytest.raises(ValueError, match=says):
        model.predict(random_features(n=5, rows=2), **arguments)


def test_a_list_of_another_length_is_refused(model):
    with pytest.raises(ValueError, match="read 4 batches, got 3"):
        model.predict([random_features(n=5, rows=2)] * 3, recycles=3)


def test_what_features_alone_say_is_embedded_once(model):
    templates = replace(random_features(n=9, rows=4, templates=2), msa=torch.zeros(1, 4, 9).long())
    model = scrambled(Alphafold2(**SMALL, **COORDS | {"template_attn_depth": 1}))
    asked, inputs = Counter(), model.inputs
    for part in (inputs.relative_position, inputs.pair_tokens, inputs.msa_tokens):
        part.register_forward_hook(lambda part, *_: asked.update([type(part).__name__]))
    inputs.templates.layers[0].register_forward_hook(lambda *_: asked.update(["templates"]))
    with torch.no_grad():
        found = model.predict(templates, recycles=3)
        assert asked == dict.fromkeys(asked, 1) and len(asked) == 4
        equal = [replace(templates, seq=templates.seq.clone()) for _ in range(4)]
        again = model.predict(equal, recycles=3)  # the same in other tensors
        assert set(asked.values()) == {2}
        set_runtime(model, Runtime(chunk_bytes=1))  # no room
        anew = model.predict(templates, recycles=3)
        assert set(asked.values()) == {6}
    assert torch.equal(found.structure.atoms, again.structure.atoms)
    torch.testing.assert_close(found.outputs["distogram"], anew.outputs["distogram"])
    torch.testing.assert_close(found.structure.atoms, anew.structure.atoms, rtol=0, atol=1e-3)


def test_what_differs_between_cycles_is_embedded_anew():
    model = scrambled(Alphafold2(**SMALL, **COORDS))
    one = random_features(n=9, rows=4)
    samples, asked = [one, with_other_rows(one, 1), with_other_rows(one, 2)], Counter()
    for part in (model.inputs.relative_position, model.inputs.msa_tokens):
        part.register_forward_hook(lambda part, *_: asked.update([type(part).__name__]))
    with torch.no_grad():
        found = model.predict(samples, recycles=2)
    assert asked == {"RelativePosition": 1, "MsaTokens": 3}
    set_runtime(model, Runtime(chunk_bytes=1))
    with torch.no_grad():
        anew = model.predict(samples, recycles=2)
    torch.testing.assert_close(found.structure.atoms, anew.structure.atoms, rtol=0, atol=1e-3)


def test_gradients_are_those_of_the_last_cycle_whatever_was_kept():
    model, features = scrambled(Alphafold2(**SMALL, **COORDS)), random_features(n=9, rows=4)
    found = []
    for chunk in (None, 1):
        set_runtime(model, Runtime(chunk_bytes=chunk))
        model.zero_grad()
        model.predict(features, recycles=2).outputs["distogram"].square().mean().backward()
        found.append([p.grad for p in model.inputs.parameters() if p.grad is not None])
    assert len(found[0]) > 3
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_what_is_kept_is_not_changed_in_place():
    """An MSA that is not aligned is not copied on its way into the trunk by recycling."""
    model = scrambled(Alphafold2(**SMALL, template_attn_depth=0))
    features = random_features(n=9, rows=4, columns=7)
    with torch.no_grad():
        found = model.predict(features, recycles=2).outputs["distogram"]
        set_runtime(model, Runtime(chunk_bytes=1))
        anew = model.predict(features, recycles=2).outputs["distogram"]
    torch.testing.assert_close(found, anew)
