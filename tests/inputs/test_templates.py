"""Templates: what they change, and what must not matter."""

from dataclasses import replace

import pytest
import torch
from kit import random_features, random_rigid, scrambled, tiny_config

from alphafold2_pytorch.features import Features
from alphafold2_pytorch.inputs.templates import (
    TemplateEmbedding,
    between,
    invariants,
    soft_bins,
    unit,
)
from alphafold2_pytorch.model import Alphafold2


def build(**keywords) -> Alphafold2:
    return scrambled(
        Alphafold2(tiny_config("self", "cross", **{"template_attn_depth": 2, **keywords}))
    )


def embedding() -> TemplateEmbedding:
    return scrambled(TemplateEmbedding(16, 23, 2, dim=16, heads=2, dim_head=8))


def distogram(model: Alphafold2, features: Features):
    return model.predict(features).outputs["distogram"]


def without(features: Features) -> Features:
    names = ("template_seq", "template_coords", "template_mask", "template_sidechains")
    return replace(features, **dict.fromkeys(names))


def test_templates_change_the_result_in_every_part():
    model, features = build(), random_features(templates=2)
    base = distogram(model, features)
    assert not torch.allclose(distogram(model, without(features)), base, atol=1e-3)
    for name, other in (
        ("template_coords", 1.3 * features.template_coords),
        ("template_seq", (features.template_seq + 1) % 21),
        ("template_mask", features.template_mask.roll(1, -1)),
        ("template_sidechains", features.template_sidechains.roll(1, -1)),
        ("template_sidechains", None),
    ):
        changed = distogram(model, replace(features, **{name: other}))
        assert not torch.allclose(changed, base, atol=1e-4), name


def test_a_rigid_motion_of_a_template_changes_nothing():
    model, features = build(), random_features(templates=2, batch=2)
    rigid = random_rigid(2, 2, 1, dtype=torch.float32)
    turn = replace(rigid, trans=torch.zeros_like(rigid.trans))
    moved = replace(
        features,
        template_coords=rigid.apply(features.template_coords),
        template_sidechains=turn.apply(features.template_sidechains),
    )
    torch.testing.assert_close(
        distogram(model, moved), distogram(model, features), rtol=1e-3, atol=1e-3
    )


def test_no_template_equals_all_templates_masked():
    model, features = build(), random_features(templates=2)
    masked = replace(features, template_mask=features.template_mask & False)
    none = replace(
        without(features),
        template_seq=features.template_seq[:, :0],
        template_coords=features.template_coords[:, :0],
        template_mask=features.template_mask[:, :0],
    )
    expected = distogram(model, without(features))
    assert torch.equal(distogram(model, masked), expected)
    assert torch.equal(distogram(model, none), expected)


def test_the_update_is_zero_where_no_template_has_both_residues():
    features, pair = random_features(templates=2), torch.randn(1, 9, 9, 16)
    features.template_mask[:, :, :3] = False
    update = embedding()(pair, features)
    mask = features.template_mask
    covered = (mask[..., :, None] & mask[..., None, :]).any(1)
    assert torch.equal(update.any(-1), covered) and covered.any()


def test_the_order_and_the_number_of_masked_templates_do_not_matter():
    model, features = build(), random_features(templates=3)
    base = distogram(model, features)
    names = [name for name in features.tensors if name.startswith("template_")]
    turned = replace(features, **{n: getattr(features, n)[:, [2, 0, 1]] for n in names})
    torch.testing.assert_close(distogram(model, turned), base, rtol=1e-4, atol=1e-4)
    longer = features.pad("t", 5)
    torch.testing.assert_close(distogram(model, longer), base, rtol=1e-4, atol=1e-4)


def test_padding_residues_changes_nothing():
    model, short = build(), random_features(7, templates=2)
    long = random_features(10, templates=3)
    both = Features.stack(
        [Features(**{k: v[0] for k, v in f.tensors.items()}) for f in (short, long)]
    )
    out = distogram(model, both)
    torch.testing.assert_close(out[:1, :7, :7], distogram(model, short), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(out[1:], distogram(model, long), rtol=1e-3, atol=1e-3)


def test_what_is_masked_is_not_read_even_if_it_is_nan():
    model, features = build().train(), random_features(templates=2)
    features.template_mask[:, 0, 2:4], features.mask[:, -1] = False, False
    known = (features.template_mask & features.mask[:, None])[..., None]
    base = distogram(model, features)
    base[:, :-1, :-1].square().mean().backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    other = replace(
        features,
        template_coords=torch.where(known, features.template_coords, float("nan")),
        template_sidechains=torch.where(known, features.template_sidechains, float("inf")),
        template_seq=torch.where(known[..., 0], features.template_seq, 3),
    )
    found = distogram(model, other)
    torch.testing.assert_close(found[:, :-1, :-1], base[:, :-1, :-1])
    found[:, :-1, :-1].square().mean().backward()
    for name, parameter in model.named_parameters():
        if name in wanted and "templates.left" not in name and "templates.right" not in name:
            torch.testing.assert_close(parameter.grad, wanted[name], rtol=1e-3, atol=1e-4)


def test_gradients_reach_the_coordinates_and_stay_finite():
    features, module = random_features(templates=2), embedding()
    features.template_coords[0, 0, 1] = features.template_coords[0, 0, 2]  # no direction
    features.template_sidechains[0, 0, 3] = 0.0
    features.template_mask[0, 1, 4] = False
    coords = features.template_coords.requires_grad_()
    vectors = features.template_sidechains.requires_grad_()
    module(torch.randn(1, 9, 9, 16), features).square().sum().backward()
    assert torch.isfinite(coords.grad).all() and torch.isfinite(vectors.grad).all()
    assert coords.grad.any() and vectors.grad.any()
    assert not coords.grad[0, 1, 4].any()


def test_the_invariants_are_what_they_say():
    points = torch.tensor([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    distance, direction = between(points)
    torch.testing.assert_close(distance, torch.tensor([[0.0, 5.0], [5.0, 0.0]]))
    torch.testing.assert_close(direction[1, 0], torch.tensor([0.6, 0.0, 0.8]))  # to 1 from 0
    assert not direction[0, 0].any()
    vectors = unit(torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    torch.testing.assert_close(invariants(vectors, direction)[1, 0], torch.tensor([0.0, 0.8, 0.6]))
    bins = soft_bins(torch.tensor([1.0, 2.75, 20.0, 50.0]))
    assert bins.shape == (4, 37)
    torch.testing.assert_close(bins[1, 1:3], torch.tensor([0.5, 0.5]))
    assert bins[0, 0] == bins[2, -1] == bins[3, -1] == 1
    torch.testing.assert_close(bins.sum(-1), torch.ones(4))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.float64])
def test_forward_takes_coordinates_of_any_number_type(dtype):
    model, seq = build(), torch.randint(0, 21, (1, 8))
    coords = torch.randint(0, 16, (1, 2, 8, 3))
    expected = model(seq, templates_coors=coords.float())
    torch.testing.assert_close(model(seq, templates_coors=coords.to(dtype)), expected)
    everything = {
        "templates_coors": coords.to(dtype),
        "templates_seq": seq[:, None].repeat(1, 2, 1),
    }
    everything |= {"templates_mask": torch.ones(1, 2, 8).bool()}
    everything |= {"templates_sidechains": torch.randn(1, 2, 8, 3)}
    out = model.double()(seq, **everything)
    assert out.dtype == torch.float64 and not torch.allclose(out.float(), expected, atol=1e-3)


def test_autocast_and_chunks_give_the_same_numbers():
    from alphafold2_pytorch import Runtime
    from alphafold2_pytorch.ops import set_runtime

    model, features = build(), random_features(templates=2)
    base = distogram(model, features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = distogram(model, features)
    torch.testing.assert_close(half.float(), base, rtol=0.2, atol=0.5)
    set_runtime(model, Runtime(chunk_bytes=1000))
    with torch.no_grad():
        torch.testing.assert_close(distogram(model, features), base, rtol=1e-4, atol=1e-4)


def test_options_and_the_absence_of_templates_in_the_config():
    model = build(options={"templates": {"dim": 12, "heads": 3, "dim_head": 4}})
    assert model.inputs.templates.left.weight.shape == (23, 12)
    none = build(template_attn_depth=0)
    assert none.inputs.templates is None
    assert not [name for name in none.state_dict() if "templates" in name]
    features = random_features(templates=1)
    with pytest.raises(ValueError, match=r"reads no templates: .* template_attn_depth=0"):
        none.predict(features)
    with pytest.raises(ValueError, match=r"got only \['template_coords'\]"):
        build().predict(replace(without(features), template_coords=features.template_coords))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"templates_coors": torch.full((1, 2, 4, 3), float("nan"))}, "template_coords has .* NaN"),
        ({"templates_coors": torch.zeros(1, 2, 5, 3)}, "templates_coors has the shape"),
        (
            {"templates_mask": torch.ones(1, 3, 4).bool()},
            "templates_coors has the shape|templates_mask",
        ),
        ({"templates_seq": torch.full((1, 2, 4), 23)}, "template_seq has tokens 23 to 23"),
        ({"templates_sidechains": torch.full((1, 2, 4, 3), float("inf"))}, "template_sidechains"),
        ({"templates_coors": None}, "came without templates_coors"),
    ],
)
def test_templates_that_do_not_fit_are_refused(change, told):
    seq = torch.zeros(1, 4).long()
    arguments = {
        "templates_coors": torch.zeros(1, 2, 4, 3),
        "templates_seq": torch.zeros(1, 2, 4).long(),
        "templates_mask": torch.ones(1, 2, 4).bool(),
        "templates_sidechains": torch.zeros(1, 2, 4, 3),
    }
    with pytest.raises(ValueError, match=told):
        build()(seq, **{**arguments, **change})
    with pytest.raises(TypeError, match="templates_mask must be a tensor of boolean type"):
        build()(seq, **{**arguments, "templates_mask": torch.ones(1, 2, 4)})
