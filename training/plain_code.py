"""What Python does to a model around its graphed methods, which a CUDA graph would not repeat."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from models.base_model import BaseModel

RESULTS = ("losses", "visuals", "image_paths")  # which no method reads


class PlainCode:
    """Watches the code between the graphed methods of a step.

    `acts` says whether it has computed something with tensors, changed an attribute, or drawn a
    random number.
    """

    def __init__(self, model: BaseModel):
        self.model, self.acts = model, False
        self.before: dict[str, Any] | None = None  # the state when the code began; None: not now

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the code within it, but not that within `not_watched`."""
        self.before, operations = state_of(self.model), Operations()
        try:
            with operations:
                yield
            self.acts |= operations.any or state_of(self.model) != self.before
        finally:
            self.before = None

    @contextlib.contextmanager
    def not_watched(self) -> Iterator[None]:
        """A graphed method runs within it."""
        if self.before is None:
            yield
            return
        with _disable_current_modes():
            self.acts |= state_of(self.model) != self.before
            yield
            self.before = state_of(self.model)


class Operations(TorchDispatchMode):
    """Notes whether any operation on tensors runs within it that makes more than a view."""

    any = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.any |= not func.is_view
        return func(*args, **(kwargs or {}))


def tensors_of(model: BaseModel) -> dict[str, Tensor]:
    """Return the attributes that are tensors."""
    return {name: value for name, value in vars(model).items() if isinstance(value, Tensor)}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that are new, or other ones than before."""
    return {name: value for name, value in after.items() if before.get(name) is not value}


def fingerprint(value: Any) -> Any:
    """Return a value that differs if an attribute has changed: numbers, flags and texts themselves;
    tensors, alone or in a list or dict, by identity.
    """
    if isinstance(value, Tensor):
        return id(value)
    if isinstance(value, dict | list | tuple):
        values = value.values() if isinstance(value, dict) else value
        return tuple(id(item) for item in values if isinstance(item, Tensor))
    return value if isinstance(value, bool | int | float | str) else None


def state_of(model: BaseModel) -> dict[str, Any]:
    """Return what differs once an attribute has changed or a random number was drawn on the CPU.

    A tensor counts by its memory: `x.detach()` is x.
    """
    keys, *position = np.random.get_state()[1:]
    rng_state = random.getstate(), keys.tobytes(), position, torch.get_rng_state().numpy().tobytes()
    state: dict[str, Any] = {"random numbers": rng_state}
    for name, value in vars(model).items():
        if isinstance(value, Tensor):
            state[name] = value.data_ptr(), value.shape, value.stride()
        elif name not in RESULTS:
            state[name] = fingerprint(value)
    return state
