"""Half precision: what must stay float32 does, and the result stays near that of float32."""

from pathlib import Path

import pytest
import torch
from golden_checks.base import Case
from golden_checks.models import features_of, model_of
from kit import random_cluster_features, random_features, random_targets, tiny_config

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.features import Prediction
from alphafold2_pytorch.geometry.align import rmsd
from alphafold2_pytorch.heads import total_loss
from alphafold2_pytorch.losses.lddt import lddt
from alphafold2_pytorch.ops import OuterProduct
from alphafold2_pytorch.ops.triangles.base import sum_with_room
from alphafold2_pytorch.presets import Sizes, alphafold2

HERE = Path(__file__).parent
ALIGNMENT = HERE.parent / "examples" / "data" / "1a3a_C.a3m"
GOLDENS = [HERE / "golden" / "models" / f"tiny_model_{number}" for number in (1, 3)]
OFFICIAL = HERE.parents[1] / "shared" / "goldens" / "models" / "official_model_1_ptm"
# Angstrom between C-alpha atoms after superposition, on random weights and with all cycles.
NEAR = {torch.bfloat16: 0.3, torch.float16: 0.2}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
halves = pytest.mark.parametrize("dtype", NEAR, ids=str)


def compare(wanted: Prediction, found: Prediction) -> tuple[float, float, float]:
    """Mean difference of pLDDT (of 100), lDDT of C-alpha (0 to 1), and its RMSD in angstrom."""
    mask = wanted.features.mask
    true, other = (each.structure.atoms[-1][:, :, 1] for each in (wanted, found))
    apart = (found.plddt - wanted.plddt).abs()[mask].mean().item()
    scores = lddt(other, true, mask), rmsd(other, true, mask)
    print(f"pLDDT {apart:.3f}, lDDT {scores[0].item():.4f}, RMSD {scores[1].item():.3f}")
    return apart, scores[0].item(), scores[1].item()


def golden(path: Path, dtype: torch.dtype, device: str) -> tuple[Prediction, Prediction]:
    """All cycles in float32, and with autocast."""
    case = Case.open(path)
    model = model_of(case).to(device)
    samples = [each.to(device) for each in features_of(case)]
    cycles = {name.split("/")[0] for name in case.outputs() if name.startswith("r")}
    recycles = max(int(name[1:]) for name in cycles)
    found = []
    with torch.no_grad():
        for enabled in (False, True):
            with torch.autocast(device, dtype, enabled=enabled):
                ensemble = len(samples) // (recycles + 1)
                found.append(model.predict(samples, recycles, ensemble=ensemble))
    return found[0], found[1]


@halves
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.name)
def test_half_precision_is_near_float32_at_deepminds_features(path, device, dtype):
    wanted, found = golden(path, dtype, device)
    apart, kept, distance = compare(wanted, found)
    assert apart < 1 and kept > 0.99 and distance < NEAR[dtype]
    assert {value.dtype for value in found.outputs.values()} == {torch.float32}
    assert {found.structure.atoms.dtype, found.plddt.dtype} == {torch.float32}


@pytest.mark.slow
@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the larger files are not here")
@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_is_near_float32_at_the_official_size(device):
    apart, kept, distance = compare(*golden(OFFICIAL, torch.bfloat16, device))
    assert apart < 1 and kept > 0.6 and distance < 2  # 48 random blocks, four times, amplify it


@halves
@pytest.mark.parametrize("device", DEVICES)
def test_the_embedded_model_folds_alike_in_half_precision(device, dtype):
    """The first coordinates of multidimensional scaling move by more than the network's own."""
    model = Alphafold2.from_pretrained().to(device)
    query = ALIGNMENT.read_text().splitlines()[1]
    found = []
    for enabled in (False, True):
        with torch.autocast(device, dtype, enabled=enabled):
            found.append(model.fold(query, ALIGNMENT, recycles=1, max_rows=32))
    apart, kept, _ = compare(*found)
    assert apart < 1 and kept > 0.85


@pytest.mark.parametrize("preset", [True, False], ids=["preset", "light"])
@pytest.mark.parametrize("device", DEVICES)
def test_gradients_in_bfloat16_are_finite_and_the_loss_is_float32(preset, device):
    if preset:
        sizes = Sizes(blocks=1, extra_blocks=1, template_blocks=1, iterations=2)
        model, features = Alphafold2(alphafold2(True, 8, True, sizes)), random_cluster_features()
        unread = {"masked_msa"}
    else:
        model = Alphafold2(tiny_config("evoformer", "self", "cross", predict_coords=True))
        features, unread = random_features(), set()
    heads = torch.nn.ModuleDict({k: v for k, v in model.heads.items() if k not in unread})
    model, truth = model.to(device), random_targets(features).to(device)
    with torch.autocast(device, torch.bfloat16):
        total, parts = total_loss(heads, model.predict(features.to(device), recycles=1), truth)
    assert {total.dtype, *(part.dtype for part in parts.values())} == {torch.float32}
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(each).all() for each in gradients)


def test_sums_over_many_rows_and_residues_have_room_in_float16():
    rows = torch.full((1, 4096, 2, 4), 8.0, dtype=torch.float16)
    keep = torch.ones(1, 4096, 2, dtype=torch.bool)
    weight, bias = torch.full((3, 16), 0.5, dtype=torch.float16), torch.zeros(3).half()
    with torch.autocast("cpu", torch.float16):
        out = OuterProduct()(rows, rows, keep, weight, bias)
        torch.testing.assert_close(out.float(), torch.full((1, 2, 2, 3), 512.0), rtol=1e-2, atol=0)
        edges = torch.full((1, 1, 40, 40), 64.0, dtype=torch.float16)
        assert torch.isfinite(sum_with_room(edges, edges)).all()


def test_rows_in_common_are_counted_right_in_bfloat16():
    left = torch.ones(1, 301, 1, 1)
    keep = torch.ones(1, 301, 1, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        out = OuterProduct()(left, left, keep, torch.zeros(1, 1), torch.full((1,), 301.001))
    torch.testing.assert_close(out.float(), torch.ones(1, 1, 1, 1), rtol=1e-6, atol=1e-2)
