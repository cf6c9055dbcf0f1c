"""How often a training step waits for the device that it computes on."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from kit import TINY_MODEL
from torch.utils._python_dispatch import TorchDispatchMode

from alphafold2_pytorch import Runtime
from alphafold2_pytorch.data.collate import Batch, Example
from alphafold2_pytorch.ops import set_runtime
from alphafold2_pytorch.train.config import TrainConfig
from alphafold2_pytorch.train.run import Run

SAMPLE = Path(__file__).parents[1] / "sample"
aten = torch.ops.aten
# On a GPU each of these waits until all that was asked of it before is computed.
WAIT = {
    aten._local_scalar_dense.default,  # item, bool, float and int of a tensor
    aten.is_nonzero.default,
    aten.item.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
    aten.unique_consecutive.default,
}
BY_MASK = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class Waits(TorchDispatchMode):
    """Counts them by name while `on`; `tolist` is a wait of its own, which is no operation."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.on, self.seen, self.read = False, Counter(), torch.Tensor.tolist
        monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: self.tolist(tensor))

    def tolist(self, tensor):
        """One wait, however many numbers."""
        self.seen["tolist"] += self.on
        was, self.on = self.on, False
        try:
            return self.read(tensor)
        finally:
            self.on = was

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        by_mask = function in BY_MASK and any(
            each is not None and each.dtype == torch.bool for each in args[1]
        )
        if self.on and (function in WAIT or by_mask):
            self.seen[str(function)] += 1
        return function(*args, **(kwargs or {}))


def waits_of_a_step(monkeypatch, config: TrainConfig) -> Counter:
    """From when the batch is on the device to the end of the step."""
    run = Run(config, SAMPLE)
    set_runtime(run.model, Runtime(attention="sdpa"))  # the way of a GPU
    run.take_step()  # tables are made on first use
    drawn = run.sampler.part(1, 0)
    example = Example(drawn.parts, 1)
    monkeypatch.setattr(run.sampler, "part", lambda *_: example)
    waits, move = Waits(monkeypatch), Batch.to

    def to(batch, device):
        moved = move(batch, device)
        waits.on = True
        return moved

    monkeypatch.setattr(Batch, "to", to)
    with waits:
        run.take_step()
    return waits.seen


EVERY_HEAD = {"predict_angles": True, "predict_pae": True, "predict_resolved": True}
CLUSTERS = {"inputs": "clusters", "num_embedds": 0, "extra_msa_depth": 1}
CLUSTERS |= {"predict_masked_msa": True}


@pytest.mark.parametrize(
    "more",
    [
        {},
        EVERY_HEAD | CLUSTERS,
        {"custom_block_types": ("self", "cross"), "structure_module_type": "egnn"},
    ],
    ids=["tokens", "clusters", "light"],
)
def test_a_step_waits_for_its_device_once(monkeypatch, more):
    config = TrainConfig(model={**TINY_MODEL, **more}, crop=16, msa_rows=16, max_recycles=1)
    assert waits_of_a_step(monkeypatch, config) == {"tolist": 1}


def test_waits_are_seen(monkeypatch):
    waits, x = Waits(monkeypatch), torch.arange(3.0)
    with waits:
        waits.on = True
        bool(x[1] > 0), float(x[0]), x.tolist(), x[x > 1], x.nonzero()
        x[x > 1] = 0
    assert waits.seen["aten._local_scalar_dense.default"] == 2 and waits.seen["tolist"] == 1
    assert sum(waits.seen.values()) >= 6
