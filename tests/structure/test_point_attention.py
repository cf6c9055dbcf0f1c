"""Invariant point attention by itself: what moving the world does, masks, and what it refuses.

DeepMind's numbers on DeepMind's parameters: `tests/test_deepmind_modules.py`.
"""

import pytest
import torch
from kit import random_rigid, scrambled

from alphafold2_pytorch import InvariantPointAttention, IPABlock, IPATransformer
from alphafold2_pytorch.geometry.rigid import Rigid
from alphafold2_pytorch.geometry.rotations import quaternion_multiply, quaternion_to_rotation
from alphafold2_pytorch.structure.point_attention import squared_distances

SMALL = {"heads": 2, "scalar_key_dim": 4, "scalar_value_dim": 5, "point_value_dim": 3}
PAIRED = {**SMALL, "pairwise_repr_dim": 12}
WITHOUT = {**SMALL, "require_pairwise_repr": False}


def inputs(n=6, batch=2, dtype=torch.float64):
    """Single and pair representation, translations and quaternions of many lengths."""
    single = torch.randn(batch, n, 16, dtype=dtype)
    pair = torch.randn(batch, n, n, 12, dtype=dtype)
    translations = 3 * torch.randn(batch, n, 3, dtype=dtype)
    quaternions = torch.randn(batch, n, 4, dtype=dtype) * torch.logspace(-3, 3, n)[:, None].to(
        dtype
    )
    return single, pair, translations, quaternions


def world_motion(dtype=torch.float64) -> tuple[torch.Tensor, Rigid]:
    """One motion for all: its quaternion, and itself."""
    quaternion = torch.randn(1, 1, 4, dtype=dtype)
    shift = 10 * torch.randn(1, 1, 3, dtype=dtype)
    return quaternion, Rigid(quaternion_to_rotation(quaternion), shift)


def rotations_of(quaternions):
    return quaternion_to_rotation(quaternions / quaternions.norm(dim=-1, keepdim=True))


@pytest.mark.parametrize("kind", [InvariantPointAttention, IPABlock])
@pytest.mark.parametrize("options", [PAIRED, WITHOUT], ids=["pairs", "no pairs"])
def test_moving_all_frames_leaves_the_features_as_they_are(kind, options):
    layer = scrambled(kind(16, **options)).double()
    single, pair, *_ = inputs()
    pair = pair if options is PAIRED else None
    frames, mask = random_rigid(2, 6), torch.rand(2, 6) < 0.7
    moved = random_rigid(1, 1).compose(frames)
    here = layer(single, pair, rotations=frames.rot, translations=frames.trans, mask=mask)
    there = layer(single, pair, rotations=moved.rot, translations=moved.trans, mask=mask)
    assert here.abs().max() > 0.1
    torch.testing.assert_close(here, there, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-10), (torch.float32, 1e-4)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("options", [PAIRED, WITHOUT], ids=["pairs", "no pairs"])
def test_three_blocks_move_frames_with_the_world(options, dtype, error):
    model = scrambled(IPATransformer(16, 3, **options)).to(dtype)
    single, pair, translations, quaternions = inputs(dtype=dtype)
    pair = pair if options is PAIRED else None
    turn, world = world_motion(dtype)
    x, trans, quats = model(
        single, translations=translations, quaternions=quaternions, pairwise_repr=pair
    )
    x2, trans2, quats2 = model(
        single,
        translations=world.apply(translations),
        quaternions=quaternion_multiply(turn.expand_as(quaternions), quaternions),
        pairwise_repr=pair,
    )
    update = (trans - translations).norm(dim=-1).mean().item()
    turned = (rotations_of(quats) - rotations_of(quaternions)).abs().amax()
    assert update > 0.5 and turned > 0.5  # else there would be little to see
    torch.testing.assert_close(x2, x, rtol=0, atol=error)
    torch.testing.assert_close(trans2, world.apply(trans), rtol=0, atol=error * update)
    turned_rot = world.rot @ rotations_of(quats)
    torch.testing.assert_close(rotations_of(quats2), turned_rot, rtol=0, atol=error)
    torch.testing.assert_close(quats.norm(dim=-1), torch.ones_like(quats[..., 0]))


def test_predicted_points_move_with_the_world():
    model = scrambled(IPATransformer(16, 3, predict_points=True, **WITHOUT)).double()
    single, _, translations, quaternions = inputs()
    turn, world = world_motion()
    x, points = model(single, translations=translations, quaternions=quaternions)
    turned = quaternion_multiply(turn.expand_as(quaternions), quaternions)
    x2, points2 = model(single, translations=world.apply(translations), quaternions=turned)
    assert points.shape == (2, 6, 3)
    assert (points - translations).norm(dim=-1).mean() > 0.5
    torch.testing.assert_close(x2, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(points2, world.apply(points), rtol=0, atol=1e-10)


def test_rotations_act_on_columns():
    """A frame's points are R x + t: the third block's frame is what composing by hand gives."""
    model = scrambled(IPATransformer(16, 2, **WITHOUT)).double()
    single, _, translations, quaternions = inputs()
    frames = Rigid(rotations_of(quaternions), translations)
    x = single
    for block, to_update in zip(model.blocks, model.updates, strict=True):
        x = block(x, rotations=frames.rot, translations=frames.trans)
        turn, shift = to_update(x).split(3, dim=-1)
        turn = torch.cat([torch.ones_like(turn[..., :1]), turn], dim=-1)
        frames = frames.compose(Rigid(quaternion_to_rotation(turn), shift))
    out, trans, quats = model(single, translations=translations, quaternions=quaternions)
    torch.testing.assert_close(out, x)
    torch.testing.assert_close(trans, frames.trans)
    torch.testing.assert_close(rotations_of(quats), frames.rot)


@pytest.mark.parametrize("kind", [InvariantPointAttention, IPABlock])
def test_masked_residues_change_nothing_and_padding_equals_none(kind):
    layer = scrambled(kind(16, **PAIRED)).double()
    single, pair, translations, quaternions = inputs(n=8)
    frames = {"rotations": rotations_of(quaternions), "translations": translations}
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[:, -3:] = False
    out = layer(single, pair, **frames, mask=mask)
    short = {name: each[:, :5] for name, each in frames.items()}
    alone = layer(single[:, :5], pair[:, :5, :5], **short)
    torch.testing.assert_close(out[:, :5], alone, rtol=0, atol=1e-12)
    noise = {name: torch.where(keep(mask, each), each, 1e3) for name, each in frames.items()}
    both = mask[:, :, None, None] & mask[:, None, :, None]
    noisy = torch.where(keep(mask, single), single, 1e3), torch.where(both, pair, 1e3)
    again = layer(*noisy, **noise, mask=mask)
    torch.testing.assert_close(again[:, :5], out[:, :5], rtol=0, atol=1e-12)


def keep(mask, x):
    return mask.reshape(*mask.shape, *[1] * (x.dim() - 2))


@pytest.mark.parametrize("predict_points", [False, True])
def test_the_transformer_does_not_read_masked_residues(predict_points):
    model = scrambled(IPATransformer(16, 3, predict_points=predict_points, **PAIRED)).double()
    single, pair, translations, quaternions = inputs(n=8)
    mask = torch.ones(2, 8, dtype=torch.bool)
    mask[0, 5:], mask[1, 2] = False, False
    both = mask[:, :, None, None] & mask[:, None, :, None]
    clean = model(
        single_repr=single,
        translations=translations,
        quaternions=quaternions,
        pairwise_repr=pair,
        mask=mask,
    )
    noisy = model(
        single_repr=torch.where(keep(mask, single), single, 1e3),
        translations=torch.where(keep(mask, translations), translations, 1e3),
        quaternions=torch.where(keep(mask, quaternions), quaternions, 0.0),
        pairwise_repr=torch.where(both, pair, 1e3),
        mask=mask,
    )
    for one, other in zip(clean, noisy, strict=True):
        torch.testing.assert_close(one[mask], other[mask], rtol=0, atol=1e-12)


def test_a_batch_element_without_residues_gets_no_update():
    layer = scrambled(InvariantPointAttention(16, **PAIRED)).double()
    single, pair, *_ = inputs()
    frames, mask = random_rigid(2, 6), torch.ones(2, 6, dtype=torch.bool)
    mask[1] = False
    out = layer(single, pair, rotations=frames.rot, translations=frames.trans, mask=mask)
    assert out[0].abs().min() > 0 and not out[1].any()


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e3, 1e30])
def test_the_length_of_a_quaternion_means_nothing(size):
    model = scrambled(IPATransformer(16, 2, **WITHOUT))
    single, _, translations, quaternions = inputs(dtype=torch.float32)
    unit = quaternions / quaternions.norm(dim=-1, keepdim=True)
    for one, other in zip(
        model(single, translations=translations, quaternions=unit),
        model(single, translations=translations, quaternions=unit * size),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_no_frames_are_frames_at_the_origin():
    model = scrambled(IPATransformer(16, 2, **WITHOUT)).double()
    single, *_ = inputs()
    origin, unturned = torch.zeros(2, 6, 3).double(), torch.tensor([1.0, 0, 0, 0]).double()
    given = model(single, translations=origin, quaternions=unturned.expand(2, 6, 4))
    for one, other in zip(model(single), given, strict=True):
        torch.testing.assert_close(one, other)


def test_a_fresh_transformer_leaves_frames_where_they_are():
    model = IPATransformer(16, 2, **WITHOUT).double()
    single, _, translations, quaternions = inputs()
    _, trans, quats = model(single, translations=translations, quaternions=quaternions)
    torch.testing.assert_close(trans, translations)
    torch.testing.assert_close(quats, quaternions / quaternions.norm(dim=-1, keepdim=True))


def test_tokens_are_looked_up():
    model = scrambled(IPATransformer(16, 1, num_tokens=21, **WITHOUT))
    tokens = torch.randint(0, 21, (2, 6))
    out = model(single_repr=tokens)
    model.tokens, table = None, model.tokens
    for one, other in zip(out, model(single_repr=table(tokens)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("detach", [True, False])
def test_gradients_pass_through_rotations_unless_detached(detach):
    model = scrambled(IPATransformer(16, 2, detach_rotations=detach, **PAIRED)).double().train()
    single, pair, translations, quaternions = inputs()
    quaternions.requires_grad_()
    translations.requires_grad_()
    x, trans, quats = model(
        single, translations=translations, quaternions=quaternions, pairwise_repr=pair
    )
    rows = x.square().sum() + trans.square().sum()
    [grad] = torch.autograd.grad(rows, quaternions, retain_graph=True, allow_unused=True)
    assert (grad is None or not grad.any()) if detach else grad.abs().max() > 1e-6
    assert torch.autograd.grad(rows, translations, retain_graph=True)[0].any()
    (rows + (quats * torch.randn_like(quats)).sum()).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_gradients_are_right_where_nothing_is_detached():
    options = {"heads": 1, "scalar_key_dim": 2, "scalar_value_dim": 2, "point_key_dim": 2}
    model = IPATransformer(
        4, 2, detach_rotations=False, require_pairwise_repr=False, point_value_dim=2, **options
    )
    model = scrambled(model).double()
    single, translations, quaternions = (
        torch.randn(1, 3, d).double().requires_grad_() for d in (4, 3, 4)
    )

    def run(single, translations, quaternions):
        return model(single, translations=translations, quaternions=quaternions)

    assert torch.autograd.gradcheck(run, (single, translations, quaternions))


@pytest.mark.parametrize("residues", [1, 2])
def test_few_and_coincident_residues_stay_finite(residues):
    model = scrambled(IPATransformer(16, 3, **WITHOUT)).train()
    single = torch.randn(1, residues, 16)
    places = [torch.zeros(1, residues, d, requires_grad=True) for d in (3, 4)]
    out = model(single, translations=places[0], quaternions=places[1])
    sum(each.square().sum() for each in out).backward()
    grads = [p.grad for p in (*model.parameters(), *places) if p.grad is not None]
    assert all(torch.isfinite(each).all() for each in (*out, *grads))


def test_a_pre_norm_block_starts_as_nothing_and_a_post_norm_one_as_norms():
    single, _, translations, quaternions = inputs(dtype=torch.float32)
    frames = {"rotations": rotations_of(quaternions), "translations": translations}
    torch.testing.assert_close(IPABlock(16, post_norm=False, **WITHOUT)(single, **frames), single)
    normed = torch.nn.functional.layer_norm(single, (16,))
    out = IPABlock(16, **WITHOUT)(single, **frames)
    torch.testing.assert_close(out, normed, rtol=0, atol=1e-4)


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_block_has_the_feed_forward_layers_asked_for(number):
    block = IPABlock(16, ff_num_layers=number, ff_mult=2, **WITHOUT)
    shapes = [tuple(layer.weight.shape) for layer in block.feedforward[::2]]
    assert len(shapes) == number
    assert shapes[0][1] == 16 and shapes[-1][0] == 16
    assert all(out == 32 for out, _ in shapes[:-1])
    with pytest.raises(ValueError, match="ff_num_layers"):
        IPABlock(16, ff_num_layers=0)


def test_dropout_works_in_training_only():
    torch.manual_seed(1)
    block = scrambled(IPABlock(16, post_attn_dropout=0.5, post_ff_dropout=0.5, **WITHOUT))
    single, _, translations, quaternions = inputs(dtype=torch.float32)
    frames = {"rotations": rotations_of(quaternions), "translations": translations}
    torch.testing.assert_close(block(single, **frames), block(single, **frames))
    block.train()
    assert not torch.allclose(block(single, **frames), block(single, **frames))


def test_pairs_that_are_missing_or_unwanted_are_refused():
    single, pair, *_ = inputs(dtype=torch.float32)
    frames = {"rotations": torch.eye(3).expand(2, 6, 3, 3), "translations": torch.zeros(2, 6, 3)}
    with pytest.raises(ValueError, match="got no pairwise_repr"):
        InvariantPointAttention(16)(single, **frames)
    with pytest.raises(ValueError, match="got a pairwise_repr"):
        InvariantPointAttention(16, **WITHOUT)(single, pair, **frames)
    with pytest.raises(ValueError, match="pairwise_repr_dim=8 would change nothing"):
        InvariantPointAttention(16, pairwise_repr_dim=8, require_pairwise_repr=False)


def test_pairs_are_as_wide_as_the_single_representation_unless_told():
    assert InvariantPointAttention(16).bias.in_features == 16
    assert InvariantPointAttention(16, pairwise_repr_dim=6).bias.in_features == 6
    assert InvariantPointAttention(16, require_pairwise_repr=False).bias is None


def test_under_autocast_coordinates_stay_float32():
    model = scrambled(IPATransformer(16, 2, **PAIRED))
    single, pair, translations, quaternions = inputs(dtype=torch.float32)
    frames = {"translations": translations, "quaternions": quaternions, "pairwise_repr": pair}
    plain = model(single, **frames)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = model(single, **frames)
    for one, other in zip(plain, cast, strict=True):
        torch.testing.assert_close(one, other)


def test_far_from_the_origin_float32_keeps_its_digits():
    layer = scrambled(InvariantPointAttention(16, **PAIRED))
    single, pair, *_ = inputs(dtype=torch.float32)
    frames = random_rigid(2, 6, dtype=torch.float32)
    near = layer(single, pair, rotations=frames.rot, translations=frames.trans)
    far = layer(single, pair, rotations=frames.rot, translations=frames.trans + 1000.0)
    torch.testing.assert_close(near, far, rtol=1e-2, atol=1e-2)


def test_squared_distances_equal_loops():
    left, right = torch.randn(1, 2, 4, 3, 3).double(), torch.randn(1, 2, 5, 3, 3).double()
    mask = torch.tensor([[True, True, False, True, True]])
    out = squared_distances(left, right, mask)
    for h in range(2):
        for i in range(4):
            for j in range(5):
                slow = sum((left[0, h, i, p] - right[0, h, j, p]).square().sum() for p in range(3))
                torch.testing.assert_close(out[0, h, i, j], slow)


@pytest.mark.compile
def test_compiled_the_transformer_gives_the_same_numbers():
    model = scrambled(IPATransformer(16, 2, **PAIRED))
    single, pair, translations, quaternions = inputs(dtype=torch.float32)
    frames = {"translations": translations, "quaternions": quaternions, "pairwise_repr": pair}
    mask = torch.rand(2, 6) < 0.7
    compiled = torch.compile(model, fullgraph=True)(single, **frames, mask=mask)
    for one, other in zip(model(single, **frames, mask=mask), compiled, strict=True):
        torch.testing.assert_close(one[mask], other[mask], rtol=1e-4, atol=1e-4)
