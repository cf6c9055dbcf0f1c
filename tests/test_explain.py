"""`explain` tells what really ran, why the rest did not, and leaves the model as it was."""

from dataclasses import replace

import pytest
import torch
from kit import random_features, tiny_config

from alphafold2_pytorch import Alphafold2, Runtime, explain
from alphafold2_pytorch.ops import Attend, OuterProduct, TriangleUpdate, set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.runtime import Operation
from alphafold2_pytorch.ops.triangles import TRIANGLES


def model_of(*blocks, **keywords) -> Alphafold2:
    return Alphafold2(tiny_config(*blocks, **keywords))


def made(explanation, operation: str, where: str):
    """The calls of one kind, each with its number."""
    return [
        (call, times)
        for call, times in explanation.calls.items()
        if (call.operation, call.where) == (operation, where)
    ]


def test_the_backend_that_ran_is_the_one_that_is_told(monkeypatch):
    model, features, really = model_of("evoformer"), random_features(n=9, rows=4), []
    for registry in (BACKENDS, TRIANGLES):
        for name, entry in registry.entries.items():

            def run(*call, name=name, run=entry.run, kind=registry.kind):
                really.append((kind, name))
                return run(*call)

            monkeypatch.setattr(entry, "run", staticmethod(run))
    told = explain(model, features)
    by_kind = {"Attend": BACKENDS.kind, "TriangleUpdate": TRIANGLES.kind}
    counted = [
        (by_kind[call.operation], call.ran)
        for call, times in told.calls.items()
        if call.operation in by_kind
        for _ in range(times)
    ]
    assert sorted(counted) == sorted(really) and len(counted) == 6


def test_shapes_dtypes_and_places_are_those_of_the_call():
    told = explain(model_of("evoformer", heads=2, dim_head=8), random_features(n=9, rows=4))
    [(row, times)] = made(told, "Attend", "MsaRowAttention")
    assert (row.shape, row.dtype, times) == ((1, 4, 2, 9, 8), "float32", 1)
    [(triangles, times)] = made(told, "TriangleUpdate", "TriangleMultiplication")
    assert (triangles.shape, times) == ((1, 9, 9, 16), 2)
    [(pieces, _)] = made(told, "Rows", "PairTransition")
    assert pieces.ran == "in one piece"


def test_every_other_backend_has_the_reason_that_it_gives_itself():
    told = explain(model_of("evoformer"), random_features())
    [(call, _)] = made(told, "Attend", "MsaRowAttention")
    q = torch.empty(call.shape)
    why = dict(call.why)
    assert set(why) == set(BACKENDS.entries) - {call.ran}
    for name, reason in why.items():
        refusal = BACKENDS[name].refuses(q, q, q, None, None, 0.0)
        assert reason == (refusal or "slower here")
    assert call.ran == "tiled" and why["sdpa"] == "slower here"


def test_a_named_backend_shows_and_the_others_were_not_asked():
    model = model_of("evoformer")
    set_runtime(model, Runtime(attention="sdpa", triangle="reference"))
    told = explain(model, random_features())
    assert {call.ran for call in told.calls if call.operation == "Attend"} == {"sdpa"}
    [(call, _)] = made(told, "TriangleUpdate", "TriangleMultiplication")
    assert call.ran == "reference"
    assert dict(call.why)["pieces"] == "'reference' is asked for by name"


def test_a_runtime_can_be_tried_and_a_refusal_is_an_error():
    model = model_of("evoformer")
    told = explain(model, random_features(), Runtime(chunk_bytes=1))
    [(pieces, _)] = made(told, "Rows", "PairTransition")
    assert pieces.ran == "pieces of 1"
    assert {module.runtime for module in model.modules() if hasattr(module, "runtime")} == {
        Runtime()
    }
    with pytest.raises(ValueError, match="'deepspeed' refuses this input: it runs on CUDA only"):
        explain(model, random_features(), Runtime(attention="deepspeed"))
    assert Operation.listener is None and model.training


def test_sparse_attention_and_both_orders_of_the_outer_product_are_told():
    keywords = {"sparse_self_attn": True, "max_seq_len": 64}
    told = explain(model_of("self", **keywords), random_features(n=20))
    [(sparse, _)] = made(told, "SparseAttend", "PairAxialAttention")
    assert (sparse.ran, dict(sparse.why)) == ("gathered", {"flex blocks": "it runs on CUDA only"})
    for rows, order in ((4, "projected, then summed"), (40, "summed, then projected")):
        told = explain(model_of("evoformer"), random_features(rows=rows))
        [(outer, _)] = made(told, "OuterProduct", "OuterProductMean")
        assert outer.ran == order
        assert f"more work with {rows} rows" in str(told)


def test_the_model_is_as_it_was():
    model = model_of("evoformer", attn_dropout=0.5)
    model.train()
    model.trunk.eval()
    before = [module.training for module in model.modules()]
    explain(model, random_features())
    assert [module.training for module in model.modules()] == before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_other_models_are_not_told():
    model, features = model_of("evoformer"), random_features()
    alone = explain(model, features)
    other = model_of("self")
    model.register_forward_pre_hook(lambda *_: None)
    model.inputs.register_forward_hook(lambda *_: other.predict(features) and None)
    assert explain(model, features) == alone


def test_the_table_can_be_read():
    told = str(explain(model_of("evoformer"), replace(random_features())))
    lines = told.splitlines()
    assert lines[0].split() == "operation where shape dtype ran times others".split()
    [row] = [line.split() for line in lines if line.startswith("Attend") and "MsaRow" in line]
    assert row[-3:-1] == ["tiled", "1"]
    assert f"{row[-1]} not flex: it runs on CUDA only" in lines
    for kind in (Attend, TriangleUpdate, OuterProduct):
        assert kind.__name__ in told
