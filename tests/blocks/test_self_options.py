"""The options of the `self` block: what each computes, and the invariants that none may break."""

from dataclasses import replace

import pytest
import torch
from kit import random_streams, scrambled, tiny_config

from alphafold2_pytorch.blocks import BLOCKS
from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.layers.attention import GatedAttention
from alphafold2_pytorch.layers.rotary import Rotary
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.ops import Attend, SparseAttend, TiedAttend, set_runtime
from alphafold2_pytorch.streams import Streams

SPARSE = {"sparse_self_attn": True, "max_seq_len": 128}
OPTIONS = {
    "sparse": SPARSE,
    "tied": {"msa_tie_row_attn": True},
    "apart": {"inter_msa_self_attn": False},
    "rotary": {"rotary": True},
    "all": {
        **SPARSE,
        "msa_tie_row_attn": True,
        "inter_msa_self_attn": False,
        "rotary": True,
    },
}
EVERY = pytest.mark.parametrize("option", OPTIONS)
LONG = 50  # residues: four blocks, two pairs of which do not see each other


def build(dim: int = 8, **keywords):
    config = tiny_config("self", dim=dim, **keywords)
    return scrambled(BLOCKS["self"].from_config(config, "self", 0)).double()


def streams(n: int = LONG, rows: int = 4, columns: int | None = None, batch: int = 2) -> Streams:
    x = random_streams(n, rows, columns, dim=8, batch=batch)
    return replace(x, pair=x.pair.double(), msa=x.msa.double())


@EVERY
def test_what_is_masked_changes_nothing_that_is_not(option):
    block, x = build(**OPTIONS[option]), streams()
    x.msa_mask[0, 1, 3] = False  # a hole in a row that is in use
    noisy = replace(
        x,
        pair=torch.where(x.pair_mask[..., None], x.pair, 1e3 * torch.randn_like(x.pair)),
        msa=torch.where(x.msa_mask[..., None], x.msa, 1e3 * torch.randn_like(x.msa)),
    )
    clean, dirty = block(x), block(noisy)
    torch.testing.assert_close(clean.pair[x.pair_mask], dirty.pair[x.pair_mask])
    torch.testing.assert_close(clean.msa[x.msa_mask], dirty.msa[x.msa_mask])


@EVERY
@pytest.mark.parametrize("columns", [None, 33])
def test_padding_equals_no_padding(option, columns):
    block, x = build(**OPTIONS[option]), streams(columns=columns)
    cut = Streams(x.pair[:, :-1, :-1], x.msa[:, :-1, :-1], x.pair_mask[:, :-1, :-1],
                  x.msa_mask[:, :-1, :-1])  # fmt: skip
    whole, short = block(x), block(cut)
    torch.testing.assert_close(whole.pair[:, :-1, :-1], short.pair)
    torch.testing.assert_close(whole.msa[:, :-1, :-1], short.msa)


@EVERY
def test_batch_elements_do_not_see_each_other(option):
    block, x = build(**OPTIONS[option]), streams()
    x.msa_mask[1, 1] = False  # another number of rows in use
    both = block(x)
    one = block(Streams(x.pair[1:], x.msa[1:], x.pair_mask[1:], x.msa_mask[1:]))
    torch.testing.assert_close(both.pair[1:], one.pair)
    torch.testing.assert_close(both.msa[1:], one.msa)


@EVERY
def test_every_parameter_gets_a_gradient(option):
    block = build(**OPTIONS[option]).train()
    out = block(streams())
    (out.pair.square().sum() + out.msa.square().sum()).backward()
    dead = [n for n, p in block.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


@EVERY
def test_gradients_are_those_of_finite_differences(option):
    block, x = build(**OPTIONS[option]), streams(n=49, rows=3, batch=1)

    def run(pair, msa):
        out = block(replace(x, pair=pair, msa=msa))
        return out.pair, out.msa

    inputs = x.pair.requires_grad_(), x.msa.requires_grad_()
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@EVERY
def test_an_option_changes_what_it_names_and_pieces_and_kernels_change_nothing(option):
    block, x = build(**OPTIONS[option]), streams()
    plain = build()
    plain.load_state_dict(block.state_dict(), strict=False)
    with torch.no_grad():
        out = block(x)
        base = plain(x)
        changes_pairs = not torch.allclose(out.pair, base.pair)
        assert changes_pairs == (option in ("sparse", "rotary", "all"))
        assert not torch.allclose(out.msa, base.msa)
        for runtime in (Runtime(chunk_bytes=400_000), Runtime(attention="reference")):
            set_runtime(block, runtime)
            again = block(x)
            torch.testing.assert_close((again.pair, again.msa), (out.pair, out.msa))


def test_where_the_options_act():
    block = build(**{**OPTIONS["all"], "inter_msa_self_attn": True})
    for step in (block.pair_rows, block.pair_columns):
        assert isinstance(step.attention.attend, SparseAttend)
        assert step.attention.rotary is not None
    assert isinstance(block.msa_rows.attention.attend, TiedAttend)
    assert isinstance(block.msa_rows.attention.attend.attend, SparseAttend)
    assert block.msa_rows.attention.rotary is not None
    assert type(block.msa_columns.attention.attend) is Attend
    assert block.msa_columns.attention.rotary is None


def test_a_tuple_says_which_layers_are_sparse_and_the_blocks_own_options_win():
    blocks = ("self", "cross", "self")
    config = tiny_config(*blocks, sparse_self_attn=(False, True), max_seq_len=64)
    found = [
        isinstance(each.pair_rows.attention.attend, SparseAttend)
        for each in (BLOCKS["self"].from_config(config, "self", layer) for layer in (0, 2))
    ]
    assert found == [False, True]
    options = {"self": {"sparse_self_attn": False, "rotary": False, "inter_msa_self_attn": True}}
    block = build(**OPTIONS["all"], options=options)
    assert type(block.pair_rows.attention.attend) is Attend
    assert block.pair_rows.attention.rotary is None
    assert block.msa_columns is not None
    with pytest.raises(ValueError, match="sparse_self_attn has 3 entries for 2 'self' blocks"):
        tiny_config(*blocks, sparse_self_attn=(False, True, True), max_seq_len=64)


def test_input_longer_than_a_sparse_model_was_built_for_is_refused():
    with pytest.raises(ValueError, match="sparse_self_attn needs max_seq_len"):
        tiny_config("self", sparse_self_attn=True)
    model = Alphafold2(tiny_config("self", sparse_self_attn=True, max_seq_len=20))
    assert model(torch.randint(0, 21, (1, 20))).shape == (1, 20, 20, 37)
    with pytest.raises(ValueError, match=r"21 residues.*max_seq_len=20"):
        model(torch.randint(0, 21, (1, 21)))


def test_pairs_outside_the_pattern_are_seen_by_no_sparse_line():
    block, x = build(**SPARSE), streams(n=64, batch=1)
    x.pair_mask[:] = True
    other = replace(x, pair=x.pair.clone())
    other.pair[0, 5, 48:] += torch.randn(
        16, 8
    )  # the fourth block of row 5, which its second does not see
    change = (block.pair_rows(other) - block.pair_rows(x))[0].abs().amax(-1)
    assert (change[5] > 0).tolist() == [True] * 16 + [False] * 16 + [True] * 32
    assert not change[6].any()


def loops(q, k, v, mask):
    """Tied attention, written as its definition; Rao et al. (2021)."""
    out = torch.zeros_like(v)
    batch, rows, heads, n, width = q.shape
    for b in range(batch):
        used = [r for r in range(rows) if mask[b, r].any()]
        for h in range(heads):
            for i in range(n):
                logits = torch.full((n,), -torch.inf).double()
                for j in range(n):
                    if any(mask[b, r, j] for r in used):
                        both = [r for r in used if mask[b, r, i] and mask[b, r, j]]
                        products = sum(q[b, r, h, i] @ k[b, r, h, j] for r in both)
                        logits[j] = products / (len(used) * width) ** 0.5
                if used:
                    for r in used:
                        for j, weight in enumerate(logits.softmax(0)):
                            out[b, r, h, i] += weight * v[b, r, h, j] * mask[b, r, j]
    return out


def tied_inputs():
    q, k, v = (torch.randn(2, 4, 2, 5, 3, dtype=torch.float64) for _ in range(3))
    mask = torch.rand(2, 4, 5) > 0.3
    mask[0, 2], mask[:, :, 4] = False, False
    return q, k, v, mask


def test_tied_attention_is_that_of_the_loops():
    q, k, v, mask = tied_inputs()
    out = TiedAttend(Attend())(q, k, v, None, mask)
    torch.testing.assert_close(out, loops(q, k, v, mask))
    full = torch.ones_like(mask)
    torch.testing.assert_close(TiedAttend(Attend())(q, k, v), loops(q, k, v, full))


def test_rows_without_data_change_nothing_in_tied_attention():
    q, k, v, mask = tied_inputs()
    tied = TiedAttend(Attend())
    out = tied(q, k, v, None, mask)
    more = [torch.cat([x, 1e3 * torch.randn_like(x)], dim=1) for x in (q, k, v)]
    wide = tied(*more, None, torch.cat([mask, torch.zeros_like(mask)], dim=1))
    torch.testing.assert_close(wide[:, :4], out)
    nothing = tied(q, k, v, None, torch.zeros_like(mask))
    assert torch.equal(nothing, torch.zeros_like(v))


def test_equal_rows_sharpen_a_tied_map_by_the_root_of_their_number():
    q, k, v, _ = (x[:, :1] for x in tied_inputs())
    four = [x.expand(-1, 4, -1, -1, -1) for x in (q, k, v)]
    out = TiedAttend(Attend())(*four)
    torch.testing.assert_close(out[:, 2:3], Attend()(2 * q, k, v))


def test_rows_that_attend_only_within_themselves_do_not_see_other_rows():
    for apart in (True, False):
        block, x = build(inter_msa_self_attn=not apart), streams(n=6)
        other = replace(x, msa=x.msa.clone())
        other.msa[:, 1] += torch.randn(2, 6, 8)
        left, right = block(x).msa, block(other).msa
        assert not torch.allclose(left[:, 1], right[:, 1])
        assert torch.equal(left[:, [0, 2]], right[:, [0, 2]]) == apart


def test_rotary_attention_turns_queries_and_keys_by_their_place():
    layer = scrambled(GatedAttention(6, 2, 4, rotary=True)).double()
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64)
    q = layer.q(x).unflatten(-1, (2, 4)).transpose(2, 3)
    k, v = layer.kv(x).unflatten(-1, (2, 2, 4)).permute(3, 0, 1, 4, 2, 5)
    turn = Rotary(4).double()
    seen = Attend()(turn(q), turn(k), v).transpose(2, 3).flatten(-2)
    torch.testing.assert_close(layer(x), layer.out(seen * layer.gate(x).sigmoid()))


def test_with_rotary_the_order_of_residues_matters_and_that_of_rows_does_not():
    for rotary in (True, False):
        block, x = build(rotary=rotary), streams(n=6)
        mixed = torch.tensor([3, 0, 4, 1, 2, 5])
        out = block(x)
        turned = block(Streams(x.pair[:, mixed][:, :, mixed], x.msa[:, :, mixed],
                               x.pair_mask, x.msa_mask))  # fmt: skip
        same = torch.allclose(out.pair[:, mixed][:, :, mixed], turned.pair)
        assert same == torch.allclose(out.msa[:, :, mixed], turned.msa) == (not rotary)
        swapped = [2, 0, 1, 3]
        rows = block(replace(x, msa=x.msa[:, swapped]))
        torch.testing.assert_close(rows.msa, out.msa[:, swapped])
