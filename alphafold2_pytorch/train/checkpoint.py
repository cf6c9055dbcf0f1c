"""Checkpoints: complete or absent, whatever happens while they are written."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alphafold2_pytorch.train.ema import MovingAverage

KEPT = 2
FOLDER = "checkpoints"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors named `model.*`, `average.*` and `<moment>.*`, and what is no tensor, as JSON.

    Random numbers need no saving: they are drawn from the seed and the step.
    """

    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part under their own names."""
        start = name + "."
        return {k[len(start) :]: v for k, v in self.tensors.items() if k.startswith(start)}


def gather(
    model: nn.Module, average: MovingAverage, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Every tensor that the next step depends on."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state.items()}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}.{name}"] = value
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def restore(
    checkpoint: Checkpoint,
    model: nn.Module,
    average: MovingAverage,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Put a checkpoint's tensors back; `ValueError` if they are of another model."""
    try:
        model.load_state_dict(checkpoint.part("model"))
        average.load(checkpoint.part("average"))
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the checkpoint is of another model: {error}") from None
    moments = {moment: checkpoint.part(moment) for moment in MOMENTS}
    for name, parameter in model.named_parameters():
        if name in moments["step"]:
            saved = {m: values[name].to(parameter.device) for m, values in moments.items()}
            optimizer.state[parameter] = saved | {"step": moments["step"][name]}


def save_checkpoint(out: Path, step: int, checkpoint: Checkpoint) -> Path:
    """Write `checkpoints/step_<step>` under a name that nobody reads, then rename it.

    The rename comes after everything is on the disk, so a killed run or a full disk leaves the
    older checkpoints as they were. The last two are kept.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step_{step:08d}"
    partial = folder / f".{final.name}.partial"
    for leftover in folder.glob(".*.partial"):
        shutil.rmtree(leftover)
    partial.mkdir()
    try:
        save_file(dict(checkpoint.tensors), partial / "tensors.safetensors")
        (partial / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")
        for path in (*partial.iterdir(), partial):
            sync(path)
        partial.rename(final)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, SafetensorError):  # how safetensors reports a full disk
            raise OSError(f"cannot write a checkpoint to {folder}: {error}") from None
        raise
    sync(folder)
    for old in list_checkpoints(out)[:-KEPT]:
        shutil.rmtree(old)
    return final


def list_checkpoints(out: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted((out / FOLDER).glob("step_*"))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read one; `ValueError` if its files are damaged."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return Checkpoint(load_file(folder / "tensors.safetensors"), state)
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"checkpoint {folder} is damaged ({error}); remove it to go on from the one before"
        ) from None


def write_atomically(path: Path, content: bytes | str) -> None:
    """The whole content, or the file as it was."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
