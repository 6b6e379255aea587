"""System calls that fail as they do on network drives, FUSE and full disks."""

import os
from collections.abc import Callable
from typing import Any

import pytest


def fails(call: str, number: int, monkeypatch, when: Callable[..., bool] = lambda *a: True) -> None:
    """Let a function of `os` raise an OSError for the arguments that `when` accepts."""
    true = getattr(os, call)

    def failing(*args: Any, **more: Any) -> Any:
        if when(*args):
            raise OSError(number, os.strerror(number))
        return true(*args, **more)

    monkeypatch.setattr(os, call, failing)


def lockf_fails(number: int, monkeypatch, to: Callable[[int], bool]) -> None:
    """Let lockf raise an OSError for the descriptors that `to` accepts."""
    fcntl = pytest.importorskip("fcntl")
    true = fcntl.lockf

    def lockf(descriptor: int, *how: Any) -> None:
        if to(descriptor):
            raise OSError(number, os.strerror(number))
        true(descriptor, *how)

    monkeypatch.setattr(fcntl, "lockf", lockf)
