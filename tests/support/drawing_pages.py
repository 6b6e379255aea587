"""Fixtures of the tests of the drawing page, which name this file in `pytest_plugins`."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.drawing import Page, a_browser, a_page, served


@pytest.fixture(scope="module")
def page(run: Path) -> Iterator[SimpleNamespace]:
    """The address of a server for the `run` of a test's file, and the run."""
    with served(run) as address:
        yield SimpleNamespace(address=address, run=run)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with a_browser() as browser:
        yield browser


@pytest.fixture
def show(browser: object) -> Iterator[Callable[..., Page]]:
    """Open a page; at the end nothing may have gone wrong on it."""
    with contextlib.ExitStack() as pages:
        yield lambda address, **how: pages.enter_context(a_page(browser, address, **how))
