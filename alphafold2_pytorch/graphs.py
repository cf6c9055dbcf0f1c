"""What functions say to `torch.compile`, without importing it."""

from collections.abc import Callable
from typing import TypeVar

Function = TypeVar("Function", bound=Callable)


def constant_in_graphs(function: Function) -> Function:
    """What `torch.compiler.assume_constant_result` does, which imports the compiler: a second."""
    vars(function)["_dynamo_marked_constant"] = True
    return function
