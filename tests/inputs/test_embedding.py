"""Pretrained embeddings beside or in place of the tokens."""

from dataclasses import replace

import pytest
import torch
from kit import random_features, scrambled, tiny_config

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.model import Alphafold2


def build(*blocks: str, **keywords) -> Alphafold2:
    keywords = {"num_embedds": 6, **keywords}
    return scrambled(Alphafold2(tiny_config(*(blocks or ("self", "cross")), **keywords)))


def distogram(model, features):
    return model.predict(features).outputs["distogram"]


def test_they_work_as_users_type_it():
    model = Alphafold2(dim=16, depth=1, heads=2, dim_head=8)
    seq, msa = torch.randint(0, 21, (1, 12)), torch.randint(0, 21, (1, 5, 10))
    embeds, msa_embeds = torch.randn(1, 12, 1280), torch.randn(1, 5, 10, 1280)
    assert model(seq, msa, embeds=embeds).shape == (1, 12, 12, 37)
    assert model(seq, msa, embeds=embeds, msa_embeds=msa_embeds).shape == (1, 12, 12, 37)
    assert model(seq, embeds=embeds.half()).shape == (1, 12, 12, 37)


@pytest.mark.parametrize("columns", [9, 5])
@pytest.mark.parametrize("disable_token_embed", [False, True])
def test_both_change_the_result(columns, disable_token_embed):
    model = build(disable_token_embed=disable_token_embed)
    features = random_features(columns=columns, embeds=6)
    base = distogram(model, features)
    for name in ("embeds", "msa_embeds"):
        changed = replace(features, **{name: getattr(features, name) + 1})
        assert not torch.allclose(distogram(model, changed), base, atol=1e-3)
        if not disable_token_embed:
            without = replace(features, **{name: None})
            assert not torch.allclose(distogram(model, without), base, atol=1e-3)


def test_without_tokens_only_embeddings_say_what_a_residue_is():
    model, features = build(disable_token_embed=True), random_features(embeds=6)
    tokens = [name for name in model.state_dict() if "_tokens." in name]
    assert tokens == ["inputs.msa_tokens.deletions.weight"]
    other = replace(features, seq=(features.seq + 1) % 20, msa=(features.msa + 1) % 20)
    assert torch.equal(distogram(model, other), distogram(model, features))
    seq, msa = features.seq, features.msa
    embeds, msa_embeds = features.embeds, features.msa_embeds
    with pytest.raises(ValueError, match=r"disable_token_embed\): give \['embeds', 'msa_embeds'\]"):
        model(seq)
    with pytest.raises(ValueError, match=r"give \['msa_embeds'\]"):
        model(seq, msa, embeds=embeds)
    with pytest.raises(ValueError, match=r"give \['embeds'\]"):
        model(seq, msa, msa_embeds=msa_embeds)
    assert model(seq, embeds=embeds).shape == (1, 9, 9, 37)  # the sequence is its own only row
    with pytest.raises(ValueError, match="num_embedds must not be 0"):
        Alphafold2Config(dim=8, depth=1, disable_token_embed=True, num_embedds=0)


def test_masked_embeddings_are_not_read_even_if_they_are_nan():
    model, features = build(), random_features(embeds=6)
    features.mask[:, -2:], features.msa_mask[:, -1], features.msa_mask[:, :, -2:] = (False,) * 3
    nan = float("nan")
    other = replace(
        features,
        embeds=torch.where(features.mask[..., None], features.embeds, nan),
        msa_embeds=torch.where(features.msa_mask[..., None], features.msa_embeds, nan),
    )
    found = distogram(model, other)[:, :7, :7]
    torch.testing.assert_close(found, distogram(model, features)[:, :7, :7])
    found.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with pytest.raises(ValueError, match=r"embeds has entries that are NaN .* where mask is True"):
        distogram(model, replace(other, mask=features.mask | True))


def test_a_model_without_embeddings_has_no_parameters_and_refuses_them():
    model, features = build(num_embedds=0), random_features(embeds=6)
    assert not [name for name in model.state_dict() if "embeds" in name]
    with pytest.raises(ValueError, match=r"reads no embeds: .* num_embedds=0"):
        model.predict(features)
    with pytest.raises(ValueError, match=r"embeds must have the shape \(1, 9, 5\)"):
        build(num_embedds=5).predict(features)
    for name in ("num_embedds", "template_attn_depth"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 0"):
            build(**{name: -1})


def test_modules_in_double_stay_double():
    model, features = build().double(), random_features(embeds=6)
    assert distogram(model, features).dtype == torch.float64
    seq, embeds = features.seq, features.embeds.double()
    assert model(seq, embeds=embeds).dtype == torch.float64
