"""--precision bf16: networks compute in bf16, weights and what networks return stay float32."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Return the context in which networks compute in that precision.

    Nothing is cached, since weights change within a training step.
    """
    if precision != "bf16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def within(context: Callable[[], AbstractContextManager], method: Callable) -> Callable:
    """Return a method that runs within a context."""

    @wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        with context():
            return method(*args, **kwargs)

    return run
