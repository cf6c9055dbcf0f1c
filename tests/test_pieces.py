"""Free memory, and the size of pieces that follows from it."""

import pytest
import torch
from kit import random_features, tiny_config

from alphafold2_pytorch import Alphafold2, Runtime
from alphafold2_pytorch.ops import pieces, set_runtime

CPU, MIB = torch.device("cpu"), 2**20


@pytest.mark.parametrize("names", pieces.LIMITS, ids=["version 2", "version 1"])
def test_a_containers_limit_counts(monkeypatch, tmp_path, names):
    *files, word = names
    monkeypatch.setattr(pieces, "GROUP", tmp_path)
    assert pieces.group_memory() is None
    (tmp_path / "memory").mkdir()
    for file, text in zip(files, ("5000\n", "3000\n", f"anon 2000\n{word} 600\n"), strict=True):
        (tmp_path / file).write_text(text)
    assert pieces.group_memory() == pieces.free_memory(CPU) == 2600
    (tmp_path / files[0]).write_text("max\n")
    assert pieces.group_memory() is None and pieces.free_memory(CPU) > 1_000_000


@pytest.mark.parametrize(
    ("kind", "free", "size"),
    [
        ("cpu", None, 8),
        ("cpu", 2**40, 8),
        ("cpu", 48 * MIB, 2),
        ("cpu", 0, 1),
        ("cuda", 2**40, 256),
        ("cuda", 3000 * MIB, 128),
        ("mps", 2**40, 8),
    ],
)
def test_pieces_are_smaller_where_less_is_free(monkeypatch, kind, free, size):
    monkeypatch.setattr(pieces, "free_memory", lambda device: free)
    assert pieces.choose_piece(torch.device(kind)) == size * MIB


def test_the_size_is_decided_once_a_prediction_and_left_open_after_it(monkeypatch):
    model, asked, used = Alphafold2(tiny_config("self", predict_coords=True)).eval(), [], set()
    monkeypatch.setattr(pieces, "choose_piece", lambda device: asked.append(device) or 77)
    model.trunk.blocks[0].register_forward_hook(
        lambda *_: used.update(m.runtime.chunk_bytes for m in model.modules() if runs(m))
    )
    with torch.no_grad():
        model.predict(random_features(), recycles=2)
        assert asked == [CPU] and used == {77}
        with pytest.raises(FloatingPointError):
            model.predict(random_features(), progress=broken)
        assert {m.runtime for m in model.modules() if runs(m)} == {Runtime()}
        set_runtime(model, Runtime(chunk_bytes=99))
        model.predict(random_features())
    assert len(asked) == 2 and used == {77, 99}


def runs(module) -> bool:
    return isinstance(getattr(module, "runtime", None), Runtime)


def broken(*_):
    raise FloatingPointError
