"""One run at one step: model, moving average, optimizer and data; how it steps and is saved."""

import math
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.data.collate import Batch, Example
from alphafold2_pytorch.data.parse.files import sha256
from alphafold2_pytorch.heads import refuse_not_finite, summed_loss, total_loss
from alphafold2_pytorch.layers.linear_attention import redraw_projections
from alphafold2_pytorch.train.checkpoint import Checkpoint, gather, restore, save_checkpoint
from alphafold2_pytorch.train.config import TrainConfig
from alphafold2_pytorch.train.distributed import World, whole_tensors
from alphafold2_pytorch.train.ema import MovingAverage
from alphafold2_pytorch.train.examples import make_sampler, open_chains
from alphafold2_pytorch.train.optim import (
    ClippedSum,
    LossScale,
    gradient_of,
    learning_rate,
    make_optimizer,
)
from alphafold2_pytorch.train.plot import METRICS, plot_losses
from alphafold2_pytorch.train.start import build_model
from alphafold2_pytorch.train.validate import Validator
from alphafold2_pytorch.trunk import compile_blocks
from alphafold2_pytorch.weights.io import save_weights


class Run:
    """What one process of a run has; all processes make the same calls."""

    def __init__(
        self,
        config: TrainConfig,
        data: str | Path,
        world: World | None = None,
        weights: str | Path | None = None,
        distilled: str | Path | None = None,
    ):
        self.config, self.world, self.step = config, world or World(), 0
        self.started = sha256(weights) if weights is not None else ""  # what it began with
        model = Alphafold2Config.from_dict(config.model)
        self.chains = open_chains(config, model, data, distilled)
        self.sampler = make_sampler(self.chains, config, model)
        self.device = self.world.device
        self.model = build_model(config, weights).to(self.device)
        self.validator = Validator(self.model, config, data) if config.validate_every else None
        if config.compile:
            compile_blocks(self.model.trunk, self.device, gradients=True)
        self.world.share(self.model)
        self.optimizer = make_optimizer(self.model, config)
        self.average = MovingAverage(self.model, config.ema_decay)
        self.scale = LossScale() if config.precision == "float16" else LossScale(1.0)

    def __str__(self) -> str:
        weights = sum(p.numel() for p in self.model.parameters())
        frozen = sum(p.numel() for p in self.model.parameters() if not p.requires_grad)
        told = [f"{weights:,} weights" + (f" ({frozen:,} frozen)" if frozen else "")]
        told += [f"{len(self.chains):,} chains", f"from step {self.step}"]
        if self.world.size > 1:
            told.append(f"{self.world.size} processes" + ", in shards" * self.world.sharded)
        return ", ".join(told)

    def take_step(self) -> dict[str, Any]:
        """One update of the weights; returns its line of metrics.

        Of all the step's chains this process loads every `world.size`-th, and learns from it.
        """
        started = time.monotonic()
        config, world = self.config, self.world
        first, chains = self.step * config.accumulate, config.batch * config.accumulate
        self.model.train()
        found: dict[int, dict[str, Any]] = {}
        error = ""
        with world.whole(self.model):
            gradient = ClippedSum(self.model.parameters(), config.clip, chains)
            try:
                for number in range(world.rank, chains, world.size):
                    draw, place = divmod(number, config.batch)
                    example = self.sampler.part(first + draw, place)
                    found[number] = self.learn(number, example, gradient)
            except FloatingPointError as broken:
                error = str(broken)
        told = world.gather((found, error, peak_memory(self.device)))
        for _, error, _ in told:
            if error:  # wherever it broke, all processes stop
                raise FloatingPointError(error)
        all_found = {number: each for one, _, _ in told for number, each in one.items()}
        parts = [all_found[number] for number in range(chains)]
        overflow = not all(math.isfinite(part["grad_norm"]) for part in parts)
        rate = learning_rate(self.step, config)
        if not overflow:
            world.add_up(gradient.sums)
            gradient.write(self.model.parameters())
            self.update(rate, chains)
        loss_scale = self.scale.value
        if config.precision == "float16":
            self.scale.update(overflow)
        self.step += 1
        seconds = time.monotonic() - started
        kept = [part["grad_norm"] for part in parts if math.isfinite(part["grad_norm"])]
        return {
            "step": self.step,
            **mean_of_each([part["losses"] for part in parts]),
            **({"grad_norm": mean(kept)} if kept else {}),
            **({"loss_scale": loss_scale} if config.precision == "float16" else {}),
            **({"skipped": True} if overflow else {}),
            "learning_rate": rate,
            "recycles": mean([self.sampler.recycles(first + k) for k in range(config.accumulate)]),
            "chains": [name for part in parts for name in part["ids"]],
            "seconds": round(seconds, 3),
            "samples_per_second": chains / seconds,
            "tokens_per_second": sum(part["residues"] for part in parts) / seconds,
            "peak_memory": max(memory for _, _, memory in told),
        }

    def learn(self, number: int, example: Example, gradient: ClippedSum) -> dict[str, Any]:
        """Add one chain's gradient; its losses and norm, infinite where float16 overflowed."""
        torch.manual_seed(seed_of_step(self.config.seed, self.step, number))  # dropout
        [batch], recycles = example.parts, example.recycles
        self.model.check(batch.cycles)  # where a look at values does not wait for the device
        residues, batch = batch.residues, batch.to(self.device)
        loss, parts = self.loss(batch, recycles)
        # Suppl. Sec. 1.9: long crops count more
        weight = residues**0.5 if self.config.length_weighted else 1.0
        (loss * weight * self.scale.value).backward()
        told = torch.stack([gradient.norm(), loss.detach(), *parts.values()])
        norm, total, *values = told.tolist()  # here, and nowhere else, a step waits for the device
        self.refuse(dict(zip(parts, values, strict=True)), batch)
        norm = gradient.add(norm, self.scale.value)
        if not math.isfinite(norm) and self.scale.value == 1:
            raise self.blame(batch, recycles, norm)
        losses = {"loss": total} | dict(zip((part for _, part in parts), values, strict=True))
        return {"losses": losses, "grad_norm": norm, "residues": residues, "ids": batch.ids}

    def update(self, rate: float, parts: int) -> None:
        """Let the optimizer use the gradient, and the average follow."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        torch.manual_seed(seed_of_step(self.config.seed, self.step, parts))  # in all processes
        redraw_projections(self.model)
        self.average.update(self.model, self.step)

    def loss(
        self, batch: Batch, recycles: int
    ) -> tuple[torch.Tensor, dict[tuple[str, str], torch.Tensor]]:
        """The loss on some chains and its parts, finite or not."""
        return summed_loss(self.model.heads, self.predict(batch, recycles), batch.targets)

    def refuse(self, values: dict[tuple[str, str], float], batch: Batch) -> None:
        """`FloatingPointError` where a part of the loss is not finite says where in the run."""
        try:
            refuse_not_finite(values)
        except FloatingPointError as error:
            raise FloatingPointError(f"{self.place(batch)}: {error}") from None

    def predict(self, batch: Batch, recycles: int):
        """In the run's precision; structure and losses stay float32 of their own accord."""
        kind = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
        dtype = kind[self.config.precision]
        with torch.autocast(self.device.type, dtype) if dtype else nullcontext():
            return self.model.predict_checked(batch.features, recycles)

    def place(self, batch: Batch) -> str:
        """Where in the run this is, for errors."""
        return f"at step {self.step + 1}, chain {', '.join(batch.ids)}"

    def blame(self, batch: Batch, recycles: int, norm: float) -> FloatingPointError:
        """Go through a chain again, head by head, to name the loss whose gradient broke."""
        for name, head in self.model.heads.items():
            only = torch.nn.ModuleDict({name: head})
            prediction = self.predict(batch, recycles)
            loss, parts = total_loss(only, prediction, batch.targets)
            if not loss.requires_grad:
                continue
            grads = gradient_of(self.model.parameters(), loss)
            if not all(g is None or bool(torch.isfinite(g).all()) for g in grads):
                told = f"the gradient of the loss of head {name!r} ({', '.join(parts)})"
                return FloatingPointError(f"{self.place(batch)}: {told} is not finite")
        return FloatingPointError(f"{self.place(batch)}: the norm of the gradient is {norm}")

    def validate(self) -> dict[str, Any] | None:
        """The averaged weights on chains never trained on, where that is due."""
        if self.validator is None or self.step % self.config.validate_every:
            return None
        return self.validator.measure(whole_tensors(self.average.state), self.step, self.world)

    def save(self, out: Path) -> None:
        """Checkpoint, weights to fold with, and the picture of the losses."""
        state = {
            "step": self.step,
            "config": self.config.to_dict(),
            "data": self.chains.signature(),
            "started": self.started,
            "loss_scale": [self.scale.value, self.scale.good_steps],
        }
        tensors = gather(self.model, self.average, self.optimizer)
        save_checkpoint(out, self.step, tensors, state, self.world)
        weights = whole_tensors(self.average.state)
        if self.world.leads:
            told = {"step": str(self.step), "started": self.started}
            model = Alphafold2Config.from_dict(self.config.model)
            save_weights(out / "weights.safetensors", weights, model, **told)
            plot_losses(out / METRICS, out / "losses.png")

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint; `ValueError` if it was trained on other chains."""
        if checkpoint.state["data"] != self.chains.signature():
            raise ValueError(
                "the run to resume was trained on other chains than this --data folder lists"
            )
        restore(checkpoint, gather(self.model, self.average, self.optimizer))
        self.step, self.started = checkpoint.state["step"], checkpoint.state["started"]
        self.scale = LossScale(*checkpoint.state.get("loss_scale", (1.0, 0)))


def mean(values: Sequence[int | float]) -> float:
    """As float64."""
    return float(np.mean(values))


def mean_of_each(losses: list[dict[str, float]]) -> dict[str, float]:
    """By name, over the chains that have it."""
    names = dict.fromkeys(name for each in losses for name in each)
    return {name: mean([each[name] for each in losses if name in each]) for name in names}


def peak_memory(device: torch.device) -> int:
    """The most bytes that the device's allocator, or this process, ever had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def seed_of_step(seed: int, step: int, part: int = 0) -> int:
    """Far from the seeds of other steps and parts, and of the sampler at this step."""
    words = np.random.SeedSequence([seed, step, 1, part]).generate_state(1, np.uint64)
    return int(words[0] >> 1)
