"""Imports point down, and no chain of them comes back to where it began."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# The layer of a module: of the patterns that its dotted name starts with, the longest counts.
LAYERS = {
    "train": 5,
    "test": 5,
    "scripts": 5,
    "datasets": 5,
    "training": 4,
    "inference": 4,
    "translator": 3,
    "models": 2,
    "data": 2,
    "options": 2,
    "util": 1,
}
# Modules of one layer that never import each other.
APART = [{"models", "data", "options"}, {"training", "inference"}]
TORCH_FREE = ("options", "util.registry", "util.displays.loss_log", "training.timing", "util.html")
# These import torch and each other only.
NETWORKS = ("models.networks", "models.layers", "models.losses", "models.schedules")
NETWORKS += ("models.batch_norm", "models.resize_conv", "models.image_noise")
NETWORKS += ("models.spade_networks", "models.pix2pixHD_networks", "models.instance_features")
NETWORKS += (
    "models.small_maps",
    "models.recompute",
    "models.label_convolution",
    "models.label_windows",
)
NETWORKS += ("models.inpaint_networks", "models.contextual_attention", "models.block_attention")


def sources(root: Path = ROOT) -> dict[str, Path]:
    """Return the project's modules by dotted name."""
    files = [*root.glob("*.py"), *(p for f in LAYERS for p in (root / f).rglob("*.py"))]
    return {name_of(path, root): path for path in files}


def name_of(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return all that a file imports, TYPE_CHECKING and inside functions too; of our own modules
    as precisely as can be told.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            dotted = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (dotted & modules.keys()) or {node.module}
    return found


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Return which of our modules each of them imports."""
    modules = sources(root)
    return {name: imports(path, modules) & modules.keys() for name, path in modules.items()}


def check(imported_by: dict[str, set[str]]) -> None:
    """Raise an AssertionError for an import that points up, or a CycleError for a circle."""
    for module, found in imported_by.items():
        top = module.split(".")[0]
        for imported in found:
            other = imported.split(".")[0]
            assert LAYERS[other] <= LAYERS[top], f"{module} imports {imported}, which is above it"
            for group in APART:
                assert other == top or not {top, other} <= group, f"{module} imports {imported}"
            assert not is_command(imported), f"{module} imports {imported}, a command"
    TopologicalSorter(imported_by).prepare()


def is_command(module: str) -> bool:
    """Return whether a module is a command: train, test, a file in scripts/ or datasets/."""
    package, *rest = module.split(".")
    return not rest if package in ("train", "test") else package in COMMANDS and len(rest) == 1


COMMANDS = ("scripts", "datasets")


def test_imports_point_down_and_form_no_circle() -> None:
    check(graph())


@pytest.mark.parametrize("name", sorted(sources()))
def test_some_modules_stay_light(name: str) -> None:
    found = imports(sources()[name], sources())
    outside = {module.split(".")[0] for module in found}
    if name.startswith(TORCH_FREE):
        assert not outside & {"torch", "torchvision"}
    if name in NETWORKS:
        assert not found & sources().keys() - set(NETWORKS)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_circle_would_be_found(tmp_path: Path) -> None:
    hidden = "def f():\n    from models.b import B\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import models.a\n"
    root = write(tmp_path, {"models/a.py": hidden, "models/b.py": typed})
    with pytest.raises(CycleError):
        check(graph(root))


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("util/x.py", "models.a"),
        ("models/a.py", "training.t"),
        ("models/a.py", "options.o"),
        ("data/d.py", "models.a"),
        ("training/t.py", "inference.i"),
        ("inference/i.py", "train"),
        ("translator.py", "training.t"),
    ],
)
def test_an_import_that_points_up_would_be_found(
    tmp_path: Path, module: str, imported: str
) -> None:
    names = ("util/x", "models/a", "options/o", "data/d", "training/t", "inference/i")
    files = {f"{name}.py": "" for name in (*names, "train", "translator")}
    root = write(tmp_path, files | {module: f"def f():\n    import {imported}\n"})
    with pytest.raises(AssertionError, match=imported):
        check(graph(root))


def test_the_overview_shows_these_layers() -> None:
    page = (ROOT / "docs" / "overview.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d) \| ((?:`\w+` ?)+)\|", page, re.MULTILINE)
    shown = {name: int(level) for level, names in rows for name in re.findall(r"\w+", names)}
    assert shown == LAYERS
    for room in re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE):
        assert (ROOT / room).is_dir()
