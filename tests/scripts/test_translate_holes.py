"""scripts.translate with masks and sketches: what it fills, and files that it never replaces."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import draw
from PIL import Image
from support.holes import save_mask, saved_run

from translator import Translator

CPU = ["--checkpoints_dir", "runs", "--name", "run", "--gpu_ids", "-1", "--preprocess", "none"]
STRONG = ("--init_type", "normal", "--init_gain", "0.4")  # untrained, and yet it answers


@pytest.fixture
def run(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A guided run, and a photo, a mask and a sketch, one of each and in folders."""
    monkeypatch.chdir(tmp_path)
    saved_run(tmp_path / "runs", "--guided", *STRONG)
    for place, name in ((".", "photo.png"), ("photos", "0.png"), ("photos", "1.png")):
        Path(place).mkdir(exist_ok=True)
        draw((48, 40), seed=len(name)).save(Path(place, name))
    for name in ("mask.png", "masks/0.png", "masks/1.png"):
        save_mask(tmp_path / name)
    for name in ("sketch.png", "sketches/0.png", "sketches/1.png"):
        save_mask(tmp_path / name, box=(10, 12, 18, 14))
    return lambda *words: command("scripts.translate", *CPU, *words)


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_photo_is_filled_as_the_translator_fills_it(run: Any) -> None:
    parts = ["--mask", "mask.png", "--sketch", "sketch.png"]
    result: SimpleNamespace = run(*parts, "photo.png", "filled.png")
    assert result.status == 0, result.err
    t = Translator.load("runs/run", gpu_ids=-1, preprocess="none")
    wanted = np.asarray(t("photo.png", mask="mask.png", sketch="sketch.png"))
    assert np.array_equal(pixels("filled.png"), wanted)
    assert (wanted != np.asarray(t("photo.png", mask="mask.png"))).any()
    assert run("--mask", "masks", "--sketch", "sketches", "photos", "out").status == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["0.png", "1.png"]


def test_a_grey_photo_comes_back_as_rgb(run: Any) -> None:
    draw((48, 40)).convert("L").save("grey.png")
    assert run("--mask", "mask.png", "grey.png", "filled.png").status == 0
    kept = ~(pixels("mask.png") > 0)
    found, grey = pixels("filled.png"), pixels("grey.png")
    assert found.shape == (40, 48, 3) and (found[kept] == grey[kept][:, None]).all()


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("--mask mask.png photo.png mask.png", "mask.png"),
        ("--mask mask.png --sketch sketch.png photo.png sketch.png", "sketch.png"),
        ("--mask link.png photo.png mask.png", "mask.png"),
        ("--mask mask.png photo.png photo.png", "photo.png"),
        ("--mask masks photos masks", "masks/0.png"),
        ("--mask masks --sketch sketches photos ./sketches", "sketches/0.png"),
    ],
)
def test_no_file_that_is_read_is_replaced(run: Any, words: str, file: str) -> None:
    Path("link.png").symlink_to("mask.png")
    before = Path(file).read_bytes()
    result = run("--overwrite", *words.split())
    assert result.status == 2 and f"OUT {file}: is an input; choose another" in result.err
    assert Path(file).read_bytes() == before
