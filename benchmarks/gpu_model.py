"""Sections of `benchmark_gpu.py` on the network: a block, a training step, a fold."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from benchmark_memory import features
from benchmark_training import training_step
from gpu_kernels import BOTH, call, passes
from gpu_tools import Bench, Figure, Growing, Limits, block_work
from machine import ROOT

from alphafold2_pytorch import Alphafold2, Runtime
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.data.collate import Batch
from alphafold2_pytorch.features import Targets
from alphafold2_pytorch.ops import set_runtime
from alphafold2_pytorch.ops.backends import BACKENDS
from alphafold2_pytorch.ops.triangles import TRIANGLES
from alphafold2_pytorch.presets import Sizes, alphafold2
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.train.config import TrainConfig
from alphafold2_pytorch.train.distributed import World
from alphafold2_pytorch.train.run import Run

LENGTHS, ROWS = (256, 384, 512, 1024, 2048), (128, 512)
DRY_LENGTHS, DRY_ROWS = (16,), (4,)
FOLDS = (256, 512, 1024, 2048)
TEMPLATES, RECYCLES = 4, 3
CLUSTERS, EXTRA = 128, 1024  # of a training step; the alignment's first rows are the templates
FOLD_CLUSTERS, FOLD_EXTRA, CROP = 512, 1024, 256


def network(dry: bool, extra: int) -> Alphafold2Config:
    """AlphaFold2's, with templates; `dry`: one block of each kind."""
    return alphafold2(True, extra, False, Sizes(blocks=1, extra_blocks=1, template_blocks=1)
                      if dry else Sizes())  # fmt: skip


def half(bench: Bench) -> AbstractContextManager:
    """Autocast to bfloat16; the CPU of a dry run stays in float32."""
    return torch.autocast("cuda", torch.bfloat16) if bench.kind == "cuda" else nullcontext()


def ways() -> Iterator[tuple[str, Runtime]]:
    """What a block is run by: the choice of its own, then each backend, of both operations if it
    has both; "reference" is plain PyTorch."""
    yield "auto", Runtime()
    for name in sorted({*BACKENDS.entries, *TRIANGLES.entries}):
        attention = name if name in BACKENDS.entries else "auto"
        triangle = name if name in TRIANGLES.entries else "auto"
        yield name, Runtime(attention=attention, triangle=triangle)


def block(bench: Bench, limit: Limits) -> Iterator[Figure]:
    """One Evoformer block of official widths under autocast to bfloat16."""
    torch.manual_seed(0)
    config = network(True, 8)
    model = Alphafold2(config).trunk.blocks[0].to(bench.device).eval()
    growing = Growing(bench, "block")
    for n in DRY_LENGTHS if bench.dry else LENGTHS:
        for rows in DRY_ROWS if bench.dry else ROWS:
            for name, runtime in ways():
                for train in (False, True):
                    work = block_work(n, rows).times(*(BOTH if train else (1, 1)))

                    def make(
                        runtime: Runtime = runtime,
                        n: int = n,
                        rows: int = rows,
                        train: bool = train,
                    ) -> Callable[[], Any]:
                        set_runtime(model, runtime)
                        x = streams(bench, n, rows, train)

                        def run() -> torch.Tensor:
                            with half(bench):
                                out = model(x)
                            return out.pair.float().mean() + out.msa.float().mean()

                        return call(train, run, [x.pair, x.msa, *model.parameters()])

                    what = f"{n} x {rows}, {name}, {passes(train)}"
                    least = limit.seconds(work.operations, work.moved)
                    yield growing.measure(f"{name} {train} {rows}", what, n, make, least)


def streams(bench: Bench, n: int, rows: int, train: bool) -> Streams:
    """Random ones, all unmasked."""
    pair = torch.randn(1, n, n, 128, device=bench.device)
    msa = torch.randn(1, rows, n, 256, device=bench.device)
    pair_mask, msa_mask = (torch.ones_like(x[..., 0], dtype=torch.bool) for x in (pair, msa))
    return Streams(pair.requires_grad_(train), msa.requires_grad_(train), pair_mask, msa_mask)


def step(bench: Bench, limit: Limits) -> Iterator[Figure]:
    """A training step at the size of AlphaFold2's initial training, one chain a step.

    Recycling adds forward passes: their number is uniform in 0 ... 3, so the rate of a training
    is that of the mean time of both ends.
    """
    crop, clusters, extra = (16, 8, 8) if bench.dry else (CROP, CLUSTERS, EXTRA)
    config = TrainConfig.from_dict(settings(bench, extra))
    run = Run(config, ROOT / "tests" / "sample", World(device=torch.device(bench.device)))
    seq, index = torch.randint(0, 20, (1, crop)), torch.arange(crop)[None]
    atoms = 2 * torch.randn(1, crop, 1, 3).cumsum(1) + torch.randn(1, crop, 14, 3)
    known = torch.ones(1, crop, 14, dtype=torch.bool)
    read = features(crop, clusters - TEMPLATES, extra, TEMPLATES)
    hidden = torch.rand(read.msa.shape) < 0.15
    masked = {"true_msa": torch.randint(0, 21, read.msa.shape), "bert_mask": hidden}
    batch = Batch(("random",), read, Targets(seq, index, atoms, known, **masked))
    taken = []
    for recycles in (0, RECYCLES):
        what = f"crop {crop}, {clusters} clusters, {extra} extra, {recycles} recycles"
        figure = bench.measure("step", what, partial(training_step, run, batch, recycles))
        yield figure
        if figure.value is not None:
            taken.append(figure.value / 1e3)
            yield Figure("step", what, 1 / taken[-1], "samples/s")
    if len(taken) == 2:
        told = "as a training draws recycles: 0 to 3 alike"
        yield Figure("step", told, 2 / sum(taken), "samples/s")


def settings(bench: Bench, extra: int) -> dict[str, Any]:
    """Of the run whose step is timed."""
    return {
        "model": json.loads(network(bench.dry, extra).to_json()),
        "stage": "initial",
        "batch": 1,
        "precision": "bfloat16" if bench.kind == "cuda" else "float32",
        "checkpoint_blocks": True,
    }


def fold(bench: Bench, limit: Limits) -> Iterator[Figure]:
    """`predict` with 3 recycles: 48 blocks, 512 clusters (4 of them templates), 1,024 extra rows.

    From features to structure; neither search nor relaxation.
    """
    clusters, extra = (8, 8) if bench.dry else (FOLD_CLUSTERS, FOLD_EXTRA)
    torch.manual_seed(0)
    model = Alphafold2(network(bench.dry, extra)).to(bench.device).eval()
    for n in DRY_LENGTHS if bench.dry else FOLDS:
        batch = features(n, clusters - TEMPLATES, extra, TEMPLATES).to(bench.device)

        def run(batch: Any = batch) -> None:
            with torch.no_grad(), half(bench):
                model.predict(batch, recycles=RECYCLES)

        yield once(bench, f"{n} residues", run)


def once(bench: Bench, what: str, run: Callable[[], Any]) -> Figure:
    """One call, after one to warm up where there is time for two."""
    try:
        seconds = bench.once(run)
        if seconds < bench.left() / 8:
            if bench.kind == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = bench.once(run)
    except torch.OutOfMemoryError:
        return Figure("fold", what, None, "s", note="no room on the device")
    finally:
        bench.clear()
    peak = torch.cuda.max_memory_allocated() if bench.kind == "cuda" else None
    return Figure("fold", what, seconds, "s", peak=peak)
