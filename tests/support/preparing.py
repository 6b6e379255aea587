"""What the tests of data preparation share: images, runs of a tool, what a folder holds."""

import importlib.util
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import TINY, draw
from PIL import Image
from skimage.feature import canny  # noqa: F401 - here, so that no worker has to import it

from scripts import make_pairs
from util.command import run_command

ROOT = Path(__file__).resolve().parents[2]
TRAIN_LINE = "train on them with: "


def draw_folder(folder: Path, names: str = "0 1 2 3", size: tuple[int, int] = (80, 72)) -> Path:
    """Write an image of each name into a folder, PNG where the name has no extension."""
    for seed, name in enumerate(names.split()):
        path = folder / (name if Path(name).suffix else f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(size, seed).save(path)
    return folder


def prepare(task: str, source: Path, out: Path, *flags: Any) -> Path:
    """Run make_pairs in this process, with one worker, and return OUT."""
    make_pairs.main(["--task", task, "--num_threads", "1", *map(str, flags), f"{source}", f"{out}"])
    return out


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def made(out: Path) -> dict[str, Path]:
    """Return the images in OUT by their path in the phase; each must be in one phase only."""
    paths = sorted(path for path in out.glob("*/**/*.png") if not path.name.startswith("."))
    names = [path.relative_to(out).as_posix().partition("/")[2] for path in paths]
    assert len(set(names)) == len(names), f"twice in OUT: {names}"
    return dict(zip(names, paths, strict=True))


def phases(out: Path) -> dict[str, str]:
    """Return the phase of each image in OUT."""
    return {name: path.relative_to(out).parts[0] for name, path in made(out).items()}


def pixels(path: Path) -> np.ndarray:
    """Return (H, W, 3) of an RGB file."""
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def halves(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return A and B of an A|B file."""
    pair = pixels(path)
    assert pair.shape[1] % 2 == 0
    return pair[:, : pair.shape[1] // 2], pair[:, pair.shape[1] // 2 :]


def train_flags(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the flags of the train.py line that a tool logged."""
    (line,) = [text for text in caplog.messages if text.startswith(TRAIN_LINE)]
    python, script, *flags = shlex.split(line.removeprefix(TRAIN_LINE))
    assert (python, script) == ("python", str(ROOT / "train.py"))
    return flags


def complaint(
    capfd: pytest.CaptureFixture[str], main: Callable[..., None], args: Sequence[Any], *words: str
) -> str:
    """Expect that a command ends with status 2 and one line that holds all `words`; return it."""
    capfd.readouterr()
    try:
        status = run_command(main, [str(arg) for arg in args])
    except SystemExit as stop:
        status = stop.code
    err = capfd.readouterr().err
    assert status == 2, err
    assert [word for word in words if word not in err] == [], err
    assert err.count("\n") == 1, err
    return err


def load_script(name: str) -> ModuleType:
    """Load datasets/NAME.py from its file."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "datasets" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where worker processes look for its functions
    spec.loader.exec_module(module)
    return module


def trains(command: Callable[..., Any], dataroot: Path, *flags: str) -> None:
    """Expect that train.py makes one tiny step on a data set."""
    args = ["--dataroot", dataroot, "--name", "run", *TINY, "--max_dataset_size", "1", *flags]
    done = command("train", *args)
    assert done.status == 0, done.err
    assert list((done.cwd / "checkpoints" / "run").glob("latest_net_G*.pth"))
