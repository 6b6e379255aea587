"""GetData downloads by the command, into the folder that it is given."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import refusal
from support.archives import content_of, tar_of, zip_of

from util.get_data import GetData

pytest_plugins = ["support.downloading"]
FILES = {"train/1.jpg": b"image", "test/1.jpg": b"other"}


@pytest.fixture
def by_the_command(fetch, monkeypatch):
    """What GetData starts as a process runs here, and asks the test's server; what it prints."""
    printed = []

    def run(line: list[str], **how: object) -> SimpleNamespace:
        assert Path(line[1]).name == "download.py" and how.keys() <= {"capture_output", "text"}
        done = fetch(*line[2:])
        printed.append(done.out)
        return SimpleNamespace(returncode=done.status, stderr=done.err)

    monkeypatch.setattr(subprocess, "run", run)
    return printed


@pytest.mark.parametrize("technique", ["pix2pix", "CycleGAN"])
def test_a_data_set_is_downloaded_into_its_folder(by_the_command, site, tmp_path, technique):
    pack, ending = (tar_of, "tar.gz") if technique == "pix2pix" else (zip_of, "zip")
    packed = pack({f"facades/{name}": content for name, content in FILES.items()})
    site.put(f"/one/facades.{ending}", packed)
    where = GetData(technique=technique).get(save_path=tmp_path / "sets", dataset="facades")
    assert where == str(tmp_path / "sets" / "facades")
    found = content_of(Path(where))
    assert {name: found[name] for name in FILES} == FILES
    site.files.clear()
    assert GetData(technique, verbose=False).get(tmp_path / "sets", "facades") == where  # is there


def test_what_cannot_be_downloaded_is_a_value_error(by_the_command, site, tmp_path):
    get = GetData("pix2pix", verbose=False).get
    refusal(lambda: get(tmp_path, "facade"), "facade", "did you mean facades")
    refusal(lambda: get(tmp_path, "maps"), "maps", "could not be downloaded")
    refusal(lambda: GetData("pix2pix").get(tmp_path, "maps"), "maps", "line above")
    refusal(lambda: GetData("spade"), "technique spade", "cyclegan, pix2pix")


def test_without_a_name_one_is_asked_for(by_the_command, monkeypatch, tmp_path):
    (tmp_path / "maps").mkdir()
    monkeypatch.setattr("builtins.input", lambda question: " maps ")
    assert GetData("pix2pix").get(tmp_path) == str(tmp_path / "maps")
    assert "edges2shoes" in by_the_command[0]


def test_the_command_is_started_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "facades").mkdir()
    monkeypatch.chdir(tmp_path)
    assert GetData("pix2pix", verbose=False).get(".", "facades") == str(tmp_path / "facades")
