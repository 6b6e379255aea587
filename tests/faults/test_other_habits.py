"""Odd folders, files that are none, closed streams, full disks, workers that are killed."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs
from PIL import Image

from data.image_folder import list_images
from models.networks import define_D, define_G
from translator import Translator

Command = Callable[..., SimpleNamespace]
ROOT = Path(__file__).resolve().parents[2]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and signals of POSIX")


def trained(command: Command, root: Path, *flags: object) -> SimpleNamespace:
    result = command("train", *TINY, "--name", "r", "--no_html", "--dataroot", root, *flags)
    assert "Traceback" not in result.err and len(result.err.splitlines()) <= 1
    return result


# Folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["pix2pix", "cycle_gan", "colorization"])
@pytest.mark.parametrize("inside", ["", "readme.txt", ".git/x", ".trainA/x.png", "sub/readme.txt"])
def test_a_folder_without_images_is_said_to_be_one(command, tmp_path, model, inside) -> None:
    root = tmp_path / "d"
    root.mkdir()
    if inside:
        (root / inside).parent.mkdir(exist_ok=True)
        (root / inside).write_text("x")
    result = trained(command, root, "--model", model)
    assert result.status == 2 and f"--dataroot {root}: expected" in result.err
    assert "verbose" not in result.err


NAMES = ["x y", "$HOME", "it's", "a\nb", "ä", "-x"]


@posix
@pytest.mark.parametrize("name", NAMES)
def test_a_path_that_is_proposed_can_be_pasted(command, tmp_path, name) -> None:
    draw_pairs(tmp_path / "d" / name)
    result = trained(command, tmp_path / "d")
    proposed = result.err.partition("; try ")[2].strip()
    shown = ["sh", "-c", f'printf "%s\\n" {proposed}']
    if "\n" in name:
        shown[0] = "bash"
    words = subprocess.run(shown, capture_output=True, text=True, check=True).stdout
    assert words == f"--dataroot\n{tmp_path / 'd' / name}\n"


@posix
@pytest.mark.parametrize("phase", ["'train'", "train data ", "Train "])
def test_a_phase_that_is_proposed_can_be_pasted(command, tmp_path, phase) -> None:
    root = draw_pairs(tmp_path / "d")
    for found in ("train", "val", "test"):
        for side in "AB" if found == "train" else "":
            shutil.copytree(root / found, root / f"{phase}{side}")
        shutil.rmtree(root / found)
    result = trained(command, root)
    assert result.status == 2
    words = shlex.split(result.err.partition("; try ")[2])
    assert trained(command, root, *words).status == 0


def test_links_to_folders_above_lead_to_no_image_twice(command, tmp_path) -> None:
    root = tmp_path / "d"
    for side in "AB":
        (root / f"train{side}").mkdir(parents=True)
        for i in range(2):
            draw((72, 72), seed=i).save(root / f"train{side}" / f"{i}.png")
        (root / f"train{side}" / "loop").symlink_to("..")
        (root / f"train{side}" / "home").symlink_to(tmp_path)
    assert len(list_images(root / "trainA").images) == 2
    assert trained(command, root).status == 0


@pytest.mark.parametrize("names", [("A", "B"), ("input", "target")])
def test_pairs_in_two_folders_of_a_phase_are_never_cut_in_halves(command, tmp_path, names) -> None:
    for name in names:
        (tmp_path / "d" / "train" / name).mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, (72, 72, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "d" / "train" / name / "0.png")
    result = trained(command, tmp_path / "d")
    assert result.status == 2 and "hold pairs of single images, not A|B images" in result.err
    places = re.findall(r"move them to (\S+) and (\S+)", result.err)[0]
    for name, place in zip(names, places, strict=True):
        (tmp_path / "d" / "train" / name).rename(place)
    (tmp_path / "d" / "train").rmdir()
    assert trained(command, tmp_path / "d").status == 0


def test_classes_of_ab_images_in_two_folders_train(command, tmp_path) -> None:
    for name in ("cats", "dogs"):
        shutil.copytree(draw_pairs(tmp_path / name) / "train", tmp_path / "d" / "train" / name)
    assert trained(command, tmp_path / "d").status == 0


def test_a_name_too_long_for_a_folder_is_refused(command, pairs) -> None:
    result = command("train", *TINY, "--dataroot", pairs, "--name", "n" * 300)
    assert result.status == 2 and "--name nnn" in result.err and "longer than" in result.err


# Files that are no images -------------------------------------------------------------------

OTHERS = {
    "a web page": b"<!DOCTYPE html><title>404</title>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
    "a file packed by gzip": b"\x1f\x8b\x08\x00" + bytes(40),
    "a zip archive": b"PK\x03\x04" + bytes(40),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_there_in_place_of_an_image_is_named(command, pairs, kind) -> None:
    (pairs / "train" / "1.png").write_bytes(OTHERS[kind])
    result = trained(command, pairs)
    assert result.status == 2 and f"train/1.png: cannot be read as an image ({kind}" in result.err


@posix
def test_a_pipe_is_no_image_and_nobody_waits_for_it(command, pairs) -> None:
    assert trained(command, pairs).status == 0
    for phase in ("train", "test"):
        os.mkfifo(pairs / phase / "9.png")
    assert "train/9.png: is no file" in trained(command, pairs).err
    result = command("test", *TEST)
    assert result.status == 2 and "test/9.png: " in result.err and "is no file" in result.err
    doctor = command("scripts.doctor", "--dataroot", pairs, "--num_threads", 1)
    assert doctor.status == 1 and "2 of " in doctor.err
    t = Translator.load("checkpoints/r", gpu_ids=-1)
    with pytest.raises(ValueError, match="is no file"):
        t(pairs / "test" / "9.png")
    assert trained(command, pairs, "--on_bad_image", "skip").status == 0


# Weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(command, pairs, value) -> None:
    assert trained(command, pairs).status == 0
    path = Path("checkpoints/r/latest_net_G.pth")
    state = torch.load(path, weights_only=True)
    state["model.model.0.weight"][0, 0, 0, 0] = value
    torch.save(state, path)
    result = command("test", *TEST)
    assert result.status == 2
    assert f"{path}: model.model.0.weight holds NaN or infinite values" in result.err


@pytest.mark.parametrize("prefix", ["generator.", "netG.", "model.G."])
@pytest.mark.parametrize("net", ["unet_64", "resnet_6blocks"])
def test_a_generator_with_a_prefix_needs_no_flags(command, tmp_path, prefix, net) -> None:
    weights = {
        f"{prefix}{k}": v for k, v in define_G(3, 3, 6, net, "instance").state_dict().items()
    }
    weights |= {f"netD.{k}": v for k, v in define_D(6, 4, "basic").state_dict().items()}
    Path("checkpoints/f").mkdir(parents=True)
    torch.save({"state_dict": weights}, "checkpoints/f/latest_net_G.pth")
    draw_pairs(tmp_path / "d", count=1, size=(64, 64))
    flags = ["--name", "f", "--dataroot", tmp_path / "d", "--gpu_ids", "-1", "--num_threads", "0"]
    result = command("test", *flags)
    assert result.status == 0, result.err


def test_a_folder_in_place_of_weights_is_named(command, pairs) -> None:
    assert trained(command, pairs).status == 0
    path = Path("checkpoints/r/latest_net_G.pth")
    path.unlink()
    path.mkdir()
    assert f"{path}: is a folder" in command("test", *TEST).err


@pytest.mark.parametrize("flag", [["--netD", "pixel"], ["--ndf", "6"], ["--n_layers_D", "2"]])
def test_a_resume_names_the_flag_of_d_that_has_changed(command, pairs, flag) -> None:
    more = ["--netD", "n_layers"] if "--n_layers_D" in flag else []
    assert trained(command, pairs, *more).status == 0
    result = trained(command, pairs, *more, *flag, "--continue_train", "--n_epochs", 2)
    assert result.status == 2
    assert f"{flag[0]} " in result.err.partition("; changed since it was saved: ")[2]


# Streams, disks, workers --------------------------------------------------------------------


def line_of(what: str, *flags: object) -> str:
    return shlex.join(map(str, [sys.executable, ROOT / what, *flags]))


@posix
@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_commands_run_with_closed_streams(pairs, tmp_path, closed) -> None:
    train = line_of("train.py", *TINY, "--name", "r", "--dataroot", pairs, "--n_epochs", 2)
    test = line_of("test.py", *TEST)
    for line in (train, test):
        done = subprocess.run(f"{line} {closed}", shell=True, cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done
        assert b"Traceback" not in done.stderr + done.stdout
    assert (tmp_path / "checkpoints/r/latest_net_G.pth").exists()
    assert (tmp_path / "results/r/test_latest/index.html").exists()
    assert "(epoch: 2" in (tmp_path / "checkpoints/r/loss_log.txt").read_text()


@posix
def test_a_full_disk_is_named_and_is_no_mistake_of_the_user(command, pairs, monkeypatch) -> None:
    assert trained(command, pairs).status == 0

    def save(self: Image.Image, path: Path, *args: object, **how: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    result = command("test", *TEST)
    assert result.status == 1
    assert "_real_A.png: could not be written (No space left on device)" in result.err


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = stat.read_text().rpartition(")")[2].split()[1]
            found += [int(stat.parent.name)] if int(parent) == pid else []
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS])
def test_a_worker_that_dies_in_the_middle_of_a_step_costs_nothing(tmp_path, number) -> None:
    """Not while the training waits for images: a step takes nearly all of the time."""
    draw_pairs(tmp_path / "d", size=(500, 500))  # else the training loads them itself
    slow = [*TINY, "--ngf", "48", "--num_threads", "1", "--cache", "none"]
    flags = ["--n_epochs", 1000, "--save_epoch_freq", 5000, "--save_latest_freq", 100000]
    line = line_of("train.py", *slow, *flags, "--dataroot", tmp_path / "d", "--name", "r")
    process = subprocess.Popen(
        shlex.split(line), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "checkpoints/r/loss_log.txt"
    end = time.monotonic() + 120
    while not (log.exists() and "(epoch: 3" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.1)
    for child in children_of(process.pid):
        os.kill(child, number)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 1 and "Traceback" not in err, err
    (said,) = [one for one in err.splitlines() if one.startswith("train.py: ")]
    assert "saved in epoch" in said and "--num_threads 0" in said
    assert ("shared memory" in said) == (number == signal.SIGBUS)
    assert (tmp_path / "checkpoints/r/latest_net_G.pth").exists()
