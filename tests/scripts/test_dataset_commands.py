"""combine_A_and_B and make_dataset_aligned: the names, flags and files that people know."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import draw, refusal
from PIL import Image
from support.preparing import (
    ROOT,
    complaint,
    contents,
    draw_folder,
    halves,
    load_script,
    pixels,
    trains,
)

from data.files.image_files import load_image
from data.image_folder import IMG_EXTENSIONS

SPLITS = ("train", "val", "test")

IMAGES = [extension for extension in IMG_EXTENSIONS if extension != ".npy"]  # an array


combine_main = load_script("combine_A_and_B").main
aligned_main = load_script("make_dataset_aligned").main


def folders(root: Path, names: str = "1.png 2.bmp 3.tif") -> list[str]:
    """Write A and B with three splits; return combine_A_and_B's flags."""
    for split in SPLITS:
        for side in "AB":
            draw_folder(root / side / split, names.replace("*", side))
    for path in (root / "B").rglob("*.*"):
        Image.eval(Image.open(path), lambda value: 255 - value).save(path)
    paths = [f"--fold_{side}={root / side}" for side in ("A", "B", "AB")]
    return [*paths, "--no_multiprocessing"]


def test_combine_puts_A_left_and_B_right_under_As_name(tmp_path):
    combine_main(folders(tmp_path))
    expected = {f"{split}/{name}" for split in SPLITS for name in ("1.png", "2.bmp", "3.tif")}
    assert set(contents(tmp_path / "AB")) == expected
    for name in expected:
        for half, side in zip(halves(tmp_path / "AB" / name), "AB", strict=True):
            assert np.array_equal(half, pixels(tmp_path / side / name))


@pytest.mark.parametrize("extension", [*IMAGES, ".JPG", ".PNG"])
def test_combine_writes_every_format_that_it_reads(tmp_path, extension):
    combine_main(folders(tmp_path, f"1{extension}"))
    written = "1.gif.png" if extension == ".gif" else f"1{extension}"  # GIF would cost colours
    for half, side in zip(halves(tmp_path / "AB/val" / written), "AB", strict=True):
        source = np.asarray(load_image(tmp_path / side / "val" / f"1{extension}"), int)
        assert np.abs(half - source).mean() < 4  # of 255: what a lossy format costs


@pytest.mark.slow
def test_combine_starts_from_the_root_as_it_is_typed_and_equals_one_process(tmp_path):
    flags = folders(tmp_path)
    combine_main(flags)
    flags = [*flags[:2], "--fold_AB", str(tmp_path / "many")]
    command = [sys.executable, "datasets/combine_A_and_B.py", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"9 pairs are in {tmp_path / 'many'}" in done.stdout
    assert contents(tmp_path / "many") == contents(tmp_path / "AB")


@pytest.mark.parametrize("number", [1, 2, 3, 100])
def test_num_imgs_takes_the_first_of_each_split(tmp_path, number):
    combine_main([*folders(tmp_path), "--num_imgs", str(number)])
    names = ["1.png", "2.bmp", "3.tif"][:number]
    assert set(contents(tmp_path / "AB")) == {f"{s}/{n}" for s in SPLITS for n in names}


@pytest.mark.parametrize("number", ["-1", "few"])
def test_combine_refuses_a_number_that_is_none(tmp_path, capfd, number):
    args = [*folders(tmp_path), "--num_imgs", number]
    complaint(capfd, combine_main, args, "--num_imgs")
    assert not (tmp_path / "AB").exists()


def test_use_AB_pairs_name_A_with_name_B(tmp_path):
    flags = folders(tmp_path, "1_*.png x_y_*.png")
    draw((80, 72)).save(tmp_path / "A" / "train" / "plain.png")
    combine_main([*flags, "--use_AB"])
    names = {f"{split}/{name}.png" for split in SPLITS for name in ("1", "x_y")}
    assert set(contents(tmp_path / "AB")) == names
    for name in names:
        for half, side in zip(halves(tmp_path / "AB" / name), "AB", strict=True):
            source = tmp_path / side / name.replace(".png", f"_{side}.png")
            assert np.array_equal(half, pixels(source))


@pytest.mark.parametrize("flag", ["", "--use_AB"])
def test_combine_names_the_missing_partner_before_it_writes(tmp_path, capfd, flag):
    flags = [*folders(tmp_path, "1_*.png" if flag else "1.png"), *flag.split()]
    missing = next((tmp_path / "B" / "val").iterdir())
    missing.unlink()
    complaint(capfd, combine_main, flags, "--fold_B", str(missing))
    assert not (tmp_path / "AB").exists()


@pytest.mark.parametrize("parallel", [False, True])
def test_combine_names_two_sizes(tmp_path, capfd, parallel):
    flags = folders(tmp_path)[: 3 if parallel else 4]
    draw((70, 72)).save(tmp_path / "B" / "train" / "1.png")
    complaint(capfd, combine_main, flags, "A/train/1.png", "80x72", "B/train/1.png", "70x72")


def test_combine_names_a_missing_folder(tmp_path, capfd):
    flags = folders(tmp_path)
    (tmp_path / "A").rename(tmp_path / "elsewhere")
    complaint(capfd, combine_main, flags, "--fold_A", str(tmp_path / "A"))
    draw_folder(tmp_path / "A", "1")
    complaint(capfd, combine_main, flags, "--fold_A", str(tmp_path / "A"), "train, val, test")
    assert not (tmp_path / "AB").exists()


@pytest.mark.parametrize("flag", ["", "--use_AB"])
def test_combine_refuses_when_there_is_nothing_to_pair(tmp_path, capfd, flag):
    flags = [*folders(tmp_path), *flag.split()]  # no name has _A
    if not flag:
        for path in (tmp_path / "A").rglob("*.*"):
            path.unlink()
    complaint(capfd, combine_main, flags, "--fold_A", str(tmp_path / "A"))


def test_combine_names_an_output_that_is_a_file(tmp_path, capfd):
    flags = folders(tmp_path)
    (tmp_path / "AB").write_text("")
    complaint(capfd, combine_main, flags, "--fold_AB", str(tmp_path / "AB"))


@pytest.mark.parametrize("side", "AB")
def test_combine_never_overwrites_its_input(tmp_path, capfd, side):
    flags = folders(tmp_path)
    before = contents(tmp_path)
    flags[2] = f"--fold_AB={tmp_path / side}"
    complaint(capfd, combine_main, flags, "--fold_AB", str(tmp_path / side))
    assert contents(tmp_path) == before


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("name", ["val/1.png", "train/2.bmp", "test/3.tif"])
def test_combine_overwrites_no_other_image(tmp_path, capfd, name, parallel):
    flags = folders(tmp_path)[: 3 if parallel else 4]
    (tmp_path / "AB" / name).parent.mkdir(parents=True)
    (tmp_path / "AB" / name).write_bytes(b"a user's own")
    complaint(capfd, combine_main, flags, "--fold_AB", str(tmp_path / "AB" / name))
    assert (tmp_path / "AB" / name).read_bytes() == b"a user's own"
    (tmp_path / "AB" / name).unlink()
    combine_main(flags)  # as proposed; those that are there already are its own
    assert len(contents(tmp_path / "AB")) == 9


@pytest.mark.parametrize("flag", ["--fold_A", "--fold_B", "--fold_AB"])
def test_combine_wants_three_folders_in_one_line(tmp_path, capfd, flag):
    flags = [f for f in folders(tmp_path) if not f.startswith(f"{flag}=")]
    complaint(capfd, combine_main, flags, flag)


def test_the_model_trains_on_what_combine_made(tmp_path, command):
    combine_main(folders(tmp_path))
    trains(command, tmp_path / "AB")


def two_sets(root: Path, names: str = "1.png sub/2.png 3.bmp") -> Path:
    for phase in ("train", "test"):
        draw_folder(root / f"{phase}A", names)
        draw_folder(root / f"{phase}B", "x.png " + names)  # so that B's images are others
        (root / f"{phase}B" / "x.png").unlink()
    return root


def test_aligned_numbers_the_pairs_from_0000_in_sorted_order(tmp_path, caplog):
    root = two_sets(tmp_path / "set")
    before = contents(root)
    aligned_main(["--dataset-path", str(root)])
    after = contents(root)
    assert {name for name in after if name not in before} == {
        f"{phase}/{i:04d}.png" for phase in ("train", "test") for i in range(3)
    }
    assert {name: after[name] for name in before} == before
    for phase in ("train", "test"):
        for i, name in enumerate(("1.png", "3.bmp", "sub/2.png")):
            A, B = halves(root / phase / f"{i:04d}.png")
            assert np.array_equal(A, pixels(root / f"{phase}A" / name))
            assert np.array_equal(B, pixels(root / f"{phase}B" / name))
    assert not any("names differ" in text for text in caplog.messages)


def test_aligned_says_that_names_differ(tmp_path, caplog):
    root = two_sets(tmp_path / "set")
    (root / "trainB" / "1.png").rename(root / "trainB" / "one.png")
    aligned_main(["--dataset-path", str(root)])
    (line,) = [text for text in caplog.messages if "names differ" in text]
    assert str(root / "train") in line and "sorted order" in line


@pytest.mark.parametrize("folder", ["trainA", "trainB", "testA", "testB"])
def test_aligned_names_a_missing_or_empty_folder(tmp_path, capfd, folder):
    root = two_sets(tmp_path / "set")
    (root / folder).rename(tmp_path / "elsewhere")
    for _ in range(2):
        args = ["--dataset-path", root]
        line = complaint(capfd, aligned_main, args, "--dataset-path", str(root / folder))
        assert "--dataroot" not in line  # which is no flag of this script
        (root / folder).mkdir(exist_ok=True)


def test_aligned_names_the_numbers_and_sizes_that_differ(tmp_path, capfd):
    root = two_sets(tmp_path / "set")
    draw((80, 70)).save(root / "trainB" / "3.bmp")
    words = ["trainA/3.bmp", "trainB/3.bmp", "72", "70"]
    refusal(lambda: aligned_main(["--dataset-path", str(root)]), *words)
    (root / "trainB" / "3.bmp").unlink()
    words = ["--dataset-path", "trainA has 3", "trainB 2"]
    complaint(capfd, aligned_main, ["--dataset-path", root], *words)


def test_aligned_writes_all_pairs_or_none(tmp_path, capfd):
    root = two_sets(tmp_path / "set")
    (root / "trainB" / "3.bmp").write_bytes(b"")
    before = contents(root)
    complaint(capfd, aligned_main, ["--dataset-path", root], "trainB/3.bmp")
    assert contents(root) == before and not (root / "train").exists()


@pytest.mark.parametrize("name", ["train/0000.png", "test/0002.png", "test/0001.png/x.txt"])
def test_aligned_overwrites_nothing(tmp_path, capfd, name):
    root = two_sets(tmp_path / "set")
    (root / name).parent.mkdir(parents=True)
    (root / name).write_bytes(b"a user's own")
    before = contents(root)
    words = ["--dataset-path", str(root / name).removesuffix("/x.txt"), "not overwritten"]
    complaint(capfd, aligned_main, ["--dataset-path", root], *words)
    assert contents(root) == before


def test_aligned_again_changes_nothing_and_says_what_else_is_there(tmp_path, caplog):
    root = two_sets(tmp_path / "set")
    aligned_main(["--dataset-path", str(root)])
    draw((8, 8)).save(root / "train" / "mine.png")
    before = contents(root)
    caplog.clear()
    aligned_main(["--dataset-path", str(root)])
    assert contents(root) == before
    assert f"{root / 'train'} holds 1 other images, such as mine.png" in caplog.messages


def test_aligned_wants_its_folder_in_one_line(capfd):
    complaint(capfd, aligned_main, [], "--dataset-path")


def test_the_model_trains_on_what_aligned_made(tmp_path, command):
    aligned_main(["--dataset-path", str(two_sets(tmp_path / "set"))])
    trains(command, tmp_path / "set")
