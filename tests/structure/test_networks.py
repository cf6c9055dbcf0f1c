"""EGNN and E(n)-Transformer on their own: points in, moved points out."""

import pytest
import torch
from kit import random_rigid, scrambled

from alphafold2_pytorch import EGNN, EnTransformer
from alphafold2_pytorch.geometry.neighbours import nearest
from alphafold2_pytorch.structure import en

LIMIT = {EGNN: "num_nearest_neighbors", EnTransformer: "neighbors"}
NETWORKS = list(LIMIT)


def build(network, limit=None, **options):
    own = {"dim_head": 4, "heads": 2} if network is EnTransformer else {}
    module = network(dim=8, depth=2, **{LIMIT[network]: limit}, **own, **options)
    return scrambled(module).double()


def points(n=9, batch=2):
    coors = 2 * torch.randn(batch, n, 3).double().cumsum(1)
    return torch.randn(batch, n, 8).double(), coors


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize("network", NETWORKS)
def test_turned_and_mirrored_points_give_turned_and_mirrored_points(network, limit):
    module, (feats, coors) = build(network, limit), points()
    world, mirror = random_rigid(1, 1), torch.tensor([1.0, 1.0, -1.0]).double()
    new_feats, new_coors = module(feats, coors)
    assert (new_coors - coors).abs().max() > 0.1
    for move in (world.apply, lambda x: x * mirror):
        moved_feats, moved_coors = module(feats, move(coors))
        torch.testing.assert_close(moved_coors, move(new_coors), rtol=0, atol=1e-10)
        torch.testing.assert_close(moved_feats, new_feats, rtol=0, atol=1e-10)


@pytest.mark.parametrize("network", NETWORKS)
def test_permuting_points_permutes_them(network):
    module, (feats, coors) = build(network, 4, edge_dim=3), points()
    edges, order = torch.randn(2, 9, 9, 3).double(), torch.randperm(9)
    here = module(feats, coors, edges=edges)
    there = module(feats[:, order], coors[:, order], edges=edges[:, order][:, :, order])
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other, one[:, order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize("network", NETWORKS)
def test_masked_points_change_nothing_and_stay(network, limit):
    module, (feats, coors) = build(network, limit), points()
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[:, 6:] = False
    far = torch.where(mask[..., None], coors, coors[:, :1] + 1e-3)  # in everyone's way
    short, masked = module(feats[:, :6], coors[:, :6]), module(feats, far, mask)
    for one, other in zip(short, masked, strict=True):
        torch.testing.assert_close(other[:, :6], one, rtol=0, atol=1e-10)
    assert torch.equal(masked[1][:, 6:], far[:, 6:]) and torch.equal(masked[0][:, 6:], feats[:, 6:])


@pytest.mark.parametrize("network", NETWORKS)
def test_refining_on_given_neighbours_is_what_the_call_does(network):
    module, (feats, coors) = build(network, 4, edge_dim=3), points()
    mask, edges = torch.ones(2, 9, dtype=torch.bool), torch.randn(2, 9, 9, 3).double()
    graph = nearest(coors, mask, 4)
    ours = module.refine(feats, coors, mask, graph, graph.gather_pairs(edges))
    for one, other in zip(module(feats, coors, mask, edges=edges), ours, strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(ValueError, match="reads 3 numbers an edge, got 0"):
        module.refine(feats, coors, mask, graph)
    with pytest.raises(ValueError, match="global_feats"):
        module.refine(feats, coors, mask, graph, graph.gather_pairs(edges), feats)
    with pytest.raises(ValueError, match="edge_dim=3, but the call has none"):
        module(feats, coors)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_far_point_is_seen_only_over_bonds(network):
    feats, coors = points(batch=1)
    coors = 3.0 * torch.arange(9).double()[None, :, None] * torch.tensor([1.0, 0, 0])
    bonds = torch.zeros(9, 9, dtype=torch.bool)
    bonds[0, 8] = bonds[8, 0] = True

    def moves_with_the_last(module, adj=None):
        shifted = coors.clone()
        shifted[0, 8, 1] += 1.0
        here, there = (module(feats, each, adj_mat=adj)[1][0, 0] for each in (coors, shifted))
        return not torch.allclose(here, there)

    assert not moves_with_the_last(build(network, 2))
    assert moves_with_the_last(build(network, 2), bonds)
    only = build(network, only_sparse_neighbors=True)
    assert moves_with_the_last(only, bonds)
    assert torch.equal(only(feats, coors, adj_mat=bonds)[1][0, 1:8], coors[0, 1:8])
    chain = torch.eye(9, dtype=torch.bool).roll(1, 0) & (torch.arange(9) < 8)
    over_bonds = build(network, only_sparse_neighbors=True, num_adj_degrees=4, adj_dim=3)
    assert moves_with_the_last(over_bonds, chain | chain.mT)  # 2 layers of 4 bonds
    assert not moves_with_the_last(build(network, only_sparse_neighbors=True), chain | chain.mT)
    with pytest.raises(ValueError, match="need adj_mat"):
        over_bonds(feats, coors)


@pytest.mark.parametrize("network", NETWORKS)
def test_tokens_and_radius(network):
    _, coors = points()
    tokens = torch.randint(0, 5, (2, 9))
    module = build(network, num_tokens=5)
    feats, moved = module(tokens, coors)
    assert feats.shape == (2, 9, 8) and moved.shape == coors.shape
    with pytest.raises(ValueError, match="tokens: num_tokens is set"):
        module(feats, coors)
    radius = {EGNN: "valid_radius", EnTransformer: "valid_neighbor_radius"}[network]
    alone = build(network, **{radius: 1e-3})
    assert torch.equal(alone(feats, coors)[1], coors)


def test_options_change_the_numbers():
    feats, coors = points()
    for network, options in {
        EGNN: [
            {"soft_edges": True},
            {"norm_feats": False},
            {"norm_coors": False},
            {"coor_weights_clamp_value": 1e-3},
            {"m_dim": 4},
        ],
        EnTransformer: [
            {"rel_pos_emb": True},
            {"coors_hidden_dim": 4},
            {"norm_rel_coors": False},
        ],
    }.items():
        for each in options:
            torch.manual_seed(0)
            base = build(network)(feats, coors)[1]
            torch.manual_seed(0)
            assert not torch.allclose(build(network, **each)(feats, coors)[1], base), each
    torch.manual_seed(0)
    clamped = build(EGNN, coor_weights_clamp_value=1e-3)(feats, coors)[1]
    assert 0 < (clamped - coors).norm(dim=-1).max() <= 2 * 1e-3  # two layers, at most so much each


@pytest.mark.parametrize("network", NETWORKS)
def test_dropout_is_off_in_eval_and_every_parameter_learns(network):
    feats, coors = points()
    module = build(network, 4, dropout=0.5)
    assert torch.equal(module(feats, coors)[1], module(feats, coors)[1])
    assert not torch.equal(module.train()(feats, coors)[1], module(feats, coors)[1])
    new_feats, new_coors = module(feats, coors)
    (new_feats.sum() + new_coors.square().sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


@pytest.mark.parametrize("network", NETWORKS)
def test_first_moves_are_small_and_any_head_width_works(network):
    feats, coors = points()
    for dim_head in (1, 7, 16, 64) if network is EnTransformer else (None,):
        own = {"dim_head": dim_head} if dim_head else {}
        module = network(dim=8, depth=3, **own).double()
        assert 0 < (module(feats, coors)[1] - coors).abs().max() < 0.3


def test_an_equation_of_egnn_written_out():
    module = build(EGNN, norm_coors=False)
    layer, (feats, coors) = module.layers[0], points(4, 1)
    h = layer.norm(feats)[0]
    new_feats, new_coors = [], []
    for i in range(4):
        total, move = torch.zeros(16).double(), torch.zeros(3).double()
        for j in set(range(4)) - {i}:
            apart = coors[0, i] - coors[0, j]
            known = layer.between(layer.basis(apart.square().sum()))
            message = layer.message(layer.own(h[i]) + layer.other(h[j]) + known)
            total, move = total + message, move + layer.push(message) * apart / 3
        new_feats.append(feats[0, i] + layer.update(torch.cat([h[i], total])))
        new_coors.append(coors[0, i] + move)
    mask = torch.ones(1, 4, dtype=torch.bool)
    found = layer(feats, coors, mask, nearest(coors, mask))
    torch.testing.assert_close(found[0][0], torch.stack(new_feats))
    torch.testing.assert_close(found[1][0], torch.stack(new_coors))


def test_attention_written_out():
    module = build(EnTransformer)
    layer, (feats, coors) = module.attention[0], points(4, 1)
    h = layer.norm(feats)[0]
    q, (k, v) = layer.q(h).view(4, 2, 4), layer.kv(h).view(4, 2, 2, 4).unbind(1)
    for i in range(4):
        others = [j for j in range(4) if j != i]
        apart = coors[0, i] - coors[0, others]
        known = layer.basis(apart.square().sum(-1))
        logits = torch.stack([(q[i] * k[j]).sum(-1) / 2 for j in others]) + layer.bias(known)
        weights = logits.softmax(0)
        strength = (weights * layer.push(torch.cat([logits, known], -1))).sum(-1)
        unit = apart / (apart.square().sum(-1, keepdim=True).add(1e-6).sqrt() + 1)
        values = torch.einsum("kh,khd->hd", weights, v[others]).flatten()
        pairs = (weights.mT @ known).flatten()
        change, move = layer(feats, coors, nearest(coors, torch.ones(1, 4, dtype=torch.bool)))
        torch.testing.assert_close(move[0, i], strength @ unit)
        torch.testing.assert_close(change[0, i], layer.out(torch.cat([values, pairs])))


def test_tables_and_lists_of_neighbours_give_the_same_attention(monkeypatch):
    module, (feats, coors) = build(EnTransformer, 4), points()
    found = []
    for small in (True, False):
        monkeypatch.setattr(en, "small_table", lambda *_, small=small: small)
        found.append(module(feats, coors))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("network", NETWORKS)
def test_autocast_leaves_coordinates_in_float32(network):
    module = build(network, 4).float()
    feats, coors = (each.float() for each in points())
    expected = module(feats, coors)[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(feats.bfloat16().float(), coors)[1]
        assert torch.equal(module(feats, coors)[1], expected)
    assert found.dtype == torch.float32
