"""Pieces of rows, each computed again in the backward pass: graphs of few are in memory.

PyTorch's `checkpoint`, called for each piece, would do that too; but then autograd cuts the input,
joins the results and does both to their gradients, by copies of the whole, and a matrix product at
the end of a piece is repeated though nothing reads it.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn
from torch.amp import custom_bwd, custom_fwd
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from alphafold2_pytorch.ops.pieces import room
from alphafold2_pytorch.typing import Tensor


class Plan(NamedTuple):
    """`last(run(...))` on `size` rows at a time of the first `cut` of some tensors, and the others.

    `last` may have a method `unread`, that gives something with the gradients of its result and
    without its values. `join`: the axis of the result where pieces meet.
    """

    run: Callable[..., Tensor]
    last: nn.Module | None
    parameters: tuple[Tensor, ...]  # of all modules that both read
    size: int
    join: int
    cut: int
    bytes: int  # of a piece's graph, about
    most: int  # bytes of graphs that may be kept, of all pieces of this process

    def starts(self, x: Tensor) -> range:
        return range(0, x.shape[1], self.size)

    def given(self, tensors: tuple[Tensor | None, ...], start: int) -> list[Any]:
        """What `run` gets for a piece, without history: that keeps fused attention away."""
        found = [each if each is None else each.detach() for each in tensors]
        rows = slice(start, start + self.size)
        pieces = [each if each is None else each[:, rows] for each in found[: self.cut]]
        return pieces + found[self.cut :]


def again(plan: Plan, *tensors: Tensor | None) -> Tensor:
    """The result for all rows of `tensors`.

    `RuntimeError` in the backward pass if `run` reads a parameter, or something with a gradient,
    that is neither among `tensors` nor in the plan.
    """
    return Again.apply(plan, *tensors, *plan.parameters)


class Graph:
    """What `run` made of a piece, with history; `kept`: from the forward pass on."""

    held: ClassVar[int] = 0  # bytes, by all graphs that are kept

    def __init__(self, plan: Plan, given: list[Any], wanted: list[int], kept: bool = False):
        self.given, self.bytes = given, plan.bytes if kept else 0
        Graph.held += self.bytes
        for i in wanted:
            if i < len(given):
                given[i].requires_grad_()
        # a `checkpoint` around all of this must not find a graph at one of its two calls only
        with torch.enable_grad(), saved_tensors_hooks(as_it_is, as_it_is):
            self.end = plan.run(*given)
        self.state = torch.get_rng_state()  # before the last layer

    def __del__(self):
        Graph.held -= self.bytes

    @classmethod
    def room(cls, plan: Plan) -> bool:
        """Whether one more may be kept."""
        return cls.held + plan.bytes <= plan.most


def as_it_is(x: Tensor) -> Tensor:
    """Saved, or found again."""
    return x


class Again(torch.autograd.Function):
    """Keeps its inputs, the state of the random numbers before each piece, and some graphs."""

    @staticmethod
    @custom_fwd(device_type="cpu")
    def forward(ctx: Any, plan: Any, x: Any, *others: Any) -> Any:
        tensors = (x, *others[: len(others) - len(plan.parameters)])
        ctx.save_for_backward(*tensors)
        ctx.plan, ctx.states, ctx.graphs, out = plan, [], [], None
        wanted = [i for i, each in enumerate(ctx.needs_input_grad[1:]) if each]
        for start in plan.starts(x):
            ctx.states.append(torch.get_rng_state())
            given, graph = plan.given(tensors, start), None
            if Graph.room(plan):
                graph = Graph(plan, given, wanted, kept=True)
            ctx.graphs.append(graph)
            piece = plan.run(*given) if graph is None else graph.end.detach()
            piece = piece if plan.last is None else plan.last(piece)
            if out is None:
                shape = [*piece.shape]
                shape[plan.join] = x.shape[1]
                out = room(shape, piece)
            out.narrow(plan.join, start, piece.shape[plan.join]).copy_(piece)
        return out

    @staticmethod
    @custom_bwd(device_type="cpu")
    @once_differentiable
    def backward(ctx: Any, slope: Any) -> Any:
        plan, tensors = ctx.plan, ctx.saved_tensors
        wanted = [i for i, each in enumerate(ctx.needs_input_grad[1:]) if each]
        found: list[Tensor | None] = [None] * (len(tensors) + len(plan.parameters))
        for i in wanted:
            if i < plan.cut:
                found[i] = torch.empty_like(tensors[i])
        with torch.random.fork_rng(devices=()):
            for number, start in enumerate(plan.starts(tensors[0])):
                graph, ctx.graphs[number] = ctx.graphs[number], None
                torch.set_rng_state(ctx.states[number] if graph is None else graph.state)
                if graph is None:
                    graph = Graph(plan, plan.given(tensors, start), wanted)
                slopes = gradients(plan, graph, wanted, slope, start)
                del graph  # before there is the next
                rows = slice(start, start + plan.size)
                for i, each in zip(wanted, slopes, strict=True):
                    total = found[i]
                    if i < plan.cut:
                        total[:, rows] = 0.0 if each is None else each  # type: ignore[index]
                    elif each is not None:
                        # a copy, because autograd may give one tensor for two inputs
                        found[i] = each.clone() if total is None else total.add_(each)
        return None, *found


def gradients(
    plan: Plan, graph: Graph, wanted: list[int], slope: Tensor, start: int
) -> tuple[Tensor | None, ...]:
    """Of a piece, for what of its inputs and the parameters is wanted."""
    leaves, piece = [*graph.given, *plan.parameters], graph.end
    if plan.last is not None:
        with torch.enable_grad():
            piece = getattr(plan.last, "unread", plan.last)(piece)
    if start == 0:
        require_known(piece, leaves)
    rows = slope.narrow(plan.join, start, piece.shape[plan.join])
    return torch.autograd.grad(piece, [leaves[i] for i in wanted], rows, allow_unused=True)


def require_known(piece: Tensor, leaves: list[Tensor | None]) -> None:
    """`RuntimeError` if the graph of `piece` ends at others: their gradients would be lost."""
    known, seen, waiting = {id(each) for each in leaves}, set(), [piece.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [each for each, _ in node.next_functions]
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            raise RuntimeError(
                f"a piece reads a parameter of shape {tuple(leaf.shape)}, or something made of it, "
                "that `Rows` was not told of: its gradient would be lost; name its module in "
                "`reads`, or give what was made of it in `whole`"
            )
