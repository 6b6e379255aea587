"""Results of images with holes: where the holes come from, shards, folders."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import TINY, draw, refusal, result_images
from PIL import Image
from support.holes import INPAINT, draw_photos, save_mask, saved_run

from inference.results import check_results_folder

CPU = ("--gpu_ids", "-1", "--num_threads", "0", "--preprocess", "none")


@pytest.fixture
def tested(command: Any, tmp_path: Path) -> Any:
    """Test an untrained run on images: `tested(*flags)`."""
    saved_run(tmp_path)
    root = draw_photos(tmp_path / "photos")
    place = ("--checkpoints_dir", tmp_path, "--name", "run", "--dataroot", root)
    return lambda *flags: command("test", *place, *CPU, *flags)


@pytest.fixture
def tested_run(command: Any, tmp_path: Path) -> Any:
    """Test an untrained run of flags: `tested_run("--guided", *flags of test.py)`."""

    def run(of_run: str, *flags: Any) -> Any:
        saved_run(tmp_path, *of_run.split())
        place = ("--checkpoints_dir", tmp_path, "--name", "run")
        root = draw_photos(tmp_path / "photos")
        return command("test", *place, "--dataroot", root, *CPU, *flags)

    return run


def notes() -> str:
    page = Path("results/run/test_latest/index.html").read_text()
    return re.sub(r"<[^>]+>", "", page)


def test_the_page_says_where_the_holes_come_from(tested: Any, tmp_path: Path) -> None:
    assert tested("--seed", 3).status == 0
    assert "where an image is transparent, else drawn from --seed 3" in notes()
    assert "(--masks both)" in notes()
    save_mask(tmp_path / "holes" / "0.png")
    assert tested("--mask_dir", tmp_path / "holes").status == 0
    assert "the masks of --mask_dir, of the same name or drawn from --seed 0" in notes()


def test_the_masks_of_the_training_are_those_of_a_test(tested_run: Any, tmp_path: Path) -> None:
    mask = save_mask(tmp_path / "holes" / "any.png")
    assert tested_run(f"--mask_dir {tmp_path / 'holes'}").status == 0
    assert "the masks of --mask_dir" in notes()
    images = result_images("run")
    assert np.array_equal((images["0_real_A.png"] != images["0_real_B.png"]).any(2), mask)
    assert tested_run(f"--mask_dir {tmp_path / 'holes'}", "--mask_dir", "").status == 0
    assert "where an image is transparent" in notes()


def test_masks_of_the_training_that_are_gone_are_said(tested_run: Any, caplog: Any) -> None:
    assert tested_run("--mask_dir gone").status == 0
    assert "--mask_dir gone of the training is not there; holes are drawn" in caplog.text
    result = tested_run("--mask_dir gone", "--mask_dir", "gone")
    assert result.status == 2 and "--mask_dir" in result.err


def test_the_page_of_a_guided_run_says_where_the_lines_come_from(
    tested_run: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "photos" / "test_sketch"
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new("L", (48, 40), 255).save(folder / f"{i}.png")
    assert tested_run("--guided").status == 0
    assert "Lines, black in the hole: those in test_sketch/." in notes()
    shutil.rmtree(folder)
    pytest.importorskip("skimage")
    assert tested_run("--guided").status == 0
    assert "Lines, black in the hole: edges of the image." in notes()


@pytest.mark.parametrize(("of_run", "given", "said"), [(0, 1, True), (1, 2, False), (1, 0, False)])
def test_noise_that_a_run_does_not_know_is_said(
    tested_run: Any, caplog: Any, of_run: float, given: float, said: bool
) -> None:
    assert tested_run(f"--hole_noise {of_run}", "--hole_noise", given).status == 0
    assert (f"--hole_noise {given}: the run was trained without noise" in caplog.text) == said


@pytest.mark.parametrize("model", ["test", "pix2pix", "cycle_gan", "spade"])
def test_another_model_names_that_of_the_run(tested_run: Any, model: str) -> None:
    result = tested_run("", "--model", model)
    assert result.status == 2
    assert ("--model inpaint" if model != "spade" else "--netG") in result.err


def test_shards_give_the_images_of_the_whole(tested: Any) -> None:
    assert tested().status == 0
    whole = result_images("run")
    shutil.rmtree("results")
    for shard in (1, 0):
        assert tested("--num_shards", 2, "--shard_id", shard).status == 0
    assert tested("--page_only").status == 0
    found = result_images("run")
    assert found.keys() == whole.keys() and len(whole) == 12
    assert all(np.array_equal(found[name], whole[name]) for name in whole)
    assert not np.array_equal(whole["0_fake_B.png"], whole["0_real_B.png"])


def test_known_pixels_are_those_of_the_file_to_the_byte(tested: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "photos" / "test" / "0.png")
    mask = [save_mask(tmp_path / "photos" / "test_mask" / f"{i}.png") for i in range(3)][0]
    assert tested("--precision", "bf16").status == 0
    images = result_images("run")
    for kind in ("real_A", "fake_B", "real_B"):
        assert np.array_equal(images[f"0_{kind}.png"][~mask], noise[~mask]), kind


def test_finished_images_are_skipped_until_their_masks_change(tested: Any, tmp_path: Path) -> None:
    for i in range(3):
        save_mask(tmp_path / "photos" / "test_mask" / f"{i}.png")
    assert tested().status == 0
    before = result_images("run")
    save_mask(tmp_path / "photos" / "test_mask" / "1.png", box=(2, 2, 9, 9))
    assert tested("--skip_finished").status == 0
    after = result_images("run")
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed >= {"1_real_A.png", "1_fake_B.png"} and all(n.startswith("1_") for n in changed)


def test_an_image_of_which_nothing_is_filled_does_not_end_a_test(
    tested_run: Any, tmp_path: Path
) -> None:
    for i in range(3):  # the holes of the first two lie outside the crop
        box = (0, 0, 1, 1) if i < 2 else (20, 16, 30, 26)
        save_mask(tmp_path / "photos" / "test_mask" / f"{i}.png", box=box)
    strong = "--init_type normal --init_gain 0.4"
    flags = ["--hole_noise", 1, "--num_variants", 2, "--preprocess", "crop", "--crop_size", 32]
    result = tested_run(strong, *flags, "--batch_size", 1)
    assert result.status == 0, result.err
    assert notes().count("variants 0.0 grey levels apart") == 2
    assert notes().count("grey levels apart") == 3


def test_whole_images_are_trained_with_masks_of_other_sizes(command: Any, tmp_path: Path) -> None:
    root = draw_photos(tmp_path / "photos")
    for i in range(3):
        save_mask(tmp_path / "masks" / f"other{i}.png", size=(16 + i, 20), box=(2, 2, 9, 9))
    flags = ["--dataroot", root, "--name", "whole", "--mask_dir", tmp_path / "masks", "--no_html"]
    done = command("train", *TINY, *INPAINT, *flags, "--preprocess", "none")
    assert done.status == 0, done.err


@pytest.mark.parametrize("flag", ["--label_dir", "--mask_dir"])
def test_results_do_not_go_among_the_files_that_flags_name(tmp_path: Path, flag: str) -> None:
    opt = SimpleNamespace(dataroot=str(tmp_path / "d"), phase="test", dataset_mode="aligned")
    opt.results_dir = str(tmp_path / "maps" / "out")
    vars(opt)[flag.removeprefix("--")] = str(tmp_path / "maps")
    refusal(lambda: check_results_folder(opt), "--results_dir", "lies in the input folder")
    (tmp_path / "d" / "testA1").mkdir(parents=True)
    opt.results_dir = str(tmp_path / "d" / "testA1" / "out")
    refusal(lambda: check_results_folder(opt), "--results_dir", "lies in the input folder")


def test_results_do_not_go_among_the_images_of_the_root(tested: Any, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    for phase in ("train", "val", "test"):
        shutil.rmtree(root / phase)
    draw((48, 40)).save(root / "a.png")
    result = tested("--results_dir", root / "results")
    assert result.status == 2 and "lies in the input folder" in result.err
    assert tested().status == 0 and "a_fake_B.png" in result_images("run")
