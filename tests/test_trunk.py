"""The reversible trunk: the gradients of autograd, without keeping what the steps computed."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kit import random_streams, scrambled, tiny_config
from torch import nn

from alphafold2_pytorch.blocks import BLOCKS, Block
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.trunk import Trunk

LIST = ("evoformer", "self", "cross", "conv")


def build(*blocks: str, **keywords) -> Trunk:
    return scrambled(Trunk(tiny_config(*(blocks or LIST), reversible=True, **keywords))).train()


def by_autograd(trunk: Trunk, x: Streams) -> tuple[torch.Tensor, torch.Tensor]:
    """The slow twin: the same halves, with everything kept."""
    read, hidden = {"pair": x.pair, "msa": x.msa}, {"pair": x.pair, "msa": x.msa}
    for block in trunk.blocks:
        for step in block.children():
            update = step(Streams(read["pair"], read["msa"], x.pair_mask, x.msa_mask))
            name = step.writes
            read[name], hidden[name] = hidden[name] + update, read[name]
    return (read["pair"] + hidden["pair"]) / 2, (read["msa"] + hidden["msa"]) / 2


def inputs(dtype=torch.float32) -> Streams:
    x = random_streams(n=5, rows=3)
    pair, msa = (t.to(dtype).requires_grad_() for t in (x.pair, x.msa))
    return Streams(pair, msa, x.pair_mask, x.msa_mask)


def slopes(trunk: Trunk, x: Streams, pair: torch.Tensor, msa: torch.Tensor) -> list[torch.Tensor]:
    loss = pair.float().sin().mean() + msa.float().sin().mean()
    return list(torch.autograd.grad(loss, [x.pair, x.msa, *trunk.parameters()], retain_graph=True))


def test_gradients_are_those_of_finite_differences():
    trunk, x = build("self", "cross").double(), inputs(torch.float64)

    def run(pair, msa):
        out = trunk(Streams(pair, msa, x.pair_mask, x.msa_mask))
        return out.pair, out.msa

    assert torch.autograd.gradcheck(run, (x.pair, x.msa), fast_mode=True)
    weight = next(p for p in trunk.parameters() if p.ndim == 2)

    def of_weight(value):
        out = torch.func.functional_call(
            trunk, {next(n for n, p in trunk.named_parameters() if p is weight): value}, (x,)
        )
        return out.pair.sum() + out.msa.square().sum()

    slope = torch.zeros_like(weight)
    for i in range(3):
        step = torch.zeros_like(weight)
        step[i, i] = 1e-6
        with torch.no_grad():
            up, down = of_weight(weight + step), of_weight(weight - step)
        slope[i, i] = (up - down) / 2e-6
    out = trunk(x)
    (found,) = torch.autograd.grad(out.pair.sum() + out.msa.square().sum(), weight)
    for i in range(3):
        torch.testing.assert_close(found[i, i], slope[i, i], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_result_and_gradients_are_those_of_plain_autograd(dropout):
    trunk = build(attn_dropout=dropout, ff_dropout=dropout).double()
    x = inputs(torch.float64)
    torch.manual_seed(5)
    ours = trunk(x)
    torch.manual_seed(5)
    twin = by_autograd(trunk, x)
    torch.testing.assert_close((ours.pair, ours.msa), twin)
    state = torch.get_rng_state()
    torch.testing.assert_close(slopes(trunk, x, ours.pair, ours.msa), slopes(trunk, x, *twin))
    assert torch.equal(torch.get_rng_state(), state)  # the backward pass draws nothing of its own


def test_autocast_is_the_same_in_the_backward_pass():
    trunk, x = build(attn_dropout=0.2), inputs()
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        ours = trunk(x)
        inside = slopes(trunk, x, ours.pair, ours.msa)
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        twin = by_autograd(trunk, x)
    torch.testing.assert_close((ours.pair, ours.msa), twin)
    outside, expected = slopes(trunk, x, ours.pair, ours.msa), slopes(trunk, x, *twin)
    for one, other, wanted in zip(inside, outside, expected, strict=True):
        torch.testing.assert_close(one, other)
        torch.testing.assert_close(one, wanted, rtol=0.05, atol=0.02 * float(wanted.abs().max()))


def test_two_forwards_before_one_backward():
    trunk = build(attn_dropout=0.2).double()
    x, y = inputs(torch.float64), inputs(torch.float64)
    torch.manual_seed(1)
    first, second = trunk(x), trunk(y)
    torch.manual_seed(1)
    twins = by_autograd(trunk, x), by_autograd(trunk, y)
    total = sum(t.square().sum() for out in (first, second) for t in (out.pair, out.msa))
    wanted = sum(t.square().sum() for out in twins for t in out)
    leaves = [x.pair, y.msa, *trunk.parameters()]
    ours, theirs = torch.autograd.grad(total, leaves), torch.autograd.grad(wanted, leaves)
    torch.testing.assert_close(ours, theirs)


def test_weights_changed_before_the_backward_pass_are_noticed():
    trunk, x = build("self"), inputs()
    loss = trunk(x).pair.sum()
    with torch.no_grad():
        next(trunk.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_caller_keeps_its_tensors():
    trunk, x = build().eval(), random_streams()
    pair, msa = x.pair.clone(), x.msa.clone()
    with torch.no_grad():
        trunk(x)
    assert torch.equal(x.pair, pair) and torch.equal(x.msa, msa)


def test_block_with_a_forward_of_its_own_is_refused(monkeypatch):
    class Own(Block):
        def __init__(self, dim: int):
            super().__init__()
            self.out = nn.Linear(dim, dim)

        def forward(self, x: Streams) -> Streams:
            return x.add("pair", self.out(x.pair))

    monkeypatch.setitem(BLOCKS.entries, "own", Own)
    with pytest.raises(ValueError, match="'own' has a forward of its own"):
        build("own")


MEASURE = r"""
import re, sys
from pathlib import Path
import torch
from kit import random_streams, tiny_config
from alphafold2_pytorch.trunk import Trunk
from alphafold2_pytorch.streams import Streams

def peak():
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

torch.set_num_threads(1)
def step(layers, n, reversible):
    trunk = Trunk(tiny_config(*("self",) * layers, reversible=reversible)).train()
    x = random_streams(n=n, rows=4, batch=1)
    x = Streams(x.pair.requires_grad_(), x.msa.requires_grad_(), x.pair_mask, x.msa_mask)
    out = trunk(x)
    (out.pair.square().mean() + out.msa.square().mean()).backward()

depth, reversible = int(sys.argv[1]), sys.argv[2] == "reversible"
import torch._dynamo  # what a checkpoint loads on first use
step(1, 64, reversible)
before = peak()
step(depth, 192, reversible)
print(peak() - before)
"""


def training_peak(depth: int, kind: str) -> int:
    folder = Path(__file__).parent
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(depth), kind],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{folder}:{folder.parent}", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_of_a_training_step_does_not_grow_with_depth():
    deep, shallow = training_peak(16, "reversible"), training_peak(4, "reversible")
    plain = training_peak(16, "plain")
    assert deep < 1.2 * shallow, f"{deep / 1e6:.0f} MB at depth 16, {shallow / 1e6:.0f} at depth 4"
    assert deep < 0.5 * plain, f"{deep / 1e6:.0f} MB, plain {plain / 1e6:.0f}"
