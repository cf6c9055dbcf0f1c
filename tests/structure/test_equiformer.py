"""Equiformer: what turns and what does not, under every option; masks, degenerate input, words."""

import pytest
import torch
from kit import random_rigid, scrambled

from alphafold2_pytorch import Equiformer
from alphafold2_pytorch.geometry.neighbours import nearest
from alphafold2_pytorch.geometry.rotations import quaternion_to_rotation
from alphafold2_pytorch.geometry.so3 import coupling
from alphafold2_pytorch.layers.irreps import Couplings
from alphafold2_pytorch.structure.equiformer import EquiformerRefiner

SMALL = {
    "num_tokens": 6,
    "dim": (6, 4, 2),
    "dim_head": (4, 3, 2),
    "heads": (2, 3, 1),
    "num_degrees": 3,
}
BONDED = {"attend_sparse_neighbors": True, "num_adj_degrees_embed": 2, "adj_dim": 3}
OPTIONS = {
    "mlp": {},
    "dot": {"dot_product_attention": True},
    "l2": {"l2_dist_attention": True},
    "no self": {"attend_self": False},
    "dot, no self": {"attend_self": False, "dot_product_attention": True, "num_neighbors": 4},
    "channels": {"reduce_dim_out": False},
    "neighbours": {"num_neighbors": 3, "valid_radius": 4.0},
    "norms": {"ff_include_htype_norms": True, "radial_hidden_dim": 8},
    "edges": {"edge_dim": 5},
    "edge tokens": {"num_edge_tokens": 4, "edge_dim": 5, "num_neighbors": 3},
    "positions": {"num_positions": 12},
    "bonds": dict(num_neighbors=0, **BONDED),
    "bonds and near": dict(num_neighbors=2, max_sparse_neighbors=2, **BONDED),
    "bond numbers": {"num_adj_degrees_embed": 3, "adj_dim": 2, "num_neighbors": 4},
    "one degree": {"num_degrees": 1, "dim": 6, "heads": 2, "dim_head": 4},
    "two degrees": {"num_degrees": 2, "dim": 4, "heads": 2, "dim_head": 4, "depth": 1},
    "four degrees": {"num_degrees": 4, "dim": 4, "heads": 2, "dim_head": 4, "depth": 1},
    "vectors in": {"num_tokens": None, "input_degrees": 2, "dim_in": (5, 2)},
}
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def build(**options) -> Equiformer:
    return scrambled(
        Equiformer(**{**SMALL, "depth": 2, "reduce_dim_out": True, **options})
    ).double()


def call_for(network: Equiformer, n: int = 8, batch: int = 2) -> dict:
    """Random input of all that the network reads."""
    call = {
        "feats": torch.randint(0, 6, (batch, n)),
        "coors": 2 * torch.randn(batch, n, 3).double(),
        "mask": torch.ones(batch, n, dtype=torch.bool),
    }
    if network.tokens is None:
        scalars, vectors = torch.randn(batch, n, 5, 1), torch.randn(batch, n, 2, 3)
        call["feats"] = {0: scalars.double(), 1: vectors.double()}
    if network.edge_tokens is not None:
        call["edges"] = torch.randint(0, 4, (batch, n, n))
    elif network.edge_dim is not None:
        call["edges"] = torch.randn(batch, n, n, 5).double()
    if network.bonds is not None:
        index = torch.arange(n)
        call["adj_mat"] = (index[:, None] - index).abs() == 1
    return call


def each_of(feats, change):
    """Tokens, or each degree's features, changed."""
    return {k: change(v) for k, v in feats.items()} if isinstance(feats, dict) else change(feats)


def turned(vectors, rotation):
    return None if vectors is None else vectors @ rotation.T


def assert_same(out, wanted0, wanted1, atol=1e-10):
    torch.testing.assert_close(out.type0, wanted0, rtol=0, atol=atol)
    assert (out.type1 is None) == (wanted1 is None)
    if wanted1 is not None:
        torch.testing.assert_close(out.type1, wanted1, rtol=0, atol=atol)


@all_options
def test_vectors_turn_and_scalars_stay(options):
    network = build(**options)
    call = call_for(network)
    rotation = quaternion_to_rotation(torch.randn(4).double())
    here = network(**call)
    moved = {**call, "coors": call["coors"] @ rotation.T + torch.randn(3).double()}
    if isinstance(call["feats"], dict):
        moved["feats"] = {0: call["feats"][0], 1: call["feats"][1] @ rotation.T}
    assert_same(network(**moved), here.type0, turned(here.type1, rotation))
    if here.type1 is not None:
        assert here.type1.abs().mean() > 1e-2  # not zero, which turns well


@pytest.mark.parametrize("options", [OPTIONS["mlp"], OPTIONS["dot"], OPTIONS["l2"]])
def test_float32_turns_to_four_digits(options):
    network = build(**options).float()
    call = call_for(network)
    call["coors"] = call["coors"].float()
    rotation = quaternion_to_rotation(torch.randn(4))
    here, there = network(**call), network(**{**call, "coors": call["coors"] @ rotation.T})
    for wanted, found in ((here.type0, there.type0), (here.type1 @ rotation.T, there.type1)):
        assert (found - wanted).norm() <= 1e-4 * wanted.norm()


def test_a_mirror_image_is_not_the_same():
    network = build()
    call = call_for(network)
    mirrored = {**call, "coors": call["coors"] * torch.tensor([1.0, 1.0, -1.0])}
    assert (network(**mirrored).type0 - network(**call).type0).abs().max() > 1e-3


@all_options
def test_points_may_come_in_any_order(options):
    network = build(**{k: v for k, v in options.items() if k != "num_positions"})
    call = call_for(network)
    order, here = torch.randperm(8), network(**call)
    there = {**call, "coors": call["coors"][:, order]}
    there["feats"] = each_of(call["feats"], lambda x: x[:, order])
    if "edges" in call:
        there["edges"] = call["edges"][:, order][:, :, order]
    if "adj_mat" in call:
        there["adj_mat"] = call["adj_mat"][order][:, order]
    wanted1 = None if here.type1 is None else here.type1[:, order]
    assert_same(network(**there), here.type0[:, order], wanted1)


@all_options
def test_masked_points_are_as_if_they_were_not_there(options):
    network = build(**options)
    call = call_for(network)
    call["mask"][:, -3:] = False
    if "adj_mat" in call:
        call["adj_mat"] = call["adj_mat"] | call["adj_mat"].roll(1)
    noisy, short = dict(call), {k: each_of(v, lambda x: x[:, :5]) for k, v in call.items()}
    noisy["coors"] = call["coors"].masked_fill(~call["mask"][..., None], torch.nan)
    noisy["feats"] = each_of(
        call["feats"],
        lambda x: x.masked_fill(~call["mask"].view(2, 8, *[1] * (x.ndim - 2)), 5),
    )
    if "edges" in call:
        pairs = call["mask"][:, :, None] & call["mask"][:, None]
        hidden = ~pairs.view(2, 8, 8, *[1] * (call["edges"].ndim - 3))
        noisy["edges"] = call["edges"].masked_fill(hidden, 3)
        short["edges"] = call["edges"][:, :5, :5]
    if "adj_mat" in call:
        short["adj_mat"] = call["adj_mat"][:5, :5]
    out, wanted = network(**noisy), network(**short)
    kept1 = None if out.type1 is None else out.type1[:, :5]
    torch.testing.assert_close(out.type0[:, :5], wanted.type0, rtol=0, atol=1e-10)
    if kept1 is not None:
        torch.testing.assert_close(kept1, wanted.type1, rtol=0, atol=1e-10)
        assert not out.type1[:, 5:].any()
    assert not out.type0[:, 5:].any()


@all_options
def test_every_parameter_gets_a_gradient(options):
    network = build(**options)
    out = network(**call_for(network))
    total = out.type0.square().sum() + (0 if out.type1 is None else out.type1.square().sum())
    total.backward()
    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def all_at_one_place(coors):
    return torch.zeros_like(coors)


def two_at_one_place(coors):
    return torch.cat([coors[:, :1], coors[:, :-1]], dim=1)


def on_a_line(coors):
    return coors[..., :1] * torch.tensor([0.0, 1.0, 0.0]).to(coors)


@all_options
@pytest.mark.parametrize("place", [all_at_one_place, two_at_one_place, on_a_line])
def test_degenerate_points_give_finite_gradients(options, place):
    network = build(**options)
    call = call_for(network, n=5)
    call["coors"] = place(call["coors"]).requires_grad_()
    check_finite(network, call)


@all_options
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_points_are_enough(options, n):
    network = build(**options)
    call = call_for(network, n=n)
    call["coors"].requires_grad_()
    check_finite(network, call)


def check_finite(network: Equiformer, call: dict) -> None:
    out = network(**call)
    total = out.type0.square().sum() + (0 if out.type1 is None else out.type1.square().sum())
    total.backward()
    assert torch.isfinite(total)
    grads = [call["coors"].grad, *(p.grad for p in network.parameters())]
    assert all(torch.isfinite(grad).all() for grad in grads if grad is not None)


def test_nothing_is_left_of_masked_chains():
    network = build()
    call = call_for(network)
    call["mask"][0] = False
    out = network(**call)
    assert not out.type0[0].any() and out.type0[1].any()
    alone = network(**{k: v[1:] for k, v in call.items()})
    torch.testing.assert_close(out.type1[1:], alone.type1)


def test_a_point_near_another_changes_little_when_they_meet():
    network = build(num_neighbors=None)
    call = call_for(network)
    call["coors"][:, 1] = call["coors"][:, 0]
    met = network(**call)
    call["coors"][:, 1, 0] += 1e-5
    apart = network(**call)
    assert (met.type1 - apart.type1).abs().max() < 1e-2


def test_products_are_those_of_the_definition():
    vectors, x = (
        torch.randn(1, 2, 3, 3).double(),
        [torch.randn(1, 2, 3, 2 * d + 1, 2) for d in range(3)],
    )
    x = [each.double() for each in x]
    products = Couplings.of(vectors, 3).products(x)
    assert [each.shape[-2:] for each in products] == [(1, 6), (3, 12), (5, 12)]
    # the last channels of degree 1: degree 2 by harmonics of degrees 1 and 2; without direction, 0
    short = vectors / torch.sqrt(vectors.square().sum(-1, keepdim=True) + 0.01)
    harmonic = short * 3**0.5
    wanted = torch.einsum("bnkic,bnkj,ijo->bnkoc", x[2], harmonic, torch.tensor(coupling(2, 1, 1)))
    torch.testing.assert_close(products[1][..., -4:-2], 3**0.5 * wanted)
    still = Couplings.of(torch.zeros_like(vectors), 3).products(x)
    torch.testing.assert_close(still[0][..., :2], x[0])
    assert not still[0][..., 2:].any()


def test_sums_of_products_are_sums_of_products():
    couplings = Couplings.of(torch.randn(1, 2, 5, 3).double(), 3)
    x = [torch.randn(1, 2, 5, 2 * degree + 1, 4).double() for degree in range(3)]
    weights = [torch.rand(1, 2, 5, heads).double() for heads in (2, 3)]
    layers = [torch.randn(2, 12, 3).double(), torch.randn(3, 24, 2).double()]
    found = couplings.summed_products(x, weights, layers)
    for each, product, weight, layer in zip(
        found, couplings.products(x), weights, layers, strict=False
    ):
        wanted = torch.einsum("bnkmc,bnkh,hcd->bnmhd", product, weight, layer).flatten(3)
        torch.testing.assert_close(each, wanted)


def test_bonded_points_are_seen_and_others_not():
    network = build(num_neighbors=0, depth=1, attend_sparse_neighbors=True)
    call = call_for(network, n=6)
    index = torch.arange(6)
    call["adj_mat"] = (index[:, None] - index).abs() == 1
    out = network(**call)
    call["coors"][:, 5] += 1.0
    moved = network(**call)
    # first features and one layer of attention: two bonds far
    torch.testing.assert_close(moved.type0[:, :3], out.type0[:, :3])
    assert (moved.type0[:, 3:5] - out.type0[:, 3:5]).abs().amin() > 1e-9


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dim": (4, 4)}, "dim must be one number or 3"),
        ({"heads": (2, 2, 0)}, "heads must be"),
        ({"dot_product_attention": True, "l2_dist_attention": True}, "choose one"),
        ({"num_edge_tokens": 4}, "needs edge_dim"),
        ({"max_sparse_neighbors": 4}, "without attend_sparse_neighbors"),
        ({"adj_dim": 4}, "without num_adj_degrees_embed"),
        ({"num_adj_degrees_embed": 2}, "give adj_dim"),
        ({"num_neighbors": 0}, "needs attend_sparse_neighbors"),
        ({"input_degrees": 4, "dim_in": 2}, "above num_degrees"),
        ({"depth": 0}, "depth must be at least 1"),
    ],
)
def test_words_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        build(**options)


def test_unknown_words_are_named():
    with pytest.raises(TypeError, match="splits"):
        Equiformer(**SMALL, splits=4)


@pytest.mark.parametrize(
    ("options", "change", "says"),
    [
        ({}, lambda call: {"edges": torch.randn(2, 8, 8, 5).double()}, "edge_dim is None"),
        ({"edge_dim": 5}, lambda call: {"edges": None}, "not given"),
        ({"edge_dim": 5}, lambda call: {"edges": torch.ones(2, 8, 8).long()}, "are tokens"),
        ({}, lambda call: {"adj_mat": torch.ones(8, 8).bool()}, "adj_mat is read with"),
        (BONDED, lambda call: {"adj_mat": None}, "need adj_mat"),
        ({}, lambda call: {"feats": torch.randn(2, 8, 6).double()}, "must be tokens"),
        ({"num_tokens": None}, lambda call: {"feats": torch.randn(2, 8, 5)}, "dim_in"),
        ({"num_positions": 7}, lambda call: {}, "there are 8 points"),
    ],
)
def test_input_that_does_not_fit_is_refused(options, change, says):
    network = build(**options)
    call = call_for(build(**{k: v for k, v in options.items() if k != "num_tokens"}))
    with pytest.raises(ValueError, match=says):
        network(**{**call, **change(call)})


def test_refining_moves_points_with_the_world_and_masked_ones_not():
    network = scrambled(
        EquiformerRefiner((6, 4, 2), 5, num_degrees=3, heads=2, dim_head=4)
    ).double()
    feats, coors = torch.randn(2, 8, 6).double(), 3 * torch.randn(2, 8, 3).double()
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[:, -2:] = False
    graph, edges = nearest(coors, mask, 4), torch.randn(2, 8, 4, 5).double()
    feats_here, here = network.refine(feats, coors, mask, graph, edges)
    world = random_rigid(1, 1)
    feats_there, there = network.refine(feats, world.apply(coors), mask, graph, edges)
    torch.testing.assert_close(there, world.apply(here), rtol=0, atol=1e-10)
    torch.testing.assert_close(feats_there, feats_here, rtol=0, atol=1e-10)
    assert (here - coors)[mask].abs().mean() > 1e-2
    assert torch.equal(here[~mask], coors[~mask])
    assert torch.equal(feats_here[~mask], feats[~mask])
    with pytest.raises(ValueError, match="global"):
        network.refine(feats, coors, mask, graph, edges, torch.randn(2, 1, 6).double())


@pytest.mark.compile
@pytest.mark.parametrize("name", ["mlp", "l2", "dot, no self"])
def test_compiled_network_gives_the_same_numbers(name):
    network = build(**{**OPTIONS[name], "num_neighbors": 4})
    call = call_for(network)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    out, wanted = compiled(**call), network(**call)
    torch.testing.assert_close(out.type0, wanted.type0)
    torch.testing.assert_close(out.type1, wanted.type1)
