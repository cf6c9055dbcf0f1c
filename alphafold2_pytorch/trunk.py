"""How the trunk's updates are run: plainly, recomputed in the backward pass, or undone in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from alphafold2_pytorch.blocks import BLOCKS, Block
from alphafold2_pytorch.blocks.evoformer import Evoformer
from alphafold2_pytorch.config import Alphafold2Config
from alphafold2_pytorch.layers.stack import Stack
from alphafold2_pytorch.streams import Streams
from alphafold2_pytorch.typing import Tensor

STREAMS = ("pair", "msa")
MOST_PROGRAMS = 4096


class Trunk(nn.Module):
    """The stack over the extra MSA, if there is one, then the blocks of `config.block_types`.

    What the first does to the pairs stays, its MSA is left behind: Jumper et al. (2021) Suppl.
    Alg. 2 lines 14-17. With `config.reversible` each stream of the second is two halves that start
    equal: an update is read from one and added to the other, which is read next, and the result is
    their mean (Gomez et al. 2017). The backward pass undoes the updates instead of keeping what
    they computed. `ValueError` for a block that is not a list of updates.
    """

    graphs = False  # whether blocks are CUDA graphs; written by `compile_blocks`

    def __init__(self, config: Alphafold2Config):
        super().__init__()
        self.extra = Stack(Evoformer.extra(config) for _ in range(config.extra_msa_depth))
        self.blocks = Stack(
            BLOCKS[name].from_config(config, name, layer)
            for layer, name in enumerate(config.block_types)
        )
        self.reversible = config.reversible
        self.buckets = False  # True: blocks see few sizes, see `compile_blocks`
        if self.reversible:
            for name, block in zip(config.block_types, self.blocks, strict=True):
                if type(block).forward is not Block.forward:
                    raise ValueError(
                        f"block {name!r} has a forward of its own, so its updates cannot be "
                        "undone: leave out reversible=True, or make it a list of updates"
                    )

    def read_extra(self, x: Streams) -> Streams:
        """What `forward` begins with; called before, the extra MSA can be let go of."""
        if x.extra is None or x.extra_mask is None:
            return x
        given = replace(x, msa=x.extra, msa_mask=x.extra_mask, extra=None, extra_mask=None)
        extra = self.through(self.extra, given)
        return replace(x, pair=extra.pair, extra=None, extra_mask=None)

    def forward(self, x: Streams) -> Streams:
        x = self.read_extra(x)
        if self.reversible:
            steps = [step for block in self.blocks for step in block.children()]
            return run_reversibly(steps, x)
        return self.through(self.blocks, x)

    def through(self, blocks: Stack, x: Streams) -> Streams:
        """All blocks; with `buckets` among masked zeros, which are cut off again."""
        if not self.buckets or not len(blocks):
            return self.run(blocks, x)
        sizes = x.pair.shape[1], *x.msa.shape[1:3]
        rest = replace(x, extra=None, extra_mask=None)
        return self.run(blocks, rest.padded(*map(bucket, sizes))).cropped(*sizes)

    def run(self, blocks: Stack, x: Streams) -> Streams:
        """All blocks, also where they are CUDA graphs."""
        if not self.graphs or torch.is_grad_enabled():
            return blocks(x)
        # Blocks write nothing in place, which would keep them out of graphs. What they return lies
        # in the graphs' own memory until the next step begins.
        torch.compiler.cudagraph_mark_step_begin()
        x = blocks(replace(x, owned=False))
        return replace(x, pair=x.pair.clone(), msa=x.msa.clone(), owned=True)


def bucket(size: int) -> int:
    """What so many residues or rows are padded to where each size would be a program of its own.

    Up to 256 in steps of 32, then in eighths of the power of two below: few sizes, about 30 for
    chains of up to 2,500 residues, and from 256 residues on at most an eighth is padding. One stays
    one: rows of a single sequence would become thirty times as many.
    """
    step = max(32, 2 ** (max(size - 1, 1).bit_length() - 1) // 8)
    return size if size < 2 else -(-size // step) * step


def run_reversibly(steps: list[nn.Module], x: Streams) -> Streams:
    """All steps on two halves of each stream; the halves' mean."""
    parameters = {p: None for step in steps for p in step.parameters() if p.requires_grad}
    pair, pair_hidden, msa, msa_hidden = Reversible.apply(
        steps, replace(x, owned=False), x.pair, x.msa, *parameters
    )
    return replace(x, pair=(pair + pair_hidden) / 2, msa=(msa + msa_hidden) / 2, owned=True)


class Halves:
    """Of each stream the half that steps read, and the hidden one that the next update changes."""

    def __init__(self, frame: Streams, read: dict[str, Tensor], hidden: dict[str, Tensor]):
        self.frame, self.read, self.hidden = frame, read, hidden

    def write(self, stream: str, update: Tensor) -> None:
        """Add to the hidden half, in place, and swap the two."""
        self.hidden[stream] += update
        self.swap(stream)

    def swap(self, stream: str) -> None:
        self.read[stream], self.hidden[stream] = self.hidden[stream], self.read[stream]

    def streams(self) -> Streams:
        """What a step reads."""
        return replace(self.frame, pair=self.read["pair"], msa=self.read["msa"])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(half[name] for name in STREAMS for half in (self.read, self.hidden))


class Reversible(torch.autograd.Function):
    """Keeps the last halves only; its backward pass undoes one step after the other."""

    @staticmethod
    def forward(ctx: Any, steps: Any, frame: Any, pair: Any, msa: Any, *parameters: Any) -> Any:
        streams = {"pair": pair, "msa": msa}
        halves = Halves(
            frame,
            {name: value.clone() for name, value in streams.items()},
            {name: value.clone() for name, value in streams.items()},
        )
        ctx.steps, ctx.frame, ctx.context = steps, frame, Context(pair.device)
        ctx.random = []
        with ctx.context.autocast():
            for step in steps:
                ctx.random.append(ctx.context.random_state() if step.training else None)
                halves.write(step.writes, step(halves.streams()))
        ctx.save_for_backward(*halves.tensors, *parameters)
        return halves.tensors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        pair, pair_hidden, msa, msa_hidden, *parameters = ctx.saved_tensors
        halves = Halves(
            ctx.frame,
            {"pair": pair.clone(), "msa": msa.clone()},
            {"pair": pair_hidden.clone(), "msa": msa_hidden.clone()},
        )
        slopes = Halves(
            ctx.frame,
            {"pair": gradients[0].clone(), "msa": gradients[2].clone()},
            {"pair": gradients[1].clone(), "msa": gradients[3].clone()},
        )
        of_parameter: dict[Tensor, Tensor | None] = dict.fromkeys(parameters)
        for step, state in zip(reversed(ctx.steps), reversed(ctx.random), strict=True):
            stream = step.writes
            halves.swap(stream)  # the half that was read; the other still holds the update
            slopes.swap(stream)
            leaves = {k: v.detach().requires_grad_() for k, v in halves.read.items()}
            with torch.enable_grad(), ctx.context.autocast(), ctx.context.random(state):
                update = step(Halves(ctx.frame, leaves, {}).streams())
            halves.hidden[stream] -= update.detach()
            wanted = [*leaves.values(), *(p for p in step.parameters() if p.requires_grad)]
            slope = slopes.hidden[stream].to(update.dtype)
            found = torch.autograd.grad(update, wanted, slope, allow_unused=True)
            for name, more in zip(leaves, found[: len(leaves)], strict=True):
                if more is not None:
                    slopes.read[name] += more
            for parameter, more in zip(wanted[len(leaves) :], found[len(leaves) :], strict=True):
                if more is not None:
                    before = of_parameter[parameter]
                    of_parameter[parameter] = more if before is None else before + more
        into = (slopes.read[name] + slopes.hidden[name] for name in STREAMS)
        return None, None, *into, *of_parameter.values()


class Context:
    """What a step must see again when it is computed a second time: autocast, random numbers."""

    def __init__(self, device: torch.device):
        self.device = device
        self.enabled = torch.is_autocast_enabled(device.type)
        self.dtype = torch.get_autocast_dtype(device.type) if self.enabled else None

    def autocast(self) -> torch.autocast:
        """As in the forward pass; without its cache, which would keep weights without gradients."""
        kind = self.device.type
        return torch.autocast(kind, self.dtype, enabled=self.enabled, cache_enabled=False)

    def random_state(self) -> list[Tensor]:
        """Of the generators that dropout draws from."""
        gpu = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *gpu]

    @contextmanager
    def random(self, states: list[Tensor] | None) -> Iterator[None]:
        """For a while, random numbers are those that followed `states`; None: as they come."""
        if states is None:
            yield
            return
        with torch.random.fork_rng([self.device] if len(states) > 1 else []):
            torch.set_rng_state(states[0])
            if len(states) > 1:
                torch.cuda.set_rng_state(states[1], self.device)
            yield


def compile_options(device: torch.device, lengths: bool, gradients: bool) -> dict[str, Any]:
    """What `torch.compile` is told: CUDA graphs for predictions on a GPU.

    A graph is a list of kernels that is recorded for one shape and started at once, which pays
    where short chains make short kernels. Training keeps to single kernels, as activations that
    wait for their backward pass would have to stay in the graphs' memory.
    """
    graphs = device.type == "cuda" and not gradients
    options = {"dynamic": False if lengths else None}
    return {**options, "mode": "reduce-overhead" if graphs else None}


def compile_blocks(
    trunk: Trunk, device: torch.device, lengths: bool = False, gradients: bool = False
) -> None:
    """Have `torch.compile` make one program of each block.

    `lengths`: for chains of many lengths. They are padded to those of `bucket`; each of these has
    a program of fixed shapes, which all its chains share. `gradients`: to train; without them
    blocks on a GPU become CUDA graphs, see `compile_options`. `ValueError` for a reversible trunk,
    whose blocks are taken apart, and where the compiler does not work; that is tried here, before
    a run begins.
    """
    if trunk.reversible:
        raise ValueError("compile: a reversible trunk runs updates, not blocks; leave out one")
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(2, device=device))
    except Exception as error:
        first = str(error).strip().splitlines()[:1]
        raise ValueError(f"compile: torch.compile does not work here: {first}") from None
    trunk.buckets = lengths
    if lengths:  # of one kind of block: else the ninth bucket would run without a program
        dynamo = torch._dynamo.config
        dynamo.recompile_limit = max(dynamo.recompile_limit, MOST_PROGRAMS)
        dynamo.accumulated_recompile_limit = max(dynamo.accumulated_recompile_limit, MOST_PROGRAMS)
    options = compile_options(device, lengths, gradients)
    for block in (*trunk.extra, *trunk.blocks):
        block.compile(**options)
    trunk.graphs = options["mode"] is not None


def programs() -> int:
    """How many `torch.compile` has made in this process."""
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]
