"""`alphafold2 train`: train a model on chains in shards."""

from pathlib import Path
from typing import Annotated

import typer


def run(
    data: Annotated[Path, typer.Option(help="Folder with index.tsv, chains/ and msas/.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, metrics and checkpoints.")],
    config: Annotated[
        Path | None, typer.Option(help="JSON file of training settings; the rest is default.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Stop after this time.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop at this step.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Start a new run from these weights of the same model.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train a model: losses to metrics.jsonl and losses.png, weights to weights.safetensors.

    Ctrl-C saves before it stops. A run that was killed goes on with --resume, with exactly the
    losses it would have had.
    """
    from alphafold2_pytorch.cli.device import choose_device
    from alphafold2_pytorch.train.config import TrainConfig
    from alphafold2_pytorch.train.loop import train

    device = choose_device(device)
    settings = TrainConfig.from_file(config) if config is not None else None
    train(
        settings,
        data,
        out,
        steps=steps,
        minutes=minutes,
        resume=resume,
        weights=weights,
        device=device,
    )
