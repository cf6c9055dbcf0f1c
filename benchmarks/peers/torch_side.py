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
    module: Any, call: Callable[[Any, Any, Any], tuple[Any, Any]], streams: tuple[Any, Any]
) -> Work:
    """`call(module, msa, pair)` without gradients, on copies of the streams."""
    import torch

    module.eval()

    def run(given: tuple[Any, Any]) -> tuple[Any, Any]:
        with torch.no_grad():
            return call(module, *given)

    def count() -> int:
        """On the meta device, where shapes are all that is computed."""
        from torch.utils.flop_counter import FlopCounterMode

        module.to("meta")
        with FlopCounterMode(display=False) as counter:
            run((streams[0].to("meta"), streams[1].to("meta")))
        return counter.get_total_flops()

    return Work(
        copy=lambda: (streams[0].clone(), streams[1].clone()),
        run=run,
        results=lambda out: tuple(each.detach()[0].float().numpy() for each in out),  # type: ignore[return-value]
        count=count,
        version=f"torch {version('torch')}",
    )
