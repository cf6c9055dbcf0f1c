import json
import math
import struct
from itertools import pairwise

import pytest
import torch
from torch import nn

from alphafold2_pytorch.train import checkpoint as checkpoints
from alphafold2_pytorch.train.checkpoint import (
    gather,
    list_checkpoints,
    load_checkpoint,
    restore,
    save_checkpoint,
)
from alphafold2_pytorch.train.config import TrainConfig
from alphafold2_pytorch.train.distributed import World
from alphafold2_pytorch.train.ema import MovingAverage
from alphafold2_pytorch.train.optim import ClippedSum, LossScale, learning_rate, make_optimizer
from alphafold2_pytorch.train.plot import plot_losses, read_jsonl, redraw, smooth
from alphafold2_pytorch.train.start import freeze


def test_unknown_setting_lists_the_possible_ones():
    with pytest.raises(ValueError, match=r"\['corp'\]; possible are .*'crop'"):
        TrainConfig.from_dict({"corp": 64})


@pytest.mark.parametrize(
    "bad",
    [
        {"crop": 0},
        {"crop": 9.5},
        {"batch": True},
        {"learning_rate": 0},
        {"ema_decay": 1.5},
        {"seed": -1},
        {"clip": "much"},
        {"max_length": 1.5},
        {"exclude_groups": ["a"]},
        {"model": 3},
        {"accumulate": 0},
        {"precision": "float8"},
        {"precision": 16},
        {"compile": "yes"},
        {"checkpoint_blocks": 1},
        {"freeze": [1]},
    ],
)
def test_senseless_setting_is_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        TrainConfig.from_dict(bad)


def test_config_file_survives_a_round_trip(tmp_path):
    config = TrainConfig(crop=33, exclude_groups=(9240,), share={"plddt": 0.1}, max_length=99)
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config.to_dict()))
    assert TrainConfig.from_file(path).differences(config) == []
    assert TrainConfig(crop=34).differences(TrainConfig()) == ["crop"]


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00"])
def test_config_file_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match=r"c.json"):
        TrainConfig.from_file(tmp_path / "c.json")


def test_rate_warms_up_then_falls_to_its_floor():
    config = TrainConfig(learning_rate=1.0, warmup_steps=10, total_steps=110, floor=0.1)
    rates = [learning_rate(step, config) for step in range(200)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == rates[199] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[10:111]))


def test_rate_may_fall_once_as_in_the_paper():
    stage = TrainConfig.from_dict({"stage": "initial"})
    assert [stage.drop_after * 128, stage.floor] == [6_400_000, 0.95]
    rates = [learning_rate(step, stage) for step in (0, 999, 1000, 49_999, 50_000, 70_000)]
    assert rates == pytest.approx([1e-6, 1e-3, 1e-3, 1e-3, 0.95e-3, 0.95e-3])
    with pytest.raises(ValueError, match="drop_after must be at least 0"):
        TrainConfig(drop_after=-1)


def test_each_part_is_clipped_before_the_mean():
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([5.0, 5.0])  # of the step before
    total = ClippedSum([p], clip=1.0, parts=2)
    assert p.grad is None
    for gradient in ([30.0, 40.0], [0.3, 0.4]):
        p.grad = torch.tensor(gradient)
        norm = total.add(total.norm().item())
    assert norm == pytest.approx(0.5) and p.grad is None
    total.write()
    torch.testing.assert_close(p.grad, torch.tensor([0.45, 0.6]))


def test_gradient_that_is_not_finite_is_told_and_left_out():
    p = nn.Parameter(torch.zeros(2))
    total = ClippedSum([p], clip=1.0, parts=1)
    p.grad = torch.tensor([math.nan, 1.0])
    assert math.isnan(total.add(total.norm().item())) and p.grad is None
    assert torch.equal(total.sums[0], torch.zeros(2))


def test_scale_of_the_loss_is_taken_off_before_the_clipping():
    p = nn.Parameter(torch.zeros(2))
    total = ClippedSum([p], clip=1.0, parts=1)
    p.grad = 1024 * torch.tensor([0.3, 0.4])
    assert total.add(total.norm().item(), 1024.0) == pytest.approx(0.5)
    total.write()
    torch.testing.assert_close(p.grad, torch.tensor([0.3, 0.4]))


def test_scale_of_the_loss_halves_on_overflow_and_doubles_after_patience():
    scale = LossScale(8.0, patience=2)
    for overflow, wanted in ((True, 4), (False, 4), (False, 8), (False, 8), (True, 4), (False, 4)):
        scale.update(overflow)
        assert scale.value == wanted
    for _ in range(5):
        scale.update(True)
    assert scale.value == 1


def test_frozen_parameters_have_no_moments_and_a_pattern_must_match():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    freeze(model, ("0.*",))
    optimizer = make_optimizer(model, TrainConfig())
    assert {id(p) for p in optimizer.state} == {id(p) for p in model[1].parameters()}
    with pytest.raises(ValueError, match=r"no parameter matches 'trunk.\*'.*\['0', '1'\]"):
        freeze(model, ("0.*", "trunk.*"))
    with pytest.raises(ValueError, match="nothing to train"):
        freeze(model, ("*",))


def test_biases_and_norms_do_not_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    groups = make_optimizer(model, TrainConfig(weight_decay=0.5)).param_groups
    assert [len(g["params"]) for g in groups] == [1, 3]
    assert [g["weight_decay"] for g in groups] == [0.5, 0.0]


def test_the_fused_optimizer_steps_as_the_plain_one():
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    fused, plain = (make_optimizer(each, TrainConfig(weight_decay=0.1)) for each in models)
    for group in plain.param_groups:
        group |= {"fused": False, "foreach": False}
    assert all(group["fused"] for group in fused.param_groups)
    for _ in range(30):
        x = torch.randn(5, 3)
        for model, optimizer in zip(models, (fused, plain), strict=True):
            model.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    for one, other in zip(*(each.parameters() for each in models), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_average_follows_and_settles_at_its_decay():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = MovingAverage(model, decay=0.9)
    model.weight.data.fill_(1.0)
    average.update(model, 0)
    assert average.state["weight"].item() == pytest.approx(0.9)  # (1 + 0) / (10 + 0) is kept
    average.state["weight"].fill_(0.0)
    average.update(model, 10_000)
    assert average.state["weight"].item() == pytest.approx(0.1)


def make_state(steps=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    config = TrainConfig()
    optimizer, average = make_optimizer(model, config), MovingAverage(model, 0.9)
    for step in range(steps):
        advance(model, optimizer, average, step)
    return model, average, optimizer


def advance(model, optimizer, average, step):
    model.zero_grad()
    torch.manual_seed(step)
    model(torch.randn(5, 3)).square().mean().backward()
    optimizer.step()
    average.update(model, step)


def save(out, step=1, tensors=None, **state):
    tensors = {"a": torch.ones(9)} if tensors is None else tensors
    return save_checkpoint(out, step, tensors, {"step": step, **state}, World())


def test_restored_state_goes_on_bit_for_bit(tmp_path):
    model, average, optimizer = make_state()
    save(tmp_path, 3, gather(model, average, optimizer))
    again = make_state(steps=0)
    restore(load_checkpoint(list_checkpoints(tmp_path)[-1]), gather(*again))
    for step in range(3, 6):
        advance(model, optimizer, average, step)
        advance(again[0], again[2], again[1], step)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again[0].state_dict()[name])
        assert torch.equal(average.state[name], again[1].state[name])


@pytest.mark.parametrize("other", [nn.Linear(3, 4), nn.Sequential(nn.Linear(9, 4), nn.Tanh())])
def test_checkpoint_of_another_model_is_refused(tmp_path, other):
    save(tmp_path, 3, gather(*make_state()))
    saved = load_checkpoint(list_checkpoints(tmp_path)[-1])
    with pytest.raises(ValueError, match="another model"):
        restore(
            saved, gather(other, MovingAverage(other, 0.9), make_optimizer(other, TrainConfig()))
        )


def test_only_two_checkpoints_stay(tmp_path):
    for step in (1, 2, 30):
        save(tmp_path, step)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step_00000002", "step_00000030"]


def test_write_that_fails_leaves_the_old_checkpoints(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full_disk(tensors, path):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full_disk)
    with pytest.raises(OSError):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert load_checkpoint(list_checkpoints(tmp_path)[-1]).state["step"] == 1


def test_leftover_of_a_killed_write_is_neither_read_nor_kept(tmp_path):
    leftover = tmp_path / "checkpoints" / ".step_00000007.partial"
    leftover.mkdir(parents=True)
    (leftover / "state.json").write_text("{")
    assert list_checkpoints(tmp_path) == []
    save(tmp_path, 1)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


def test_damaged_checkpoint_is_named(tmp_path):
    folder = save(tmp_path, 1)
    (folder / "tensors.safetensors").write_bytes(b"\x80\x04")
    with pytest.raises(ValueError, match="step_00000001 is damaged"):
        load_checkpoint(folder)
    (folder / "tensors.safetensors").unlink()
    with pytest.raises(ValueError, match="step_00000001 is damaged"):
        load_checkpoint(folder)


def test_line_cut_off_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_jsonl(path) == [{"step": 1, "loss": 2.0}]


def test_smooth_is_the_mean_of_the_last_values():
    assert smooth([1.0, 2.0, 3.0, 4.0], 2) == [1, 1.5, 2.5, 3.5]


def test_plot_is_a_png_of_the_whole_run(tmp_path):
    pytest.importorskip("matplotlib")
    lines = [{"step": i, "loss": 9 / i, "distogram": 3 / i, "chains": ["a"]} for i in range(1, 80)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    plot_losses(tmp_path / "metrics.jsonl", tmp_path / "losses.png")
    data = (tmp_path / "losses.png").read_bytes()
    assert data.startswith(b"\x89PNG") and struct.unpack(">II", data[16:24]) == (960, 720)
    assert [p.name for p in tmp_path.glob(".*")] == []
    (tmp_path / "losses.png").unlink()
    assert redraw(tmp_path).read_bytes() == data
    with pytest.raises(FileNotFoundError, match="no run in"):
        redraw(tmp_path / "nowhere")
