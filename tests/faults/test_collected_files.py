"""The collected files that once failed: the right outcome of each kind, by commands.

They lie outside the project, in ../shared/faults; without that folder these tests are skipped.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from conftest import SHARED, TINY, result_images
from PIL import Image

from data.aligned_dataset import AlignedDataset
from options.train_options import TrainOptions
from translator import Translator

Command = Callable[..., SimpleNamespace]
FAULTS = SHARED / "faults"
pytestmark = pytest.mark.skipif(not FAULTS.is_dir(), reason="the collected files are not here")
SMALL = ["--load_size", "64", "--crop_size", "64"]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]


class Outcome(NamedTuple):
    """What a training on a folder says; the remarks of the data check, or an error's words."""

    folder: str
    flags: str = ""
    remarks: tuple[str, ...] = ()
    error: tuple[str, ...] = ()


METRES = "100% of the values lie outside 0 to 1 (float32)"
CYCLE = "--model cycle_gan --netG resnet_6blocks --ngf 2 --preprocess none"
EQUAL = ("A and B are equal",)  # these small folders hold each image twice
TRAINED = {
    "four bands: as many as the file has": Outcome("rgbn8", "--input_nc 4"),
    "four bands: a wrong number": Outcome("rgbn8", error=("has 4 channels, not the 3",)),
    "drawing in alpha": Outcome("lineart", error=("A: all 4", "in the alpha", "--alpha white")),
    "drawing in alpha: the fix": Outcome("lineart", "--alpha white"),
    "odd EXIF": Outcome("exif"),
    "metres as input": Outcome("dem", error=("A: all 4", METRES, "--range_A 200,2600")),
    "metres as input: the fix": Outcome("dem", "--range_A 200,2750"),
    "metres as target": Outcome("dem", "--direction BtoA", error=("A: all 4", METRES)),
    "metres as target: the fix": Outcome("dem", "--direction BtoA --range_A 200,2600"),
    "NaN": Outcome("demnan", error=("trainA/3.tif holds NaN", "--on_bad_image skip")),
    "NaN: the fix": Outcome(
        "demnan", "--on_bad_image skip --range_A 200,2750", remarks=("such images are left out",)
    ),
    "12 of 16 bits": Outcome("ct16", remarks=("use 5.9% of the range", "--range_A -1024,2816")),
    "12 of 16 bits: the fix": Outcome("ct16", "--range_A -1024,3071"),
    "class numbers": Outcome("labelids", remarks=("(class numbers?)", "--filter_A nearest")),
    "a format's other ending": Outcome("jfif"),
    "formats side by side": Outcome("mixed"),
    "folders of pix2pixHD": Outcome("hd", remarks=EQUAL),
    "label folders of pix2pixHD": Outcome("hdlabel", remarks=EQUAL),
    "pairs of arrays": Outcome("npystitched"),
    "a hot pixel": Outcome("hot", remarks=("98% of the values", "--range_A 0,240", "one colour")),
    "a hot pixel: percentiles": Outcome("hot", "--range_A percentile"),
    "16-bit colour as grey": Outcome("rgb16", "--input_nc 1"),
    "sizes in a batch": Outcome(
        "tallwide",
        f"{CYCLE} --batch_size 2",
        EQUAL,
        error=("32x32", "32x48", "--batch_size 1 --grad_accum 2"),
    ),
    "sizes in a batch: the fix": Outcome("tallwide", f"{CYCLE} --grad_accum 2", EQUAL),
    "sizes in a pool with wgangp": Outcome("tallwide", f"{CYCLE} --gan_mode wgangp", EQUAL),
    "megabytes of text": Outcome("bigtext"),
    "thumbnails of a network drive": Outcome("nas"),
}


def train(command: Command, folder: str, flags: str = "") -> SimpleNamespace:
    small = [*TINY, *SMALL, "--name", "r", "--no_html", "--dataroot", FAULTS / folder]
    return command("train", *small, *flags.split())


@pytest.mark.parametrize("kind", TRAINED)
def test_a_training_does_or_says_what_is_right(command: Command, caplog, kind: str) -> None:
    folder, flags, remarks, error = TRAINED[kind]
    result = train(command, folder, flags)
    assert result.status == (2 if error else 0), result.err
    said = [text for text in caplog.messages if text.startswith("data check")]
    assert [word for word in remarks if word not in " ".join(said)] == []
    assert bool(said) == bool(remarks), said
    assert [word for word in error if word not in result.err] == []
    assert "Traceback" not in result.err and len(result.err.splitlines()) == bool(error)


COUNTS = {"exif": 17, "jfif": 4, "mixed": 6, "hd": 3, "hdlabel": 3, "npystitched": 4, "nas": 4}


@pytest.mark.parametrize("folder", COUNTS)
def test_all_images_are_read_and_nothing_else(folder: str) -> None:
    opt = TrainOptions().read(["--dataroot", str(FAULTS / folder), *TINY, *SMALL])
    dataset = AlignedDataset(opt)
    assert len(dataset) == COUNTS[folder]
    for item in map(dataset.__getitem__, range(len(dataset))):
        assert item["A"].std() > 0 and item["B"].std() > 0


DOCTOR = {
    "odd EXIF": ("exif", ["and 14 other files: has an EXIF orientation", "it stays as it is"]),
    "NaN": ("demnan", ["3.tif holds NaN"]),
    "pairs of arrays": (
        "npystitched",
        ["7 other files: holds uint8, 3 channels", "8 images, 0 bad"],
    ),
    "metres": ("dem", [METRES, "--range_A 200,2600"]),
    "class numbers": ("labelids", ["(class numbers?)"]),
}


@pytest.mark.parametrize("kind", DOCTOR)
def test_the_doctor_says_it_too(command: Command, caplog, kind: str) -> None:
    folder, words = DOCTOR[kind]
    command("scripts.doctor", "--dataroot", FAULTS / folder)
    assert [word for word in words if word not in caplog.text] == []


def test_one_file_gives_one_result_whoever_translates_it(command: Command) -> None:
    """Values beyond the percentiles are clipped in the same way."""
    assert train(command, "hot", "--range_A percentile").status == 0
    assert command("test", *TEST).status == 0
    found = result_images("r")
    t = Translator.load("checkpoints/r", gpu_ids=-1)
    for path in sorted((FAULTS / "hot" / "testA").iterdir()):
        wanted = found[f"{path.stem}_fake_B.png"]
        assert np.abs(np.asarray(t(path), int) - wanted).max() <= 1
        assert np.abs(t(np.load(path)).astype(int) - wanted).max() <= 255


def test_a_test_names_nan_too(command: Command, tmp_path: Path) -> None:
    assert train(command, "demnan", "--on_bad_image skip --range_A 200,2750").status == 0
    bad = FAULTS / "demnan" / "trainA" / "3.tif"
    result = command("test", *TEST, "--phase", "train")
    assert result.status == 2 and f"{bad}: holds NaN" in result.err
    with pytest.raises(ValueError, match="3.tif: holds NaN"):
        Translator.load("checkpoints/r", gpu_ids=-1)(bad)


def test_a_pool_survives_a_resume_with_another_crop(command: Command) -> None:
    flags = f"{CYCLE} --pool_size 4"
    assert train(command, "tallwide", flags).status == 0
    more = "--continue_train --n_epochs 2 --preprocess crop --crop_size 24"
    assert train(command, "tallwide", f"{flags} {more}").status == 0


def test_pairs_of_pix2pixhd_are_not_halves_of_single_images() -> None:
    opt = TrainOptions().read(["--dataroot", str(FAULTS / "hd"), *TINY, *SMALL])
    item = AlignedDataset(opt)[0]
    for side in "AB":
        assert Path(item[f"{side}_paths"]).parent.name == f"train_{side}"
        with Image.open(item[f"{side}_paths"]) as image:
            assert item["A_size"] == image.size
