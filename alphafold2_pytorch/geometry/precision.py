"""The one place that mentions precision: coordinates and losses leave autocast at this door."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import is_dataclass, replace
from functools import wraps
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def widen(value: Any) -> Any:
    """Floating tensors as float32 or wider, also inside a dataclass such as `Rigid`."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float32))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: widen(each) for name, each in vars(value).items()})
    return value


def _device_type(values: tuple) -> str | None:
    for value in values:
        if isinstance(value, torch.Tensor):
            return value.device.type
        if is_dataclass(value) and (found := _device_type(tuple(vars(value).values()))):
            return found
    return None


def float32(function: Function) -> Function:
    """Run a function or method outside autocast, its tensor arguments float32 or wider.

    float64 stays float64, so geometry can be tested in it; whole numbers and masks are not touched.
    """

    @wraps(function)
    def wrapped(*args, **kwargs):
        device = _device_type((*args, *kwargs.values()))
        outside = torch.autocast(device, enabled=False) if device else nullcontext()
        with outside:
            named = {name: widen(value) for name, value in kwargs.items()}
            return function(*(widen(value) for value in args), **named)

    return wrapped  # type: ignore[return-value]
