"""The notebooks run from a fresh copy of the project, and what they say of a step is true."""

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = "--n_epochs 1 --n_epochs_decay 0 --max_dataset_size 4 --ngf 4 --ndf 4 --overwrite"
OWN = ("checkpoints", "results", "builtin_facades", "my_images", ".*", "__pycache__", "*.onnx")


def source_of(notebook: Path, kind: str) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == kind)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_valid_and_has_no_outputs(notebook: Path) -> None:
    found = nbformat.read(notebook, as_version=4)
    nbformat.validate(found)
    code = [cell for cell in found.cells if cell.cell_type == "code"]
    assert len(code) > 5
    assert all(cell.execution_count is None and not cell.outputs for cell in code)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_links_what_there_is(notebook: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", source_of(notebook, "markdown"))
    assert links and [link for link in links if not (notebook.parent / link).is_file()] == []


def test_both_notebooks_have_the_same_set_up() -> None:
    first, second = (nbformat.read(path, as_version=4).cells[1].source for path in NOTEBOOKS)
    assert first == second


def run(notebook: Path, folder: Path) -> str:
    """Run each cell in a copy of the project, with a small training; return what was printed."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*OWN))
    found = nbformat.read(notebook, as_version=4)
    for cell in found.cells:
        cell.source = cell.source.replace("--overwrite", SMALL)
    place = {"metadata": {"path": str(folder / "notebooks")}}
    NotebookClient(found, timeout=300, resources=place).execute()
    outputs = [one for cell in found.cells for one in cell.get("outputs", ())]
    assert sum("image/png" in one.get("data", ()) for one in outputs) > 5
    return "".join(one.get("text", "") for one in outputs)


def agree(said: str, names: tuple[str, ...]) -> None:
    """The losses by hand are those of the model, and fall in a step on one image."""
    for by_hand, by_model in re.findall(r"by hand ([\d.]+), by the model ([\d.]+)", said):
        assert float(by_hand) == pytest.approx(float(by_model), abs=2e-4)
    for name in names:
        ((before, after),) = re.findall(rf"^{name}: ([\d.]+) -> ([\d.]+)$", said, re.MULTILINE)
        assert float(after) < float(before), name


@pytest.mark.slow
def test_each_cell_of_pix2pix_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = run(ROOT / "notebooks/pix2pix.ipynb", tmp_path / "project")
    agree(said, ("loss_D", "G_L1"))
    assert re.search(r"^[\d.]+ of 255$", said, re.MULTILINE)


@pytest.mark.slow
def test_each_cell_of_cyclegan_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = run(ROOT / "notebooks/CycleGAN.ipynb", tmp_path / "project")
    agree(said, ("loss_G", "loss_D"))
