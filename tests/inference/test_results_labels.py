"""test.py's results of a run on label maps."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import result_images
from PIL import Image
from support.drawing import untrained
from support.label_folders import draw_label_folders
from support.label_maps import HD, SPADE

from inference.results import statistics_and_noise
from util.palette import default_colours

CPU = ("--gpu_ids", "-1", "--num_threads", "0")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_label_folders(tmp_path_factory.mktemp("labels"), classes=4, size=64, count=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    made = untrained(tmp_path_factory.mktemp("run"), data, *SPADE)
    (made / "classes.txt").write_text("sky\nsea\n")
    return made


@pytest.fixture
def tested(command: Any, run: Path, data: Path) -> Any:
    """Run test.py with flags, on the labels unless they choose others."""
    places = ["--checkpoints_dir", run.parent, "--name", "run", *CPU]
    return lambda *flags: command("test", *places, "--dataroot", data, *flags)


def labels_of(data: Path, name: str = "0") -> np.ndarray:
    return np.asarray(Image.open(data / "test_label" / f"{name}.png"))


def test_labels_are_shown_in_colours_with_a_legend(tested, data: Path) -> None:
    result = tested("--num_test", "2")
    assert result.status == 0, result.err
    images = result_images("run")
    assert sorted(images) == [
        f"{n}_{what}.png" for n in "01" for what in ("fake_B", "real_A", "real_B")
    ]
    assert np.array_equal(images["0_real_A.png"], default_colours(4)[labels_of(data)])
    page = Path("results/run/test_latest/index.html").read_text()
    for words in ("4 classes of label maps", "background: #800000", "sea", "running statistics"):
        assert words in page, words
    assert "Dropout" not in page and "§3.3" not in page


def test_a_stretched_label_map_keeps_its_colours(tested, data: Path) -> None:
    assert tested("--aspect_ratio", "1.5", "--num_test", "1").status == 0
    images = result_images("run")
    assert images["0_real_A.png"].shape == images["0_fake_B.png"].shape == (64, 96, 3)
    found = {tuple(colour) for colour in images["0_real_A.png"].reshape(-1, 3).tolist()}
    assert found <= {tuple(colour) for colour in default_colours(4).tolist()}


def test_label_maps_alone_are_translated(tested, tmp_path: Path, caplog) -> None:
    alone = draw_label_folders(
        tmp_path / "alone", phases=("test",), size=64, images=False, instances=False
    )
    assert tested("--dataroot", alone).status == 0
    images = result_images("run")
    assert sorted(images) == [f"{n}_{what}.png" for n in "01" for what in ("fake_B", "real_A")]
    assert "the edges are those of the classes" in caplog.text


def test_finished_images_are_not_translated_again(tested) -> None:
    assert tested("--num_test", "1").status == 0
    first = Path("results/run/test_latest/images/0_fake_B.png").stat().st_mtime_ns
    assert tested("--skip_finished").status == 0
    assert Path("results/run/test_latest/images/0_fake_B.png").stat().st_mtime_ns == first
    assert len(result_images("run")) == 9
    assert tested("--page_only").status == 0
    assert "4 classes" in Path("results/run/test_latest/index.html").read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"model": "spade", "norm_G": "spectralspadesyncbatch3x3"}, "running statistics."),
        ({"model": "spade", "norm_G": "spadeinstance3x3"}, ""),
        ({"model": "pix2pixHD", "norm": "batch"}, "running statistics."),
        ({"model": "pix2pixHD", "norm": "instance"}, ""),
        ({"model": "spade", "norm_G": "spadeinstance3x3", "use_vae": True}, "from --seed 3 and"),
        ({"model": "pix2pixHD", "norm": "instance", "instance_feat": True}, "looks of instances"),
        (
            {
                "model": "pix2pixHD",
                "norm": "instance",
                "instance_feat": True,
                "use_encoded_image": True,
            },
            "",
        ),
    ],
)
def test_the_page_says_what_the_network_draws_on(flags: dict[str, Any], said: str) -> None:
    note = statistics_and_noise(SimpleNamespace(seed=3, no_dropout=False, eval=False, **flags))
    assert (said in note) if said else note == ""


def test_tiles_of_label_maps_are_refused(tested, command, tmp_path: Path, data: Path) -> None:
    result = tested("--tile", "64")
    assert result.status == 2 and "--tile" in result.err and result.err.count("\n") == 1
    untrained(tmp_path, data, *HD)
    places = ["--checkpoints_dir", tmp_path, "--name", "run", *CPU, "--dataroot", data]
    result = command("test", *places, "--tile", "64")
    assert result.status == 2 and "--tile" in result.err and result.err.count("\n") == 1
