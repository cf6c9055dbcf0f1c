"""Every keyword of the trunk, in one table: masks, padding, gradients, storage, and learning."""

from dataclasses import replace

import pytest
import torch
from kit import halves_its_loss, random_features, real_chain, scrambled, tiny_config

from alphafold2_pytorch.config import READ_BY, REPLACED, Alphafold2Config
from alphafold2_pytorch.features import Features
from alphafold2_pytorch.model import Alphafold2, Logits

LIGHT = {"custom_block_types": ("self", "cross")}
CONV = {"custom_block_types": ("conv", "self", "conv")}
TEMPLATES, EMBEDS = {"template_attn_depth": 1}, {"num_embedds": 6}
CASES = {
    "plain": LIGHT,
    "depth": {"custom_block_types": (), "depth": 2},
    "use_conv": {"custom_block_types": (), "depth": 1, "use_conv": True},
    "dropout": {**LIGHT, "attn_dropout": 0.1, "ff_dropout": 0.1},
    "reversible": {**LIGHT, "reversible": True},
    "reversible evoformer": {"custom_block_types": ("evoformer",), "reversible": True},
    "kernels": {**CONV, "conv_seq_kernels": ((5, 1), (1, 5)), "conv_msa_kernels": ((3, 3),)},
    "dilations": {**CONV, "dilations": (1, 3)},
    "conv_glu_gated": {**CONV, "conv_glu_gated": True},
    "any order": {"custom_block_types": ("cross", "conv", "evoformer", "self", "covariance")},
    "sparse_self_attn": {**LIGHT, "sparse_self_attn": True, "max_seq_len": 64},
    "sparse in one layer": {
        "custom_block_types": ("self", "cross", "self"),
        "sparse_self_attn": (True, False),
        "max_seq_len": 64,
    },
    "msa_tie_row_attn": {**LIGHT, "msa_tie_row_attn": True},
    "inter_msa_self_attn": {**LIGHT, "inter_msa_self_attn": False},
    "rotary": {**LIGHT, "rotary": True},
    "cross_attn_linear": {**LIGHT, "cross_attn_linear": True},
    "cross_attn_kron_primary": {**LIGHT, "cross_attn_kron_primary": True},
    "cross_attn_kron_msa": {**LIGHT, "cross_attn_kron_msa": True},
    "kron, no rotary": {
        **LIGHT,
        "cross_attn_kron_msa": True,
        "rotary": True,
        "disable_cross_attn_rotary": True,
    },
    "cross_attn_compress_ratio": {**LIGHT, "cross_attn_compress_ratio": 3},
    "predict_angles": {**LIGHT, "predict_angles": True},
    "symmetrize_omega": {**LIGHT, "predict_angles": True, "symmetrize_omega": False},
    "predict_real_value_distances": {**LIGHT, "predict_real_value_distances": True},
    "templates": {**LIGHT, **TEMPLATES},
    "embeds": {**LIGHT, **EMBEDS},
    "disable_token_embed": {**LIGHT, **EMBEDS, "disable_token_embed": True},
}
ALL = pytest.mark.parametrize("keywords", CASES.values(), ids=CASES)


def config(keywords: dict) -> Alphafold2Config:
    return tiny_config(*keywords["custom_block_types"], **keywords)


def with_inputs(features: Features, keywords: dict) -> Features:
    """Templates and embeddings for the models that read them."""
    b, n = features.seq.shape
    more = {}
    if "template_attn_depth" in keywords:
        more["template_seq"] = torch.randint(0, 21, (b, 2, n))
        more["template_coords"] = 3.8 * torch.randn(b, 2, n, 3).cumsum(2)
        more["template_mask"] = torch.ones(b, 2, n, dtype=torch.bool)
        more["template_sidechains"] = torch.nn.functional.normalize(torch.randn(b, 2, n, 3), dim=-1)
    if "num_embedds" in keywords:
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(23, 6, generator=generator)
        more |= {"embeds": table[features.seq], "msa_embeds": table[features.msa]}
    return replace(features, **more)


def trunk_outputs(model: Alphafold2, features: Features) -> list[torch.Tensor]:
    return [each for each in Logits.of(model.predict(features).outputs) if each is not None]


@ALL
def test_what_is_masked_changes_nothing(keywords):
    model = scrambled(Alphafold2(config(keywords)))
    features = with_inputs(random_features(20, rows=4), keywords)
    mask, msa_mask = features.mask.clone(), features.msa_mask.clone()
    mask[:, -3:], msa_mask[:, -1], msa_mask[:, :, -3:] = False, False, False
    masked = replace(features, mask=mask, msa_mask=msa_mask)
    noisy = {
        "seq": torch.where(mask, features.seq, 3),
        "msa": torch.where(msa_mask, features.msa, 5),
        "deletions": torch.where(msa_mask, features.deletions, 9.0),
    }
    if features.embeds is not None:
        noisy["embeds"] = torch.where(mask[..., None], features.embeds, 7.0)
        noisy["msa_embeds"] = torch.where(msa_mask[..., None], features.msa_embeds, 7.0)
    if features.template_coords is not None:
        there = features.template_mask & mask[:, None]
        masked = replace(masked, template_mask=there)
        noisy["template_mask"] = there
        noisy["template_coords"] = torch.where(there[..., None], features.template_coords, 1e3)
    pairs = mask[:, :, None] & mask[:, None]
    with torch.no_grad():
        clean, dirty = (trunk_outputs(model, f) for f in (masked, replace(masked, **noisy)))
    for one, other in zip(clean, dirty, strict=True):
        torch.testing.assert_close(one[pairs], other[pairs], rtol=1e-3, atol=1e-3)


@ALL
def test_padding_a_batch_changes_nothing(keywords):
    model = scrambled(Alphafold2(config(keywords)))
    pair = [with_inputs(random_features(n, rows=rows), keywords) for n, rows in ((17, 3), (20, 5))]
    single = [Features(**{k: v[0] for k, v in f.tensors.items()}) for f in pair]
    with torch.no_grad():
        both = trunk_outputs(model, Features.stack(single))
        alone = trunk_outputs(model, pair[0])
    for padded, plain in zip(both, alone, strict=True):
        torch.testing.assert_close(padded[:1, :17, :17], plain, rtol=1e-3, atol=1e-3)


@ALL
def test_every_parameter_gets_a_gradient(keywords):
    model = scrambled(Alphafold2(config(keywords))).train()
    features = with_inputs(random_features(20, rows=4), keywords)
    seen = []
    model.trunk.register_forward_hook(lambda module, given, out: seen.append(out.msa))
    found = trunk_outputs(model, features)
    loss = sum(each.sin().mean() for each in [*found, *seen])  # no head reads the last MSA
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]
    assert not [name for name, p in model.trunk.named_parameters() if not p.grad.any()]


@ALL
def test_keywords_survive_storage(keywords):
    built = config(keywords)
    assert Alphafold2Config.from_json(built.to_json()) == built


@ALL
def test_a_real_chain_is_learned(keywords):
    torch.manual_seed(0)
    chain = real_chain(32, rows=6)
    model = Alphafold2(config(keywords))
    assert halves_its_loss(model, with_inputs(chain.features, keywords), chain.targets, steps=150)


def test_every_keyword_of_a_block_has_a_case():
    used = {name for keywords in CASES.values() for name in keywords}
    told = {"cross_attn_linear_projection_update_every"}  # its test needs many steps
    assert set(READ_BY) - told <= used


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"cross_attn_linear": True, "custom_block_types": ("self",)}, "read by 'cross' blocks"),
        ({"dilations": (1,), **LIGHT}, "read by 'conv' blocks; this trunk has none"),
        ({"sparse_self_attn": (True,), "max_seq_len": 9, "depth": 2}, "1 entries for 2 'self'"),
        ({"cross_attn_linear": (True, True, False), "depth": 2}, "3 entries for 2 'cross'"),
        ({"sparse_self_attn": True, "depth": 1}, "needs max_seq_len"),
        ({"cross_attn_linear": True, "cross_attn_compress_ratio": 2, "depth": 1}, "no keys to com"),
        ({"rotary": True, "dim_head": 7, "depth": 1}, "dim_head=7 is odd"),
        ({"rotary": True, "custom_block_types": ("conv",)}, "rotary=True would change nothing"),
        ({"disable_cross_attn_rotary": True, "depth": 1}, "would change nothing"),
        ({"return_aux_logits": True, "depth": 1}, "would change nothing"),
        ({"symmetrize_omega": False, "depth": 1}, "without predict_angles"),
        ({"dilations": (), "depth": 1, "use_conv": True}, "dilations is empty"),
        ({"use_conv": True, **LIGHT}, "leave out use_conv"),
        ({"heads": True, "depth": 1}, "heads must be a whole number"),
        ({"cross_attn_compress_ratio": 0, "depth": 1}, "cross_attn_compress_ratio must be"),
    ],
)
def test_keywords_that_do_not_fit_are_refused_by_name(keywords, told):
    with pytest.raises(ValueError, match=told):
        Alphafold2(**{"dim": 8, **keywords})


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_a_keyword_of_the_first_library_says_what_took_its_place(name):
    with pytest.raises(TypeError, match=f"no keyword '{name}': ..."):
        Alphafold2(dim=8, depth=1, **{name: 1})


def test_an_unknown_keyword_is_named_with_what_comes_near_it():
    with pytest.raises(TypeError, match=r"no keyword 'dept'; did you mean one of \['depth'"):
        Alphafold2(dim=8, dept=1)


SEQ, MSA = torch.zeros(1, 8, dtype=torch.long), torch.zeros(1, 3, 6, dtype=torch.long)


@pytest.mark.parametrize(
    ("error", "told", "given"),
    [
        (TypeError, "mask must be a tensor of boolean type", {"mask": torch.ones(1, 8)}),
        (TypeError, "seq must be a tensor of integer type", {"seq": torch.ones(1, 8)}),
        (TypeError, "msa_mask must be a tensor of boolean type", {"msa_mask": MSA}),
        (ValueError, r"mask has the shape \(1, 7\)", {"mask": torch.ones(1, 7).bool()}),
        (ValueError, r"msa_mask has the shape", {"msa_mask": torch.ones(1, 3, 8).bool()}),
        (ValueError, "msa must have the axes", {"msa": MSA[0]}),
        (
            ValueError,
            "seq has tokens 0 to 30; possible are 0 to 22",
            {"seq": 30 * SEQ.new_tensor([[0] * 7 + [1]])},
        ),
        (ValueError, "msa has tokens", {"msa": MSA - 1}),
        (ValueError, "templates_coors, which a template needs", {"templates_seq": SEQ[:, None]}),
        (ValueError, "NaN or infinite", {"templates_coors": torch.full((1, 1, 8, 3), torch.nan)}),
        (ValueError, "came without msa", {"msa": None, "msa_mask": torch.ones(1, 3, 6).bool()}),
        (ValueError, "return_confidence needs a structure", {"return_confidence": True}),
        (TypeError, "no argument 'refine': give structure_module_refinement_iters", {"refine": 1}),
        (TypeError, "no argument 'templates_dist': give templates_coors", {"templates_dist": MSA}),
        (TypeError, "no argument 'mas'; it has", {"mas": MSA}),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(error, told, given):
    model = Alphafold2(tiny_config("self", "cross", template_attn_depth=1))
    with pytest.raises(error, match=told):
        model(**{"seq": SEQ, "msa": MSA, **given})


def test_input_longer_than_max_seq_len_is_refused():
    model = Alphafold2(tiny_config("self", max_seq_len=7))
    with pytest.raises(ValueError, match="8 residues; this model was built for at most"):
        model(SEQ)
    assert model(SEQ[:, :7]).shape == (1, 7, 7, 37)


def test_returned_values_are_those_the_flags_ask_for():
    keywords = {**LIGHT, "predict_angles": True, "predict_coords": True}
    model = scrambled(Alphafold2(tiny_config(*LIGHT["custom_block_types"], **keywords)))
    assert model(SEQ, MSA).shape == (1, 24, 3)
    distance, theta, phi, omega = model(SEQ, MSA, return_trunk=True)
    assert [t.shape[-1] for t in (distance, theta, phi, omega)] == [37, 25, 13, 25]
    coords, confidence = model(SEQ, MSA, return_confidence=True)
    assert coords.shape == (1, 24, 3) and confidence.shape == (1, 8)
    keywords["return_aux_logits"] = True
    model = scrambled(Alphafold2(tiny_config(*LIGHT["custom_block_types"], **keywords)))
    coords, logits, confidence = model(SEQ, MSA, return_confidence=True)
    assert logits.distance.shape == (1, 8, 8, 37) and logits.omega.shape == (1, 8, 8, 25)
