"""Fixtures of the tests of the downloader, which name this file in `pytest_plugins`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.download_site import Site, serving

from scripts import download


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server, and no pause between two tries."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PAUSE", 0)
    with serving() as site:
        yield site


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Where a download goes; its tag is written beside it."""
    return tmp_path / "set.zip.part"


@pytest.fixture
def fetch(
    site: Site, command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Run the command with the true table, but mirrors on the test's server: /one/…, /two/….

    Keywords are what the table knows of the file: size, sha256.
    """
    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    for entry in table.values():
        end = entry["mirrors"][0].rpartition("/")[2]
        entry["mirrors"] = [f"{site.address}/{mirror}/{end}" for mirror in ("one", "two")]
    monkeypatch.setattr(download, "TABLE", tmp_path / "sources.yaml")

    def run(*args: str, **known: Any) -> Any:
        if known:
            table[args[0]]["names"][args[1]] = known
        download.TABLE.write_text(yaml.safe_dump(table, sort_keys=False), encoding="utf-8")
        return command("scripts.download", *args)

    return run
