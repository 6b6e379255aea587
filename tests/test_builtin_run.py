"""The two commands without any flags, as a newcomer runs them."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def photos(paths: list[Path], left_half: bool = False) -> np.ndarray:
    """Pictures as (N, 64, 64, 3) in [0, 1]."""
    arrays = []
    for path in paths:
        picture = Image.open(path).convert("RGB")
        if left_half:
            picture = picture.crop((0, 0, picture.width // 2, picture.height))
        arrays.append(np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC)) / 255)
    return np.stack(arrays)


@pytest.mark.slow
def test_no_flags_at_all_beat_the_mean_picture_by_half(tmp_path: Path) -> None:
    for script in ("train.py", "test.py"):
        done = subprocess.run(
            [sys.executable, ROOT / script], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    page = tmp_path / re.findall(r"[^ ]+\.html", done.stdout)[-1]
    assert page.is_file()
    images = page.parent / "images"
    real = photos(sorted(images.glob("*_real_B.png")))
    fake = photos(sorted(images.glob("*_fake_B.png")))
    data = tmp_path / "datasets" / "builtin_facades"
    mean = photos(sorted((data / "train").iterdir()), left_half=True).mean(axis=0)
    assert len(real) == len(fake) == len(list((data / "test").iterdir()))
    assert np.abs(fake - real).mean() <= 0.5 * np.abs(mean - real).mean()
