"""The memory that `memory_estimate` promises is what a prediction takes."""

import subprocess
import sys
from pathlib import Path

import benchmark_memory
import pytest
from kit import tiny_config

from alphafold2_pytorch.memory import longest_chain
from alphafold2_pytorch.model import Alphafold2

MEASURE = r"""
import re, sys
from pathlib import Path
import torch
from kit import random_features, tiny_config
from alphafold2_pytorch.config import Runtime
from alphafold2_pytorch.model import Alphafold2
from alphafold2_pytorch.ops import set_runtime

def peak():  # of this process; ru_maxrss would begin with its parent's
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

n, rows, ensemble = map(int, sys.argv[1:])
torch.set_num_threads(1)
model = Alphafold2(tiny_config("evoformer", dim=32, heads=4, predict_coords=True)).eval()
set_runtime(model, Runtime(chunk_bytes=4 * 2**20))
with torch.no_grad():
    model.predict(random_features(16, 4), recycles=1)  # libraries load on first use
    before = peak()
    samples = [random_features(n, rows)] * (2 * ensemble)
    model.predict(samples, recycles=1, ensemble=ensemble)
print(peak() - before, model.memory_estimate(n, rows, ensemble=ensemble))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize(("n", "rows", "ensemble"), [(256, 8, 1), (128, 256, 1), (256, 8, 3)])
def test_the_estimate_covers_the_peak_and_is_not_far_above_it(n, rows, ensemble):
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(n), str(rows), str(ensemble)],
        capture_output=True,
        text=True,
        check=True,
        env={
            "PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}",
            # at these sizes what the allocator keeps would count; at real ones it gives it back
            "MALLOC_MMAP_THRESHOLD_": "65536",
        },
    )
    peak, estimate = map(int, ran.stdout.split())
    assert 0.5 * estimate < peak < 1.2 * estimate, f"{peak / 1e6:.0f} of {estimate / 1e6:.0f} MB"


@pytest.mark.parametrize("gigabytes", [0.5, 16])
def test_the_longest_chain_fits_and_one_residue_more_does_not(gigabytes):
    model, free = Alphafold2(tiny_config("evoformer", predict_coords=True)), int(gigabytes * 1e9)
    longest = longest_chain(model, free, rows=8)
    assert model.memory_estimate(longest, 8) <= free < model.memory_estimate(longest + 1, 8)
    assert longest_chain(model, 1, rows=8) == 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_the_estimate_of_the_published_network_is_near_its_peak(monkeypatch):
    """At its own widths; the page of `benchmark_memory.py` has longer chains."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")  # as above
    found = benchmark_memory.measure(192, 508, 512, 4, 8)
    ratio = found["estimate"] / found["peak"]
    assert 0.9 < ratio < 1.15, found
