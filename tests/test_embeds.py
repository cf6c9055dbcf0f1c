"""The wrappers, on the real language model classes with tiny random weights: no download."""

import argparse
import importlib
from urllib.error import URLError

import pytest
import torch
from kit import scrambled, tiny_config

from alphafold2_pytorch import embeds as wrappers
from alphafold2_pytorch.chem.residues import GAP, LETTERS
from alphafold2_pytorch.model import Alphafold2

WHY = "needs the extra embeds"
WIDTH = 12  # of the tiny language models


def tiny_esm(positions: str = "rotary"):
    transformers = pytest.importorskip("transformers", reason=WHY)
    config = transformers.EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        position_embedding_type=positions,
        token_dropout=True,
        emb_layer_norm_before=False,
    )
    return scrambled(transformers.EsmModel(config, add_pooling_layer=False))


def tiny_t5():
    transformers = pytest.importorskip("transformers", reason=WHY)
    config = transformers.T5Config(
        vocab_size=128, d_model=WIDTH, d_kv=4, d_ff=16, num_layers=2, num_heads=2
    )
    return scrambled(transformers.T5EncoderModel(config))


def msa_arguments() -> argparse.Namespace:
    return argparse.Namespace(
        arch="msa_transformer",
        layers=2,
        embed_dim=WIDTH,
        ffn_embed_dim=16,
        attention_heads=2,
        dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.1,
        max_tokens=2**14,
        max_positions=1024,
        embed_positions_msa=True,
    )


def tiny_msa_transformer():
    esm = pytest.importorskip("esm", reason=WHY)
    alphabet = esm.Alphabet.from_architecture("msa_transformer")
    return scrambled(esm.MSATransformer(msa_arguments(), alphabet))


WRAPPERS = {
    wrappers.ESMEmbedWrapper: tiny_esm,
    wrappers.ProtTranEmbedWrapper: tiny_t5,
    wrappers.MSAEmbedWrapper: tiny_msa_transformer,
}
every = pytest.mark.parametrize("kind", WRAPPERS, ids=lambda kind: kind.__name__)


def model(num_embedds: int = WIDTH, **keywords) -> Alphafold2:
    return scrambled(Alphafold2(tiny_config("self", "cross", num_embedds=num_embedds, **keywords)))


def wrapped(kind, num_embedds: int = WIDTH, **keywords):
    return kind(model(num_embedds), WRAPPERS[kind](), **keywords).eval()


def inputs(batch: int = 2, n: int = 7, rows: int = 4):
    """The first row is the query; the second has gaps."""
    seq = torch.randint(0, 21, (batch, n))
    msa = torch.randint(0, 21, (batch, rows, n))
    msa[:, 0], msa[:, 1, 2:4] = seq, GAP
    return seq, msa


@every
@pytest.mark.parametrize("num_embedds", [WIDTH, 10])
def test_the_wrapper_is_the_model_with_embeddings(kind, num_embedds):
    wrapper, (seq, msa) = wrapped(kind, num_embedds), inputs()
    embeds, msa_embeds = wrapper.embed(seq, msa)
    assert embeds.shape == (2, 7, num_embedds) and msa_embeds.shape == (2, 4, 7, num_embedds)
    out = wrapper(seq, msa)
    same = wrapper.alphafold2(seq, msa, embeds=embeds, msa_embeds=msa_embeds)
    torch.testing.assert_close(out, same)
    assert not torch.allclose(out, wrapper.alphafold2(seq, msa), atol=1e-3)


@every
def test_without_an_alignment_or_with_one_of_another_length(kind):
    wrapper, (seq, msa) = wrapped(kind), inputs()
    assert wrapper.embed(seq)[1] is None
    assert wrapper(seq).shape == (2, 7, 7, 37)
    embeds, msa_embeds = wrapper.embed(seq, msa[:, :, :5])
    torch.testing.assert_close(embeds, wrapper.embed(seq)[0])
    assert msa_embeds.shape == (2, 4, 5, WIDTH)
    assert wrapper(seq, msa[:, :, :5]).shape == (2, 7, 7, 37)


@every
def test_padding_is_not_seen(kind):
    wrapper, (seq, msa) = wrapped(kind), inputs(batch=1)
    alone = wrapper.embed(seq, msa)
    for filler in (0, 5):
        longer = torch.full((2, 10), filler)
        longer[0, :7], longer[1] = seq, torch.randint(0, 20, (10,))
        deeper = torch.full((2, 6, 10), filler)
        deeper[0, :4, :7], deeper[1] = msa, torch.randint(0, 20, (6, 10))
        mask, msa_mask = torch.ones(2, 10).bool(), torch.ones(2, 6, 10).bool()
        mask[0, 7:], msa_mask[0, 4:], msa_mask[0, :, 7:] = False, False, False
        embeds, msa_embeds = wrapper.embed(longer, deeper, mask=mask, msa_mask=msa_mask)
        close = {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(embeds[:1, :7], alone[0], **close)
        torch.testing.assert_close(msa_embeds[:1, :4, :7], alone[1], **close)
        assert not embeds[0, 7:].any() and not msa_embeds[0, 4:].any()


@every
def test_what_is_masked_inside_is_not_read(kind):
    wrapper, (seq, msa) = wrapped(kind), inputs()
    mask, msa_mask = torch.ones_like(seq).bool(), torch.ones_like(msa).bool()
    mask[:, 3], msa_mask[:, 1, 2], msa_mask[:, 2] = False, False, False
    other = torch.where(mask, seq, (seq + 1) % 20), torch.where(msa_mask, msa, (msa + 1) % 20)
    one = wrapper.embed(seq, msa, mask=mask, msa_mask=msa_mask)
    two = wrapper.embed(*other, mask=mask, msa_mask=msa_mask)
    torch.testing.assert_close(one, two)
    everything_masked = wrapper.embed(seq, msa, mask=mask & False, msa_mask=msa_mask & False)
    assert not everything_masked[0].any() and not everything_masked[1].any()


@pytest.mark.parametrize("positions", ["rotary", "absolute"])
def test_esm_reads_start_residues_and_end(positions):
    language_model = tiny_esm(positions)
    wrapper = wrappers.ESMEmbedWrapper(model(), language_model)
    row = torch.tensor([[0, 21, 10, 22, 20, 21]])  # A-L?X-
    found = wrapper.embed(row)[0]
    tokens = torch.tensor([[0, 5, 4, 32, 24, 2]])  # <cls> A L <mask> X <eos>
    expected = language_model(tokens).last_hidden_state[0, 1:5]
    torch.testing.assert_close(found[0, [0, 2, 3, 4]], expected)
    assert not found[0, [1, 5]].any()


def test_prot_t5_reads_residues_and_end():
    language_model = tiny_t5()
    wrapper = wrappers.ProtTranEmbedWrapper(model(), language_model)
    found = wrapper.embed(torch.tensor([[LETTERS.index(a) for a in "PRTEIN?"]]))[0]
    tokens = torch.tensor([[13, 8, 11, 9, 12, 17, 23, 1]])
    torch.testing.assert_close(found, language_model(tokens).last_hidden_state[:, :-1])


def test_the_msa_transformer_reads_the_alignment():
    language_model = tiny_msa_transformer()
    wrapper = wrappers.MSAEmbedWrapper(model(), language_model)
    seq, msa = inputs(batch=1)
    alphabet = importlib.import_module("esm").Alphabet.from_architecture("msa_transformer")
    text = [(str(i), "".join(LETTERS[t] for t in row)) for i, row in enumerate(msa[0])]
    tokens = alphabet.get_batch_converter()(text)[2]
    expected = language_model(tokens, repr_layers=[2])["representations"][2]
    embeds, msa_embeds = wrapper.embed(seq, msa)
    torch.testing.assert_close(embeds, expected[:, 0, 1:])
    torch.testing.assert_close(msa_embeds, expected[:, :, 1:])
    on_top, rest = wrapper.embed(seq, msa[:, 1:])  # the query is put on top
    torch.testing.assert_close(on_top, expected[:, 0, 1:])
    torch.testing.assert_close(rest, expected[:, 1:, 1:])
    assert alphabet.all_toks == list(wrappers.ESM_VOCABULARY)
    with pytest.raises(ValueError, match="at most 1024 rows and 1023 columns, got 1 and 1024"):
        wrapper.embed(torch.zeros(1, 1024).long())


@every
def test_rows_are_embedded_in_parts_to_the_same_numbers(kind, monkeypatch):
    wrapper, (seq, msa) = wrapped(kind), inputs()
    whole = wrapper.embed(seq, msa)
    monkeypatch.setattr(wrappers.SequenceWrapper, "rows_at_once", 3)
    torch.testing.assert_close(wrapper.embed(seq, msa), whole)


@every
def test_frozen_it_is_no_part_of_the_wrapper_and_stays_as_it_is(kind):
    wrapper, (seq, msa) = wrapped(kind, num_embedds=10).train(), inputs()
    wrapper(seq, msa).square().sum().backward()
    assert wrapper.project.weight.grad.any()
    language_model = wrapper.language_model
    assert not language_model.training
    assert all(p.grad is None and not p.requires_grad for p in language_model.parameters())
    names = {*wrapper.state_dict(), *dict(wrapper.named_parameters())}
    assert names and all(n.startswith(("alphafold2.", "project.")) for n in names)
    wrapper.double()
    assert next(language_model.parameters()).dtype == torch.float64
    assert wrapper(seq, msa).dtype == torch.float64


@every
def test_thawed_it_learns(kind):
    wrapper, (seq, msa) = wrapped(kind, freeze=False).train(), inputs()
    wrapper(seq, msa).square().sum().backward()
    assert wrapper.language_model.training
    grads = {n: p.grad for n, p in wrapper.named_parameters() if n.startswith("language_model.")}
    assert sum(g is not None and bool(g.any()) for g in grads.values()) > len(grads) / 2
    with pytest.raises(ValueError, match="pass a loaded language_model"):
        kind(alphafold2=model(), freeze=False)


@every
def test_the_trunk_may_have_nothing_but_embeddings(kind):
    only = model(disable_token_embed=True)
    wrapper, (seq, msa) = kind(alphafold2=only, language_model=WRAPPERS[kind]()), inputs()
    out = wrapper(seq, msa, mask=torch.ones_like(seq).bool())
    assert out.shape == (2, 7, 7, 37)
    assert not torch.allclose(out, wrapper(seq.flip(1), msa.flip(2)))


@every
def test_what_does_not_fit_is_refused(kind):
    with pytest.raises(ValueError, match="num_embedds=0"):
        kind(alphafold2=model(num_embedds=0))
    with pytest.raises(TypeError, match=r"language_model must be a .* got Linear"):
        WRAPPERS[kind]()  # skips without the extra
        kind(model(), torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="seq has tokens 0 to 23; possible are 0 to 22"):
        wrapped(kind)(torch.tensor([[0, 23]]))


@pytest.mark.parametrize(
    "kind", [wrappers.ESMEmbedWrapper, wrappers.ProtTranEmbedWrapper], ids=lambda k: k.__name__
)
def test_a_checkpoint_of_transformers_is_read_on_the_first_call(kind, tmp_path, monkeypatch):
    language_model = WRAPPERS[kind]()
    monkeypatch.setattr(kind, "checkpoint", str(tmp_path / "model"))
    monkeypatch.setattr(kind, "width", WIDTH)
    wrapper, (seq, msa) = kind(alphafold2=model()), inputs()  # before there is a file
    with pytest.raises(OSError, match=r"could not load '.*/model'.*language_model=\.\.\."):
        wrapper(seq, msa)
    language_model.save_pretrained(tmp_path / "model")
    expected = kind(wrapper.alphafold2, language_model)(seq, msa)
    torch.testing.assert_close(wrapper(seq, msa), expected)


def test_a_checkpoint_of_fair_esm_is_read_on_the_first_call(tmp_path, monkeypatch):
    language_model, path = tiny_msa_transformer(), tmp_path / "esm_msa1b_tiny.pt"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(wrappers.MSAEmbedWrapper, "checkpoint", path.as_uri())
    monkeypatch.setattr(wrappers.MSAEmbedWrapper, "width", WIDTH)
    wrapper, (seq, msa) = wrappers.MSAEmbedWrapper(alphafold2=model()), inputs()
    with pytest.raises(OSError, match=r"could not load 'file://.*language_model=\.\.\."):
        wrapper(seq, msa)
    swap = {"row": "column", "column": "row"}  # as the published file names them
    state = {
        ".".join(
            part.replace(*next(((a, b) for a, b in swap.items() if a in part), ("", "")))
            for part in name.split(".")
        ): tensor
        for name, tensor in language_model.state_dict().items()
        if not name.startswith("contact_head")
    }
    torch.save({"args": msa_arguments(), "model": state}, path)
    expected = wrappers.MSAEmbedWrapper(wrapper.alphafold2, language_model)(seq, msa)
    torch.testing.assert_close(wrapper(seq, msa), expected)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("esm", reason=WHY)
    path = tmp_path / "evil.pt"
    torch.save({"args": msa_arguments(), "model": print}, path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(wrappers.MSAEmbedWrapper, "checkpoint", path.as_uri())
    with pytest.raises(Exception, match="Weights only load failed"):
        wrappers.MSAEmbedWrapper(alphafold2=model())(torch.zeros(1, 3).long())


@every
def test_offline_the_error_names_the_checkpoint(kind, monkeypatch):
    WRAPPERS[kind]()  # skips without the extra

    def offline(self):
        raise URLError("no route")

    monkeypatch.setattr(kind, "load", offline)
    with pytest.raises(OSError, match=f"could not load '{kind.checkpoint}'.*no route"):
        kind(alphafold2=model())(torch.zeros(1, 3).long())


@every
def test_without_the_extra_the_error_names_it(kind, monkeypatch):
    def missing(name, *arguments):
        raise ModuleNotFoundError(name)

    wrapper = kind(alphafold2=model())
    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install 'alphafold2-pytorch\[embeds\]'"):
        wrapper(torch.zeros(1, 3).long())
