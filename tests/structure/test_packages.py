"""Published networks in the frame of point networks; each skips where it is not installed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from kit import random_rigid, scrambled, tiny_config

from alphafold2_pytorch.geometry.neighbours import nearest
from alphafold2_pytorch.structure import STRUCTURES
from alphafold2_pytorch.structure.packages import PublishedStructure, dense

ROOT = Path(__file__).parents[2]
MODULES = {
    "egnn-pytorch": "egnn_pytorch",
    "en-transformer": "en_transformer",
    "se3-transformer-pytorch": "se3_transformer_pytorch",
}


def installed(name: str):
    missing = importlib.util.find_spec(MODULES[name]) is None
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"{name} not installed"))


INSTALLED = [installed(name) for name in MODULES]


def build(name: str) -> PublishedStructure:
    return scrambled_a_little(STRUCTURES[name].from_config(config(name)))


def config(name: str):
    return tiny_config(
        "self", predict_coords=True, structure_module_type=name, structure_module_knn=6
    )


def scrambled_a_little(module):
    """Random everywhere, but so that steps stay of the size of a bond or two."""
    start = {name: p.detach().clone() for name, p in module.named_parameters()}
    scrambled(module)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(start[name] + 0.2 * (parameter - start[name]))
    return module


def inputs(n=6, batch=2):
    single, pair = torch.randn(batch, n, 16), torch.randn(batch, n, n, 16)
    mask, seq = torch.ones(batch, n, dtype=torch.bool), torch.randint(0, 20, (batch, n))
    return single, pair, mask, seq, random_rigid(batch, n, dtype=torch.float32)


def test_every_package_is_registered_under_the_name_it_is_installed_by():
    entries = STRUCTURES.entries.items()
    assert {n for n, e in entries if issubclass(e, PublishedStructure)} == set(MODULES)


@pytest.mark.parametrize("name", INSTALLED)
def test_moving_the_start_moves_the_atoms(name):
    module, (single, pair, mask, seq, start) = build(name), inputs()
    world = random_rigid(1, 1, dtype=torch.float32)
    here = module(single, pair, mask, seq, start)
    there = module(single, pair, mask, seq, world.compose(start))
    moved = world.unsqueeze(-1).apply(here.atoms) * here.atom_mask[..., None]
    assert (here.atoms[-1] - here.atoms[0]).abs().max() > 1e-3  # it does move points
    torch.testing.assert_close(there.atoms, moved, rtol=0, atol=2e-3)
    torch.testing.assert_close(there.single, here.single, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", INSTALLED)
def test_masked_residues_change_nothing_and_padding_equals_none(name):
    module, (single, pair, mask, seq, start) = build(name), inputs()
    mask[:, -2:] = False
    short = module(single[:, :4], pair[:, :4, :4], mask[:, :4], seq[:, :4], start[:, :4])
    noisy_single = torch.where(mask[..., None], single, 100.0)
    both = mask[:, :, None] & mask[:, None]
    noisy_pair = torch.where(both[..., None], pair, 100.0)
    noisy = module(noisy_single, noisy_pair, mask, seq, start)
    torch.testing.assert_close(noisy.atoms[:, :, :4], short.atoms, rtol=0, atol=1e-4)
    torch.testing.assert_close(noisy.single[:, :4], short.single, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", INSTALLED)
def test_every_parameter_gets_a_finite_gradient(name):
    module, given = build(name).train(), inputs()
    structure = module(*given)
    # Deviations from the start, so that the loss does not cancel as sums over pairs do.
    (structure.atoms * torch.randn_like(structure.atoms)).sum().backward(retain_graph=True)
    (structure.single * torch.randn_like(structure.single)).sum().backward()
    wrong = [
        n
        for n, p in module.named_parameters()
        if p.grad is None or not p.grad.any() or not torch.isfinite(p.grad).all()
    ]
    assert not wrong


@pytest.mark.parametrize("name", INSTALLED)
def test_one_residue_is_enough(name):
    assert torch.isfinite(build(name)(*inputs(n=1, batch=1)).atoms).all()


@pytest.mark.parametrize("name", INSTALLED)
def test_points_see_only_the_neighbours_they_are_given(name):
    """One layer: what a point that is nobody's neighbour has reaches nobody else."""
    options = {"structure_module_depth": 1, "structure_module_type": name}
    small = tiny_config("self", predict_coords=True, **options)
    network = scrambled_a_little(STRUCTURES[name].from_config(small)).network
    feats, coors = torch.randn(1, 9, 16), 3 * torch.randn(1, 9, 3)
    mask, edges = torch.ones(1, 9, dtype=torch.bool), torch.randn(1, 9, 4, 16)
    graph = nearest(coors, mask, 4)
    out, moved = network.refine(feats, coors, mask, graph, edges)
    changed = feats.clone()
    changed[:, 3] += 1
    out2, moved2 = network.refine(changed, coors, mask, graph, edges)
    sees = (graph.index == 3).any(-1)[0]
    sees[3] = True
    if name.startswith("se3"):  # what comes in and out is convolved too: three rounds
        adjacent = dense(graph, None)[0][0] | torch.eye(9, dtype=torch.bool)
        sees = torch.linalg.matrix_power(adjacent.double(), 3)[:, 3] > 0
    same = ((out - out2).abs().amax(-1) + (moved - moved2).abs().amax(-1))[0] < 1e-6
    assert same[~sees].all() and not same[sees].all()
    graph_edges = edges.clone()
    graph_edges[:, 0] += 1
    out3, _ = network.refine(feats, coors, mask, graph, graph_edges)
    assert not torch.allclose(out3[:, 0], out[:, 0])


def test_neighbours_become_tables_of_all_pairs():
    points, mask = torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    mask[1, 4] = False
    graph, edges = nearest(points, mask, 4), torch.randn(2, 5, 4, 3)
    adjacent, table = dense(graph, edges)
    for b in range(2):
        for i in range(5):
            seen = {int(j): k for k, j in enumerate(graph.index[b, i]) if graph.mask[b, i, k]}
            for j in range(5):
                expected = edges[b, i, seen[j]] if j in seen else torch.zeros(3)
                assert adjacent[b, i, j] == (j in seen)
                torch.testing.assert_close(table[b, i, j], expected)


@pytest.mark.parametrize("name", MODULES)
def test_without_the_package_the_error_names_the_extra(name, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == MODULES[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    with pytest.raises(ImportError, match=r"alphafold2-pytorch\[packages\]"):
        STRUCTURES[name].from_config(config(name))


def python(source: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a program in a Python of its own."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    variables = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-c", source]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


def test_no_package_is_loaded_before_it_is_named():
    done = python(
        "import sys, alphafold2_pytorch.structure\n"
        f"assert not set(sys.modules) & {set(MODULES.values())}"
    )
    assert done.returncode == 0, done.stderr


BUILD_SE3 = """
import os
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.structure import STRUCTURES
import torch
words = dict(structure_module_dim=8, structure_module_depth=1, structure_module_heads=1)
config = Alphafold2Config(dim=8, depth=1, predict_coords=True,
                          structure_module_type="se3-transformer-pytorch", **words)
network = STRUCTURES["se3-transformer-pytorch"].from_config(config).network.network
coors = torch.randn(1, 4, 3)
network.num_neighbors = 2
network(torch.randn(1, 4, 8), coors, edges=torch.randn(1, 4, 4, 16))
assert "CLEAR_CACHE" not in os.environ
"""


@pytest.mark.parametrize("name", [installed("se3-transformer-pytorch")])
def test_the_se3_package_writes_nothing_into_the_home_directory(name, tmp_path, monkeypatch):
    home = {"HOME": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path.parent)}
    monkeypatch.delenv("CLEAR_CACHE", raising=False)
    done = python(BUILD_SE3, **home)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [installed("se3-transformer-pytorch")])
def test_an_se3_package_that_was_imported_with_its_cache_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.delenv("CLEAR_CACHE", raising=False)
    source = "import se3_transformer_pytorch\n" + BUILD_SE3
    done = python(source, HOME=str(tmp_path))
    assert done.returncode != 0
    assert "ImportError: se3_transformer_pytorch was imported before" in done.stderr
    assert not list(tmp_path.iterdir())
