"""Models and datasets by file name."""

import sys
from pathlib import Path

import pytest

import data
from data.aligned_dataset import AlignedDataset
from models.pix2pix_model import Pix2PixModel
from util import registry
from util.registry import find_class, known


@pytest.fixture
def drop(tmp_path, monkeypatch):
    """Write a file into `data/` as the registry sees it; nothing of it stays."""
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(registry, "_ROOT", tmp_path)
    monkeypatch.setattr(data, "__path__", [str(tmp_path / "data")])
    before = set(sys.modules)

    def write(name: str, source: str) -> Path:
        path = tmp_path / "data" / name
        path.write_text(source)
        return path

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("data."):
            del sys.modules[name]
            vars(data).pop(name.removeprefix("data."), None)


def test_known_names_are_those_of_the_files():
    assert {"aligned", "single", "template"} <= set(known("data"))
    assert {"pix2pix", "template", "test"} <= set(known("models"))
    for package in ("data", "models"):
        assert "base" not in known(package) and known(package) == sorted(known(package))


def test_known_names_come_without_other_files(drop):
    for name in ("zebra_dataset.py", "ant_dataset.py", "base_dataset.py", "tools.py", "x_dataset"):
        drop(name, "")
    assert known("data") == ["ant", "zebra"]


@pytest.mark.parametrize(
    ("package", "name", "cls"),
    [("data", "aligned", AlignedDataset), ("models", "pix2pix", Pix2PixModel)],
)
def test_class_is_found_by_name(package, name, cls):
    assert find_class(package, name, "--flag") is cls


@pytest.mark.parametrize("package", ["data", "models"])
def test_every_known_name_has_its_class(package):
    for name in known(package):
        assert isinstance(find_class(package, name, "--flag"), type)


@pytest.mark.parametrize("cls", ["NightSkyDataset", "NightskyDataset", "NIGHTSKYDATASET"])
def test_class_is_found_in_any_case(drop, cls):
    drop("night_sky_dataset.py", f"class Other: pass\nclass {cls}: pass\n")
    assert find_class("data", "night_sky", "--dataset_mode").__name__ == cls


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError) as error:
        find_class("data", "alinged", "--dataset_mode")
    message = str(error.value)
    assert message.startswith("--dataset_mode alinged: ") and "\n" not in message
    assert ", ".join(known("data")) in message


@pytest.mark.parametrize(
    "name",
    ["../aligned", "data/aligned", "data.aligned", "aligned.", ".aligned", "", "base", "*", "a b"],
)
def test_names_that_are_no_plain_known_name_are_refused(name):
    with pytest.raises(ValueError, match="unknown; known are"):
        find_class("data", name, "--dataset_mode")


@pytest.mark.parametrize("name", ["night.sky", "night sky", "night-sky"])
def test_files_that_cannot_be_imported_are_refused(drop, name):
    drop(f"{name}_dataset.py", "class NightSkyDataset: pass\n")
    with pytest.raises(ValueError, match=f"--dataset_mode {name}: "):
        find_class("data", name, "--dataset_mode")


@pytest.mark.parametrize("source", ["", "class Night: pass\n", "NightSkyDataset = 3\n"])
def test_file_without_the_class_names_the_file_and_the_class(drop, source):
    drop("night_sky_dataset.py", source)
    with pytest.raises(ValueError) as error:
        find_class("data", "night_sky", "--dataset_mode")
    message = str(error.value)
    assert message.startswith("--dataset_mode night_sky: ")
    assert "data/night_sky_dataset.py" in message and "NightSkyDataset" in message


def test_an_error_inside_the_file_is_not_hidden(drop):
    drop("broken_dataset.py", "import no_such_package_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        find_class("data", "broken", "--dataset_mode")
