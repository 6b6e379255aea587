"""Images of different sizes: training works where it can, and is refused before it starts where
it cannot.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, draw
from PIL import Image

from util.displays.loss_log import parse_line

slow = pytest.mark.slow
Command = Callable[..., SimpleNamespace]
NETS = [*TINY, "--ngf", "2", "--ndf", "2", "--no_html", "--print_freq", "1"]
RUN = Path("checkpoints/r")
CYCLE = ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--pool_size", "2"]
TALL, SQUARE, WIDE = (32, 48), (32, 32), (48, 32)
MIXED = [SQUARE, SQUARE, TALL, SQUARE, WIDE, TALL]


def folder(root: str, sizes: list[tuple[int, int]], seed: int = 0) -> Path:
    """Write images of these sizes (width, height)."""
    path = Path("data", root)
    path.mkdir(parents=True)
    for i, size in enumerate(sizes):
        draw(size, seed=seed + i).save(path / f"{i}.png")
    return path


def unpaired(sizes: list[tuple[int, int]], of_B: list[tuple[int, int]] | None = None) -> None:
    folder("trainA", sizes)
    folder("trainB", of_B or sizes, seed=50)


def pairs(sizes: list[tuple[int, int]]) -> None:
    folder("train", [(2 * width, height) for width, height in sizes])


def trains(command: Command, *flags: Any, epochs: int = 3) -> list[Any]:
    """Expect a training of some epochs to go to its end; return its lines of losses."""
    result = command(
        "train", *NETS, "--dataroot", "data", "--name", "r", "--n_epochs", epochs, *flags
    )
    assert result.status == 0, result.err
    lines = map(parse_line, (RUN / "loss_log.txt").read_text().splitlines())
    return [entry for entry in lines if entry]


def refused(command: Command, *flags: Any) -> str:
    """Expect one line before the first step; return it."""
    result = command("train", *NETS, "--dataroot", "data", "--name", "r", *flags)
    assert result.status == 2 and len(result.err.splitlines()) == 1, result.err
    assert not (RUN / "loss_log.txt").exists() and not list(RUN.glob("*.pth"))
    return result.err


WGANGP = [*CYCLE, "--gan_mode", "wgangp"]
WHOLE = ["--preprocess", "none"]


@pytest.mark.parametrize(
    ("laid", "flags"),
    [
        (unpaired, [*CYCLE, "--gan_mode", "wgangp"]),
        (pairs, ["--pool_size", "3", "--gan_mode", "wgangp"]),
        pytest.param(unpaired, CYCLE, marks=slow),
        pytest.param(unpaired, [*WGANGP, "--grad_accum", "3"], marks=slow),
        pytest.param(unpaired, [*WGANGP, "--pool_size", "0", "--direction", "BtoA"], marks=slow),
        pytest.param(unpaired, [*CYCLE, "--grad_accum", "2"], marks=slow),
        pytest.param(pairs, ["--pool_size", "3", "--grad_accum", "2"], marks=slow),
        pytest.param(pairs, ["--model", "colorization", "--pool_size", "2"], marks=slow),
    ],
)
def test_batches_of_one_image_train_with_images_of_all_sizes(command, laid, flags):
    laid(MIXED)
    assert len(trains(command, *WHOLE, *flags)) >= 6


@pytest.mark.parametrize("gan_mode", [pytest.param("lsgan", marks=slow), "wgangp"])
def test_a_and_b_may_be_of_different_sizes_in_batches_of_two(command, gan_mode):
    unpaired([TALL] * 4, [WIDE] * 4)
    trains(command, *WHOLE, *CYCLE, "--gan_mode", gan_mode, "--batch_size", "2")


@pytest.mark.parametrize("gan_mode", ["lsgan", pytest.param("wgangp", marks=slow)])
def test_equal_sizes_within_a_batch_are_enough(command, gan_mode):
    """In a fixed order the sizes of each batch are known; the pool holds all of them."""
    unpaired([SQUARE, SQUARE, TALL, TALL, WIDE, WIDE] * 2)
    flags = [*WHOLE, *CYCLE, "--gan_mode", gan_mode, "--batch_size", "2", "--serial_batches"]
    trains(command, *flags, epochs=4)


def rotated(sizes: list[tuple[int, int]]) -> None:
    """Pairs of one stored size, some of which are turned by their orientation."""
    Path("data/train").mkdir(parents=True)
    for i in range(4):
        exif = Image.Exif()
        exif[0x0112] = 6 if i == 2 else 1
        draw((128, 64), seed=i).save(f"data/train/{i}.jpg", exif=exif)


def arrays(sizes: list[tuple[int, int]]) -> None:
    for side in "AB":
        Path(f"data/train{side}").mkdir(parents=True)
        for i, (width, height) in enumerate(sizes):
            np.save(
                f"data/train{side}/{i}.npy",
                np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8),
            )


@pytest.mark.parametrize(
    ("laid", "flags"),
    [
        (unpaired, [*CYCLE, *WHOLE]),
        (lambda sizes: unpaired([SQUARE] * 6, sizes), [*CYCLE, *WHOLE]),
        (unpaired, [*CYCLE, *WHOLE, "--serial_batches", "--batch_size", "4"]),
        (pairs, [*WHOLE]),
        (pairs, [*CYCLE, *WHOLE]),
        (pairs, ["--preprocess", "scale_width", "--load_size", "48", "--crop_size", "8"]),
        (pairs, ["--model", "colorization", *WHOLE]),
        (rotated, [*WHOLE]),
        (arrays, [*WHOLE]),
    ],
)
def test_batches_that_would_mix_sizes_are_refused_before_training(command, laid, flags):
    laid(MIXED)
    said = refused(command, "--batch_size", "2", *flags)
    assert "--batch_size" in said and "--grad_accum" in said and "--preprocess" in said


def test_what_that_line_proposes_trains(command):
    unpaired(MIXED)
    said = refused(command, *WHOLE, *CYCLE, "--batch_size", "2")
    fixes = ["--batch_size 1 --grad_accum 2", "--preprocess resize_and_crop"]
    assert [fix for fix in fixes if fix not in said] == []
    for fix in fixes:
        trains(command, *WHOLE, *CYCLE, "--batch_size", "2", *fix.split(), epochs=2)


@pytest.mark.parametrize("laid", [pytest.param(unpaired, marks=slow), pairs])
def test_an_image_too_small_for_the_discriminator_is_named_before_training(command, laid):
    laid([*MIXED, (20, 32)])
    flags = [*WHOLE, "--dataset_mode", "unaligned", *CYCLE] if laid is unpaired else WHOLE
    said = refused(command, *flags)
    assert "6.png" in said and "20x32" in said
    fixes = ["--netD pixel", "--preprocess resize_and_crop"]
    assert [fix for fix in fixes if fix not in said] == []
    for fix in fixes:
        trains(command, *flags, *fix.split(), epochs=1)


def test_without_a_discriminator_small_images_train(command):
    pairs([*MIXED, (8, 8)])
    trains(command, *WHOLE, "--lambda_GAN", "0", epochs=1)


@pytest.mark.parametrize(("before", "after"), [(32, 48), pytest.param(48, 32, marks=slow)])
@pytest.mark.parametrize("gan_mode", ["lsgan", pytest.param("wgangp", marks=slow)])
@pytest.mark.parametrize("model", [["--model", "pix2pix"], pytest.param(CYCLE, marks=slow)])
def test_a_resume_with_another_crop_trains_with_the_pool_of_before(
    command, model, before, after, gan_mode
):
    if "pix2pix" in model:
        pairs([(80, 72)] * 4)
    else:
        unpaired([(80, 72)] * 4)
    flags = [*model, "--pool_size", "3", "--gan_mode", gan_mode, "--batch_size", "2"]
    trains(command, *flags, "--crop_size", before)
    more = ["--continue_train", "--crop_size", after]
    trains(command, *flags, *more, epochs=9)
    state = torch.load(RUN / "latest_state.pth", weights_only=True)
    sizes = [i.shape[-1] for pool in state["pools"][0].values() for i in pool["images"]]
    assert len(sizes) % 3 == 0 and sizes.count(after) > len(sizes) / 2  # those of before leave
