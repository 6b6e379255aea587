"""Imports point down only (imports inside functions too)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("data", "models", "options", "scripts", "util", "tests")

# The layer of a module: the first pattern that matches its dotted name's start.
LAYERS = (
    (4, ("train", "test", "scripts")),
    (3, ("translator",)),
    (1, ("models.networks", "models.layers", "models.losses", "models.architecture")),
    (1, ("models.perceptual", "models.stages", "models.building", "models.tiling")),
    (1, ("models.several",)),
    (1, ("data.transforms", "data.image_folder", "data.builtin", "data.inspection")),
    (1, ("data.epochs", "data.deep", "data.ranges", "data.pixels", "data.cache", "data.loose")),
    (2, ("models", "data")),
    (0, ("options", "util")),
)
TORCH_FREE = ("options", "util.registry", "util.loss_log", "util.clock", "util.html")
TORCH_ONLY = ("models.networks", "models.layers", "models.losses", "models.architecture")


def sources() -> list[Path]:
    folders = ("data", "models", "options", "scripts", "util")
    return [*ROOT.glob("*.py"), *(p for f in folders for p in (ROOT / f).rglob("*.py"))]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> int:
    for level, starts in LAYERS:
        if any(module == start or module.startswith(f"{start}.") for start in starts):
            return level
    raise AssertionError(f"{module} has no layer: add it to LAYERS")


def imports(path: Path) -> set[str]:
    """All modules that a file imports, of our own ones as precisely as can be told."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                is_module = (ROOT / dotted.replace(".", "/")).with_suffix(".py").exists()
                found.add(dotted if is_module else node.module)
    return found


def ours(modules: set[str]) -> set[str]:
    top = {p.stem for p in ROOT.glob("*.py")} | set(PACKAGES)
    return {m for m in modules if m.split(".")[0] in top}


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_imports_point_down(path: Path) -> None:
    module = name_of(path)
    package = module.split(".")[0]
    for imported in ours(imports(path)):
        other = imported.split(".")[0]
        assert layer(imported) <= layer(module), f"{module} imports {imported}"
        assert {package, other} != {"models", "data"}, f"{module} imports {imported}"
        if package in ("models", "data", "util"):
            assert other != "options", f"{module} imports {imported}"
        if package == "scripts":
            assert imported not in ("train", "test"), f"{module} imports {imported}"


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_some_modules_stay_light(path: Path) -> None:
    module = name_of(path)
    outside = {m.split(".")[0] for m in imports(path)}
    if module.startswith(TORCH_FREE):
        assert not outside & {"torch", "torchvision"}, module
    if module in TORCH_ONLY:
        assert not ours(imports(path)) - {"models.layers", "models.losses"}, module


def test_a_violation_would_be_found(tmp_path: Path) -> None:
    source = tmp_path / "bad.py"
    source.write_text("def f():\n    from models.networks import define_G\n    import train\n")
    assert {"models.networks", "train"} <= imports(source)
    assert layer("train") > layer("models.networks") > layer("options.base_options")
