"""The two commands without any flags, as a newcomer runs them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import a_browser, a_page, served

ROOT = Path(__file__).resolve().parent.parent


def photos(paths: list[Path], left_half: bool = False) -> np.ndarray:
    """Images as (N, 64, 64, 3) in [0, 1]."""
    arrays = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        if left_half:
            image = image.crop((0, 0, image.width // 2, image.height))
        arrays.append(np.asarray(image.resize((64, 64), Image.Resampling.BICUBIC)) / 255)
    return np.stack(arrays)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which train.py and test.py ran, and what the second said."""
    folder = tmp_path_factory.mktemp("run")
    for script in ("train.py", "test.py"):
        done = subprocess.run(
            [sys.executable, ROOT / script], cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
def test_no_flags_at_all_beat_the_mean_image_by_half(ran: tuple[Path, str]) -> None:
    folder, said = ran
    page = folder / re.findall(r"[^ ]+\.html", said)[-1]
    assert page.is_file()
    images = page.parent / "images"
    real = photos(sorted(images.glob("*_real_B.png")))
    fake = photos(sorted(images.glob("*_fake_B.png")))
    data = folder / "datasets" / "builtin_facades"
    mean = photos(sorted((data / "train").iterdir()), left_half=True).mean(axis=0)
    assert len(real) == len(fake) == len(list((data / "test").iterdir()))
    assert np.abs(fake - real).mean() <= 0.5 * np.abs(mean - real).mean()


@pytest.mark.slow
def test_a_rectangle_that_is_drawn_changes_what_is_below_it(
    ran: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ran[0])
    run, ratios = ran[0] / "checkpoints/experiment_name", []
    with a_browser() as browser, served(run) as address, a_page(browser, address) as page:
        for number in (1, 2, 3):
            page.page.fill("#example", str(number))
            page.page.keyboard.press("Enter")
            page.until(lambda number=number: page.shows_example(number))
            before = page.pixels()
            page.press("Rectangle")
            page.page.get_by_role("radio", name="window", exact=True).click()
            page.drag((20, 20), (43, 43))
            change = np.abs(page.pixels() - before).mean(2)
            inside = np.zeros_like(change, bool)
            inside[20:44, 20:44] = True
            ratios.append(change[inside].mean() / change[~inside].mean())
    assert min(ratios) >= 3, ratios
