"""The doctor names every file that is damaged or unusual, and what will be done with it."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FACADES, draw, draw_pairs, needs_facades, refusal
from PIL import Image

from data.checks.image_check import inspect
from data.files.high_depth_output import png_of
from scripts import doctor

Command = Callable[..., SimpleNamespace]


def save(folder: Path, name: str, image: Image.Image, **how: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, **how)
    return folder / name


def make(folder: Path, kind: str) -> Path:
    """Write an image with one peculiarity."""
    photo, folder = draw((40, 30)), folder / "train"
    if kind in ("truncated", "zero", "text", "noise"):
        path = save(folder, f"{kind}.png", photo)
        whole = path.read_bytes()
        parts = {"truncated": whole[: len(whole) // 2], "zero": b"", "text": b"hello"}
        path.write_bytes(parts.get(kind, os.urandom(3000)))
        return path
    if kind in ("16-bit grey", "16-bit RGB"):
        path = folder / f"{kind}.png"
        folder.mkdir(parents=True)
        if kind == "16-bit grey":
            Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40)).save(path)
        else:
            path.write_bytes(png_of(np.arange(4800, dtype=np.uint16).reshape(40, 40, 3) * 13))
        return path
    if kind == "animated":
        return save(folder, "a.gif.webp", photo, format="WEBP", save_all=True, append_images=[
            photo.rotate(90), photo.rotate(180)])  # fmt: skip
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        return save(folder, "a.jpg", photo, exif=exif)
    images = {
        "wrong extension": ("a.jpg", photo, {"format": "PNG"}),
        "palette": ("a.png", photo.convert("P"), {}),
        "alpha": ("a.png", photo.convert("RGBA"), {}),
        "CMYK": ("a.jpg", photo.convert("CMYK"), {}),
        "bilevel": ("a.png", photo.convert("1"), {}),
        "plain": ("a.png", photo, {}),
        "grey": ("a.png", photo.convert("L"), {}),
    }
    name, image, how = images[kind]
    return save(folder, name, image, **how)


def test_a_folder_named_by_a_dot_has_the_same_pairs(command, tmp_path, monkeypatch, caplog):
    for side in "AB":
        for i in range(2):
            save(tmp_path / "data" / f"train{side}", f"{i}.png", draw((40, 30), seed=i))
    (tmp_path / "data" / "test.csv").write_text("a,b")  # no phase
    said = []
    for root in (tmp_path / "data", "."):
        monkeypatch.chdir(tmp_path / "data")
        caplog.clear()
        done = command("scripts.doctor", "--dataroot", root, "--num_threads", 0)
        assert done.status == 0, done.err
        said.append(caplog.messages[-1])
    assert said[0] == said[1] and said[0].startswith("4 images, 0 bad")


FATAL = {
    "truncated": "cannot be read",
    "zero": "is empty",
    "text": "unknown format",
    "noise": "unknown format",
}
HARMLESS = {
    "16-bit grey": "holds uint16, 1 channels",
    "16-bit RGB": "holds uint16, 3 channels",
    "wrong extension": "is a PNG file despite its extension",
    "palette": "has a palette",
    "alpha": "alpha channel; it is ignored",
    "CMYK": "is in CMYK",
    "bilevel": "is in 1",
    "animated": "has 3 frames; only the first",
    "turned": "it is turned upright",
}


@pytest.mark.parametrize("kind", FATAL)
def test_what_would_stop_a_training_is_named_and_is_status_1(
    command: Command, tmp_path: Path, caplog, kind: str
) -> None:
    path = make(tmp_path / "set", kind)
    draw((40, 30)).save(tmp_path / "set/train/good.png")
    result = command("scripts.doctor", "--dataroot", tmp_path / "set", "--num_threads", "1")
    assert result.status == 1 and len(result.err.splitlines()) == 1
    assert "1 of 2 images" in result.err and "--on_bad_image skip" in result.err
    (line,) = [r.message for r in caplog.records if r.message.startswith("BAD")]
    assert str(path) in line and FATAL[kind] in line


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_is_only_unusual_is_remarked_upon(
    command: Command, tmp_path: Path, caplog, kind: str
) -> None:
    path = make(tmp_path / "set", kind)
    small = ("--load_size", "48", "--crop_size", "32")
    result = command("scripts.doctor", "--dataroot", tmp_path / "set", "--num_threads", "1", *small)
    assert result.status == 0, result.err
    (line,) = [r.message for r in caplog.records if str(path) in r.message]
    assert HARMLESS[kind] in line


@pytest.mark.parametrize("kind", [*FATAL, *HARMLESS, "plain", "grey"])
def test_the_doctor_agrees_with_training(command: Command, tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / "set", kind)
    fatal = any(finding.fatal for finding in inspect(str(path)))
    from data.files.image_files import load_image_or_array

    try:
        load_image_or_array(path)
        assert not fatal
    except ValueError:
        assert fatal


def test_plain_images_have_no_remark(tmp_path: Path) -> None:
    assert inspect(str(make(tmp_path / "a", "plain"))) == []
    assert inspect(str(make(tmp_path / "b", "grey"))) == []


def test_gigantic_images_are_remarked_upon_or_refused(tmp_path: Path, monkeypatch) -> None:
    path = str(make(tmp_path, "plain"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    (remark,) = inspect(path)
    assert "is very large (40x30)" in remark.what and not remark.fatal
    (refusal,) = inspect(path, max_pixels=100)
    assert refusal.fatal and "--max_pixels 100" in refusal.what


def test_the_limit_of_the_training_counts(command: Command, tmp_path: Path, caplog) -> None:
    make(tmp_path / "set", "plain")
    words = ["scripts.doctor", "--dataroot", tmp_path / "set", "--num_threads", "1"]
    small = ("--load_size", "48", "--crop_size", "32")
    assert command(*words, *small).status == 0
    done = command(*words, *small, "--max_pixels", "100")
    assert done.status == 1 and "1 of 1 image would stop a training" in done.err
    assert any("--max_pixels 100" in line for line in caplog.messages)


def test_colorization_takes_no_more_than_8_bits(command: Command, tmp_path: Path, caplog) -> None:
    make(tmp_path / "set", "16-bit RGB")
    words = ["scripts.doctor", "--dataroot", tmp_path / "set", "--num_threads", "1"]
    small = ("--load_size", "48", "--crop_size", "32")
    done = command(*words, *small, "--model", "colorization")
    assert done.status == 1 and "1 of 1 image would stop a training" in done.err


def test_a_file_of_flags_chooses_the_model_and_the_dataset(
    command: Command, tmp_path: Path, caplog
) -> None:
    for side in "AB":
        for i in range(2):  # no pairs
            save(tmp_path / "set" / f"train{side}", f"{side}{i}.png", draw((40, 30), seed=i))
    (tmp_path / "train.yaml").write_text("model: cycle_gan\nload_size: 48\ncrop_size: 32\n")
    (tmp_path / "mode.yaml").write_text("dataset_mode: unaligned\nload_size: 48\ncrop_size: 32\n")
    words = ["scripts.doctor", "--dataroot", tmp_path / "set", "--num_threads", "1"]
    for file in ("train.yaml", "mode.yaml"):
        done = command(*words, "--config", tmp_path / file)
        assert done.status == 0, done.err
    assert command(*words).status == 1


def test_one_side_of_the_test_images_is_enough(command: Command, tmp_path: Path, caplog) -> None:
    for folder in ("trainA", "trainB", "testA"):
        for i in range(2):
            save(tmp_path / "set" / folder, f"{i}.png", draw((40, 30), seed=i))
    save(tmp_path / "set" / "validation", "0.png", draw((40, 30)))
    words = ["scripts.doctor", "--dataroot", tmp_path / "set", "--num_threads", "1"]
    small = ("--load_size", "48", "--crop_size", "32")
    for model in ("cycle_gan", "pix2pix"):
        caplog.clear()
        done = command(*words, *small, "--model", model)
        assert done.status == 0, done.err
        assert not any(line.startswith("BAD") for line in caplog.messages)


def test_pairs_that_do_not_match_are_named(command: Command, tmp_path: Path, caplog) -> None:
    root = tmp_path / "set"
    save(root / "trainA", "1.png", draw((40, 30)))
    save(root / "trainB", "1.jpg", draw((50, 30)))
    save(root / "trainA", "2.png", draw((40, 30)))
    result = command("scripts.doctor", "--dataroot", root, "--num_threads", "1")
    assert result.status == 1
    assert "trainA/2.png: has no partner" in caplog.text
    assert "trainA/1.png: has 40x30, its partner 50x30 pixels" in caplog.text


def test_a_damaged_image_is_still_a_partner(command: Command, tmp_path: Path, caplog) -> None:
    for side in "AB":
        save(tmp_path / f"train{side}", "1.png", draw((40, 30)))
    (tmp_path / "trainB" / "1.png").write_bytes(b"")
    command("scripts.doctor", "--dataroot", tmp_path, "--num_threads", "1")
    assert "trainB/1.png: is empty" in caplog.text and "partner" not in caplog.text


def test_a_pair_of_odd_width_is_named_only_where_pairs_are_meant(
    command: Command, tmp_path: Path, caplog
) -> None:
    save(tmp_path / "set/train", "1.png", draw((41, 30)))
    assert command("scripts.doctor", "--dataroot", tmp_path / "set").status == 1
    assert "1.png: is 41 pixels wide" in caplog.text
    single = ["--dataset_mode", "single", "--num_threads", "1"]
    assert command("scripts.doctor", "--dataroot", tmp_path / "set", *single).status == 0


def test_a_link_to_nowhere_is_bad(command: Command, tmp_path: Path, caplog) -> None:
    root = draw_pairs(tmp_path / "set", count=1)
    (root / "train/x.png").symlink_to("nowhere.png")
    assert command("scripts.doctor", "--dataroot", root, "--num_threads", "1").status == 1
    assert "x.png: cannot be read" in caplog.text


def test_other_files_are_counted(command: Command, tmp_path: Path, caplog) -> None:
    root = draw_pairs(tmp_path / "set", count=1)
    (root / "notes.txt").write_text("x")
    (root / "train/a.psd").write_bytes(b"x")
    assert command("scripts.doctor", "--dataroot", root, "--num_threads", "1").status == 0
    assert "files that are ignored: 1 .psd, 1 .txt" in caplog.text


def test_a_folder_that_is_not_there_is_one_line(command: Command) -> None:
    result = command("scripts.doctor", "--dataroot", "nowhere")
    assert result.status == 2 and "nowhere does not exist" in result.err


@needs_facades
def test_the_facades_are_in_good_health(command: Command, caplog) -> None:
    result = command("scripts.doctor", "--dataroot", FACADES / "val", "--num_threads", "1")
    assert result.status == 0 and "100 images, 0 bad, 1 remark" in caplog.text
    assert f"{FACADES / 'val'}: expected train/ with A|B images" in caplog.text


@pytest.mark.parametrize(
    "names", [("{}A", "{}B"), ("{}_A", "{}_B"), ("{}_label", "{}_img")], ids=" ".join
)
def test_pairs_in_two_folders_may_have_any_width(command, tmp_path, caplog, names) -> None:
    for phase in ("train", "test"):
        for side, name in enumerate(names):
            folder = tmp_path / "d" / name.format(phase)
            folder.mkdir(parents=True)
            for i in range(2 + side):
                draw((41, 40), seed=i + 10 * side).save(folder / f"{i}.png")
    result = command("scripts.doctor", "--dataroot", tmp_path / "d", "--num_threads", "1")
    assert result.status == 1 and "pixels wide" not in caplog.text
    assert caplog.text.count("has no partner in the other folder") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--dataroot: name the folder of the images: --dataroot FOLDER"),
        (["."], "--dataroot: name the folder of the images: --dataroot ."),
        (["--model", "inpaint", "."], "--dataroot: name the folder of the images: --dataroot ."),
        (["--dataroott", "."], "--dataroott: unknown flag; did you mean --dataroot?"),
    ],
)
def test_a_command_without_its_folder_is_told_how_to_name_it(words: list[str], said: str) -> None:
    refusal(lambda: doctor.main(words), said)
