"""What the sides that are PyTorch modules share."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from peers import Arrays, Work


def tensors(arrays: Arrays) -> tuple[Any, Any]:
    """MSA (1 s n c) and pairs (1 n n d)."""
    import torch

    return tuple(torch.from_numpy(arrays[f"in/{name}"])[None] for name in ("msa", "pair"))  # type: ignore[return-value]


def torch_work(
    module: Any,
    call: Callable[[Any, Any, Any], tuple[Any, Any]],
    streams: tuple[Any, Any],
    counts_on: str = "meta",
) -> Work:
    """`call(module, msa, pair)` without gradients, on copies of the streams.

    Operations are counted on a device: on "meta" shapes are all that is computed.
    """
    import torch

    module.eval()

    def run(given: tuple[Any, Any]) -> tuple[Any, Any]:
        with torch.no_grad():
            return call(module, *given)

    def count() -> int:
        from torch.utils.flop_counter import FlopCounterMode

        module.to(counts_on)
        with FlopCounterMode(display=False) as counter:
            run((streams[0].to(counts_on), streams[1].to(counts_on)))
        return counter.get_total_flops()

    return Work(
        copy=lambda: (streams[0].clone(), streams[1].clone()),
        run=run,
        results=lambda out: tuple(each.detach()[0].float().numpy() for each in out),
        counted=count,
        version=f"torch {version('torch')}",
    )
