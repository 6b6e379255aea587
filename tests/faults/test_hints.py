"""Every fix that an error proposes is followed here, and leads to right data, never to garbage."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from conftest import draw, draw_pairs
from PIL import Image

from data.colorization_dataset import ColorizationDataset
from options.test_options import TestOptions
from options.train_options import TrainOptions
from scripts import make_pairs
from util.registry import find_class

SIZE = (40, 30)
MODELS = {"aligned": "pix2pix", "unaligned": "cycle_gan", "colorization": "colorization"}


def photo(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(size, seed).save(path)
    return path


def inverted(path: Path, seed: int, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.eval(draw(size, seed), lambda value: 255 - value).save(path)
    return path


def two_folders(root: Path, A: str, B: str, count: int = 2) -> Path:
    """Write pairs: B is A inverted."""
    for i in range(count):
        photo(root / A / f"{i}.png", i)
        inverted(root / B / f"{i}.png", i)
    return root


def options(mode: str, root: Path, *flags: Any, test: bool = False) -> Any:
    kind = TestOptions if test else TrainOptions
    given = ["--dataset_mode", mode, "--model", MODELS.get(mode, "pix2pix"), "--gpu_ids", -1]
    return kind().read([*given, "--preprocess", "none", "--no_flip", "--dataroot", root, *flags])


def dataset(mode: str, root: Path, *flags: Any, **how: Any) -> Any:
    return find_class("data", mode, "--dataset_mode")(options(mode, root, *flags, **how))


def is_right(data: Any) -> bool:
    """Return whether all items are whole images, and B is A inverted where they are pairs."""
    items = [data[i] for i in range(len(data))]
    whole = all(item["A_size"] == SIZE for item in items)
    if isinstance(data, ColorizationDataset) or "B" not in items[0]:
        return whole
    if data.opt.dataset_mode == "unaligned":
        return whole and all(item["B_size"] == SIZE for item in items)
    return whole and all(torch.allclose(item["A"], -item["B"], atol=1e-6) for item in items)


def error_of(action: Callable[[], Any]) -> str:
    with pytest.raises(ValueError) as caught:
        action()
    return str(caught.value)


def follow(message: str, root: Path) -> tuple[Path, list[str]] | None:
    """Do what an error proposes; return the new dataroot and further flags, or None without fix."""
    if found := re.search(r"did you mean (\S+)\?|try --dataroot (\S+?)(?:,|$)", message):
        return Path(found[1] or found[2]), []
    if found := re.search(r"try --phase (\S+)", message):
        return root, ["--phase", found[1]]
    if found := re.search(r"try python -m scripts.make_pairs (.*)$", message):
        words = shlex.split(found[1])
        make_pairs.main([*words, "--num_threads", "1"])
        return Path(words[-1]), []
    if found := re.search(r"try to rename (\S+) to (\S+) and (\S+) to (\S+)", message):
        for old, new in ((found[1], found[2]), (found[3], found[4])):
            Path(old).rename(root / new)
        return root, []
    if found := re.search(
        r"try to move them into (\S+?)(?:, the other set into (\S+?))?(,|$)", message
    ):
        move(root, {found[1]: "*.png"} | ({found[2]: "*.jpg"} if found[2] else {}))
        return root, []
    if found := re.search(r"move the images A into (\S+) and B of equal names into (\S+)", message):
        move(root, {found[1]: "*.png", found[2].rstrip(","): "*.jpg"})
        return root, []
    return None


def move(root: Path, to: dict[str, str]) -> None:
    for folder, pattern in to.items():
        Path(folder).mkdir(parents=True)
        for path in sorted(root.glob(pattern)):
            path.rename(Path(folder) / path.name)


def loose_sets(root: Path) -> Path:
    """Write A as .png and B as .jpg, in one folder."""
    for i in range(2):
        photo(root / f"{i}.png", i)
        photo(root / f"{i}.jpg", i)
    return root


def named(root: Path, old: str, new: str) -> Path:
    (root / old).rename(root / new)
    return root


def stitched(root: Path) -> Path:
    return draw_pairs(root, size=SIZE)


# The mode, and what lies there: it returns the dataroot that is given.
Case = tuple[str, Callable[[Path], Path]]
FOLLOWED: dict[str, Case] = {
    "a typing error": ("aligned", lambda p: stitched(p / "maps").with_name("map")),
    "the phase as the root": ("aligned", lambda p: stitched(p / "maps") / "train"),
    "a side as the root": ("aligned", lambda p: two_folders(p, "trainA", "trainB") / "trainA"),
    "a side of HD": ("aligned", lambda p: two_folders(p, "train_A", "train_B") / "train_B"),
    "images of HD": ("aligned", lambda p: two_folders(p, "train_label", "train_img") / "train_img"),
    "A|B images loose": ("aligned", lambda p: named(stitched(p), "train", "x") / "x"),
    "a folder too high": ("aligned", lambda p: stitched(p / "data" / "maps").parent),
    "A and B": ("aligned", lambda p: two_folders(p / "mine", "A", "B")),
    "A/train and B/train": ("aligned", lambda p: two_folders(p / "mine", "A/train", "B/train")),
    "another phase": ("aligned", lambda p: named(stitched(p), "train", "training")),
    "another phase of sides": ("aligned", lambda p: two_folders(p, "trainingA", "trainingB")),
    "another phase of HD": ("aligned", lambda p: two_folders(p, "training_A", "training_B")),
    "sets: a typing error": ("unaligned", lambda p: sets(p / "zebra").with_name("zebras")),
    "sets: a side as the root": ("unaligned", lambda p: sets(p) / "trainA"),
    "sets: a folder too high": ("unaligned", lambda p: sets(p / "zebra").parent),
    "sets: A and B": ("unaligned", lambda p: two_folders(p / "z", "A", "B")),
    "sets: loose": ("unaligned", lambda p: loose_sets(p / "z")),
    "sets: another phase": ("unaligned", lambda p: two_folders(p, "trainsA", "trainsB")),
    "photos: loose": ("colorization", lambda p: photo(p / "z" / "1.png", 1).parent),
    "photos: a folder too high": ("colorization", lambda p: photos(p / "z", "train").parent),
    "photos: another phase": ("colorization", lambda p: photos(p, "trains")),
    "inputs: a typing error": ("single", lambda p: photos(p, "photos") / "photo"),
}


def sets(root: Path) -> Path:
    return two_folders(root, "trainA", "trainB")


def photos(root: Path, *folders: str, size: tuple[int, int] = SIZE) -> Path:
    for folder in folders:
        for i in range(3):
            photo(root / folder / f"{i}.png", i, size)
    return root


@pytest.mark.parametrize("case", FOLLOWED)
def test_what_an_error_proposes_leads_to_right_data(tmp_path: Path, case: str) -> None:
    mode, build = FOLLOWED[case]
    root = build(tmp_path)
    message = error_of(lambda: dataset(mode, root))
    assert "\n" not in message
    followed = follow(message, root)
    assert followed, message
    assert is_right(dataset(mode, followed[0], *followed[1])), message


def wide(root: Path, *folders: str) -> Path:
    return photos(root, *folders, size=(40, 20))


# Single images, twice as wide as high: whoever reads their halves as pairs trains on garbage.
SINGLE: dict[str, Case] = {
    "in another phase": ("aligned", lambda p: wide(p, "trains")),
    "as one side of pix2pixHD": ("aligned", lambda p: wide(p, "train_A")),
    "in sides of other names": ("aligned", lambda p: wide(p, "train_input", "train_target")),
    "a folder too high": ("aligned", lambda p: wide(p / "z", "train").parent),
    "the phase as the root": ("aligned", lambda p: wide(p, "train") / "train"),
    "loose": ("aligned", lambda p: wide(p, "z") / "z"),
    "loose as sets": ("unaligned", lambda p: wide(p, "z") / "z"),
    "a typing error": ("aligned", lambda p: wide(p / "maps", "train").with_name("map")),
    "sets in another phase": ("unaligned", lambda p: wide(p, "trains")),
    "sets: one side": ("unaligned", lambda p: wide(p, "train_A")),
    "A and B of other names": (
        "aligned",
        lambda p: named(wide(p, "A", "B"), "B/0.png", "B/x.png"),
    ),
}


@pytest.mark.parametrize("case", SINGLE)
def test_nothing_is_proposed_that_cuts_single_images_in_two(tmp_path: Path, case: str) -> None:
    mode, build = SINGLE[case]
    root = build(tmp_path)
    message = error_of(lambda: dataset(mode, root))
    if (followed := follow(message, root)) is None:
        return
    try:
        data = dataset(mode, followed[0], *followed[1])
    except ValueError:
        return
    assert all(data[i]["A_size"] == (40, 20) for i in range(len(data))), message


def test_in_a_test_inputs_alone_may_be_given_to_the_model_test(tmp_path: Path) -> None:
    root = wide(tmp_path / "z", "new") / "new"
    message = error_of(lambda: dataset("aligned", root, test=True))
    assert "--model test if they are inputs alone" in message
    data = dataset("single", root, "--model", "test", test=True)
    assert [data[i]["A_size"] for i in range(3)] == [(40, 20)] * 3


# Errors about images ------------------------------------------------------------------------


def test_separate_images_of_odd_width_go_into_two_folders(tmp_path: Path) -> None:
    photo(tmp_path / "train" / "0.png", 0, (41, 30))
    message = error_of(lambda: dataset("aligned", tmp_path)[0])
    assert "put separate images into two folders, such as trainA/ and trainB/" in message
    two_folders(tmp_path / "new", "trainA", "trainB")
    assert is_right(dataset("aligned", tmp_path / "new"))


def test_partners_get_equal_names_or_are_converted(tmp_path: Path) -> None:
    root = two_folders(tmp_path, "trainA", "trainB")
    named(root, "trainB/1.png", "trainB/one.png")
    assert "give both images of a pair the same name" in error_of(lambda: dataset("aligned", root))
    named(root, "trainB/one.png", "trainB/1.psd")
    message = error_of(lambda: dataset("aligned", root))
    assert f"{root / 'trainB' / '1.psd'} is there, but .psd is not read: convert it" in message
    named(root, "trainB/1.psd", "trainB/1.png")
    assert is_right(dataset("aligned", root)) and len(dataset("aligned", root)) == 2
    photo(root / "trainA" / "1.jpg", 5)
    assert "have the same name; keep one" in error_of(lambda: dataset("aligned", root))
    (root / "trainA" / "1.jpg").unlink()
    assert is_right(dataset("aligned", root))


def test_sizes_that_differ_are_resized(tmp_path: Path) -> None:
    root = two_folders(tmp_path, "trainA", "trainB")
    inverted(root / "trainB" / "0.png", 0, (80, 60))
    assert "use --preprocess resize_and_crop" in error_of(lambda: dataset("aligned", root)[0])
    small = ["--load_size", 16, "--crop_size", 16, "--preprocess", "resize_and_crop"]
    item = dataset("aligned", root, *small)[0]
    assert (item["A"] + item["B"]).abs().mean() < 0.1


def test_a_smaller_crop_or_resizing_helps_small_images(tmp_path: Path) -> None:
    root = two_folders(tmp_path, "trainA", "trainB")
    message = error_of(lambda: dataset("aligned", root, "--preprocess", "crop")[0])
    assert "use a smaller --crop_size (and --load_size), or --preprocess resize_and_crop" in message
    for flags in (
        ["--preprocess", "crop", "--crop_size", 16, "--load_size", 16],
        ["--preprocess", "resize_and_crop"],
    ):
        item = dataset("aligned", root, *flags)[0]
        assert torch.allclose(item["A"], -item["B"], atol=0.02)


def test_the_number_of_channels_that_is_named_is_right(tmp_path: Path) -> None:
    root = two_folders(tmp_path, "trainA", "trainB")
    for i in range(2):
        (root / "trainA" / f"{i}.png").unlink()
        bands = np.random.default_rng(i).integers(0, 256, (30, 40, 5), np.uint8)
        how = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(root / "trainA" / f"{i}.tif", bands, **how)
    for wrong in (1, 3, 4, 6):
        message = error_of(lambda wrong=wrong: dataset("aligned", root, "--input_nc", wrong)[0])
        count = re.search(r"(?:has|some of the files) (\d+)", message)[1]
        assert dataset("aligned", root, "--input_nc", count)[0]["A"].shape == (5, 30, 40)


def test_a_larger_limit_reads_larger_images(tmp_path: Path) -> None:
    root = two_folders(tmp_path, "trainA", "trainB")
    message = error_of(lambda: dataset("aligned", root, "--max_pixels", 1199)[0])
    assert "40x30 are 1200 pixels, more than --max_pixels 1199; raise it" in message
    assert is_right(dataset("aligned", root, "--max_pixels", 1200))
