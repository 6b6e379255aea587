"""Images to arrays and files, options files, one-line errors."""

import io
import json
import logging
import os
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, draw
from PIL import Image

from data.transforms import to_tensor
from options.train_options import TrainOptions
from util.command import Output, python, run_command
from util.errors import RunStopped, with_source_line
from util.files import short_stem, write_options
from util.seeding import image_seed
from util.util import mkdirs, save_image, tensor2im


@pytest.mark.parametrize(
    ("value", "level"),
    [
        *((-1.0, 0), (1.0, 255), (0.0, 127), (-0.001, 127), (0.999, 254), (0.5, 191)),
        *((-1.5, 0), (1.5, 255), (float("inf"), 255), (float("-inf"), 0), (float("nan"), 0)),
    ],
)
def test_tensor2im_truncates_and_clips(value, level):
    got = tensor2im(torch.full((3, 2, 2), value))
    assert got.dtype == np.uint8 and (got == level).all()


def test_the_first_image_of_a_batch_of_bytes_is_returned_as_it_is():
    batch = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    for images in (batch, batch[:1], batch[0]):
        assert np.array_equal(tensor2im(images), batch[0].permute(1, 2, 0).numpy())


def test_tensor2im_gives_the_formula_for_all_of_the_range():
    values = torch.linspace(-1, 1, 999).reshape(1, 27, 37)
    expected = np.floor((values.numpy()[0] + np.float32(1)) / 2 * 255)
    np.testing.assert_array_equal(tensor2im(values)[..., 0], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_tensor2im_keeps_channels_and_takes_the_first_of_a_batch(channels):
    batch = torch.rand(4, channels, 5, 7) * 2 - 1
    got = tensor2im(batch)
    assert got.shape == (5, 7, channels)
    np.testing.assert_array_equal(got, tensor2im(batch[0]))
    np.testing.assert_array_equal(got, tensor2im(batch.numpy()))
    for c in range(channels):
        np.testing.assert_array_equal(got[..., c], tensor2im(batch[0, c : c + 1])[..., 0])


def test_tensor2im_takes_what_networks_return():
    batch = torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)
    assert (tensor2im(batch) == 127).all()
    assert tensor2im(batch, np.float32).dtype == np.float32


def test_a_image_survives_the_way_through_a_tensor_to_one_level():
    image = np.asarray(draw((20, 12)))
    back = tensor2im(to_tensor(Image.fromarray(image)))
    assert (image.astype(int) - back).min() >= 0 and (image.astype(int) - back).max() <= 1


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1)])
def test_one_channel_is_saved_as_a_grey_png(tmp_path, shape):
    pixels = np.arange(24, dtype=np.uint8).reshape(shape)
    save_image(pixels, tmp_path / "x.png")
    saved = Image.open(tmp_path / "x.png")
    assert (saved.format, saved.mode, saved.size) == ("PNG", "L", (6, 4))
    np.testing.assert_array_equal(np.asarray(saved), pixels.reshape(4, 6))


def test_three_channels_are_saved_as_rgb(tmp_path):
    pixels = np.asarray(draw((6, 4)))
    save_image(pixels, str(tmp_path / "x.png"))
    saved = Image.open(tmp_path / "x.png")
    assert saved.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(saved), pixels)


@pytest.mark.parametrize(("ratio", "size"), [(1.0, (20, 10)), (1.5, (30, 10)), (0.5, (20, 20))])
def test_aspect_ratio_widens_or_heightens(tmp_path, ratio, size):
    image = draw((20, 10))
    save_image(np.asarray(image), tmp_path / "x.png", ratio)
    expected = image.resize(size, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.asarray(expected))


def test_mkdirs_makes_one_or_several_with_parents(tmp_path):
    mkdirs(tmp_path / "a" / "b")
    mkdirs(str(tmp_path / "c"))
    mkdirs([str(tmp_path / "d" / "e"), tmp_path / "a" / "b"])
    assert all((tmp_path / name).is_dir() for name in ("a/b", "c", "d/e"))


def test_image_seed_is_this_number_on_every_machine():
    assert image_seed(0, "photos/0001.png") == 1394160562217636920


def test_image_seed_depends_on_seed_and_stem_only():
    seeds = {image_seed(1, path) for path in ("a.png", "x/a.jpg", "/y/z/a.tif", "a")}
    assert len(seeds) == 1
    others = {image_seed(seed, path) for seed in (1, 2, 11) for path in ("a.png", "b.png", "1a")}
    assert len(others) == 9 and seeds < others
    assert all(0 <= seed < 2**63 for seed in others)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_options_are_written_as_valid_json_and_text(tmp_path):
    opt = TrainOptions().read(["--lr", "0.1", "--gpu_ids", "-1"])
    write_options(opt, tmp_path, "train_opt")
    values = json.loads((tmp_path / "train_opt.json").read_text(), parse_constant=refuse_constant)
    assert values["max_dataset_size"] == "inf"
    assert values["lr"] == 0.1 and values["gpu_ids"] == [] and values["isTrain"] is True
    assert values.keys() == vars(opt).keys()
    assert (tmp_path / "train_opt.txt").read_text(encoding="utf-8") == opt.text() + "\n"


def test_options_that_cannot_print_themselves_are_written_as_json_alone(tmp_path):
    opt = Namespace(low=float("-inf"), none=float("nan"), folder=Path("a"), name="Köln")
    write_options(opt, tmp_path, "opt")
    values = json.loads((tmp_path / "opt.json").read_text(), parse_constant=refuse_constant)
    assert values == {"low": "-inf", "none": "nan", "folder": "a", "name": "Köln"}
    assert [path.name for path in tmp_path.iterdir()] == ["opt.json"]


def test_scripts_are_started_as_this_one_was(monkeypatch):
    assert python() == ["python"]
    monkeypatch.setenv("UV", "/somewhere/uv")
    assert python() == ["uv", "run"]


def failing(error: Exception):
    def main(args):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("--lr x: bad\n  value"), "--lr x: bad value"),
        (FileNotFoundError(2, "No such file", "a.pth"), "[Errno 2] No such file: 'a.pth'"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_2(monkeypatch, capsys, caplog, error, text):
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py", "--lr", "x"])
    assert run_command(failing(error), ["--lr", "x"]) == run_command(failing(error)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err == f"train.py: error: {text}\n" * 2
    assert caplog.text == ""


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x")])
def test_other_errors_pass_through(error):
    with pytest.raises(type(error)):
        run_command(failing(error), [])


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (RunStopped("the disk is full"), 1, "the disk is full"),
        (RunStopped("asked to", 143), 143, "asked to"),
    ],
)
def test_the_end_of_a_run_before_its_end_has_a_status_of_its_own(
    monkeypatch, capsys, error, status, text
):
    monkeypatch.setattr("sys.argv", ["train.py"])
    assert run_command(failing(error), []) == status
    assert capsys.readouterr().err == f"train.py: {text}\n"


@pytest.mark.parametrize("args", [["--verbose"], None])
def test_verbose_shows_where(monkeypatch, capsys, caplog, args):
    monkeypatch.setattr("sys.argv", ["train.py", "--verbose"])
    with caplog.at_level(logging.INFO):
        assert run_command(failing(ValueError("bad")), args) == 2
    assert "Traceback" in caplog.text and "in main" in caplog.text
    assert capsys.readouterr().err.endswith("train.py: error: bad\n")


def test_success_is_status_0_and_hands_on_the_arguments():
    seen = []
    assert run_command(seen.append, ["--name", "x"]) == 0
    assert seen == [["--name", "x"]]


def test_short_stem_keeps_what_fits_and_tells_long_names_apart():
    assert short_stem("a/b c.d.png") == "b c.d"
    assert short_stem("x" * 200 + ".png") == "x" * 200
    long = [short_stem(name * 120 + end + ".png") for name, end in (("é", "1"), ("é", "2"))]
    assert long[0] != long[1]
    assert all(len(stem.encode()) <= 200 and stem.startswith("é" * 90) for stem in long)


def test_nobody_who_reads_costs_nothing(capfd):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as stream:
        output = Output(stream)
        for _ in range(3):
            output.handle(logging.makeLogRecord({"msg": "a line"}))
        print("and another", file=stream)
    assert capfd.readouterr() == ("", "")


def test_other_errors_of_logging_are_shown(capfd):
    Output(io.StringIO()).handle(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))
    assert "Logging error" in capfd.readouterr().err


SLIP = """from data.aligned_dataset import AlignedDataset


class SlipDataset(AlignedDataset):
    def __getitem__(self, index):
        first, second = "one".split(",")
"""


def test_what_a_library_says_of_a_slip_has_its_place_too():
    norm = torch.nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="expected 4D input") as caught:
        norm(torch.zeros(3, 4, 4))
    assert f"(tests/util/{Path(__file__).name}, line " in str(with_source_line(caught.value))
    with pytest.raises(ValueError) as caught:
        raise ValueError("said on purpose")
    assert with_source_line(caught.value) is caught.value


def test_a_slip_in_a_file_of_the_project_says_where(monkeypatch, tmp_path, drop, pairs, command):
    monkeypatch.setattr("util.errors.ROOT", tmp_path)  # where the file is dropped
    drop("data/slip_dataset.py", SLIP)
    flags = [*TINY, "--dataroot", pairs, "--dataset_mode", "slip"]
    for workers in (0, 1):
        result = command("train", *flags, "--num_threads", workers)
        assert result.status == 2 and "not enough values to unpack" in result.err
        assert "slip_dataset.py, line 6" in result.err and len(result.err.splitlines()) == 1
