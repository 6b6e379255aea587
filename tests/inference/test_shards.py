"""Results that many test.py commands make together are those of one."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import (
    FACADES,
    TINY,
    draw,
    draw_pairs,
    draw_sets,
    needs_facades,
    refusal,
    result_images,
)
from PIL import Image
from support.torchruns import ROOT, environment

from inference.manifest import Entry, Manifest
from util.image_rows import ImageRow

Command = Callable[..., SimpleNamespace]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]


@pytest.fixture
def trained(command: Command, pairs: Path) -> Command:
    """A run `r` on pairs of which seven are to be tested, two of one name."""
    draw_pairs(pairs, count=6)
    (pairs / "test/more").mkdir()
    shutil.copy(pairs / "train/0.png", pairs / "test/more/0.png")
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    return command


def shard(command: Command, number: int, count: int, *flags: object) -> SimpleNamespace:
    ids = ["--num_shards", count, "--shard_id", number, "--results_dir", "shards"]
    return command("test", *TEST, *ids, *flags)


def last(caplog: pytest.LogCaptureFixture) -> str:
    return caplog.messages[-1]


def whole(command: Command, *flags: object) -> tuple[dict, str]:
    """Return the images and the page of one command that translates all."""
    assert command("test", *TEST, "--results_dir", "whole", *flags).status == 0
    return result_images("r", results="whole"), Path("whole/r/test_latest/index.html").read_text()


def page(command: Command, *flags: object) -> str:
    assert command("test", *TEST, "--results_dir", "shards", "--page_only", *flags).status == 0
    return Path("shards/r/test_latest/index.html").read_text()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


@pytest.mark.parametrize("batch", [1, 2])
def test_shards_make_the_images_and_the_page_of_one_command(trained, batch):
    images, text = whole(trained, "--batch_size", batch)
    for number in (2, 0, 1):
        assert shard(trained, number, 3, "--batch_size", batch).status == 0
        assert not Path("shards/r/test_latest/index.html").exists()
    assert same(result_images("r", results="shards"), images) and len(images) == 21
    assert page(trained) == text
    assert "0_2_fake_B.png" in text  # the second of that name


def test_finished_images_are_skipped_by_whomever_they_were_made(trained, caplog):
    shard(trained, 0, 3)
    stamps = {p: p.stat().st_mtime_ns for p in Path("shards/r/test_latest/images").iterdir()}
    shard(trained, 0, 3)
    assert "0 images translated, 3 already finished" in last(caplog)
    shard(trained, 0, 1)
    assert "4 images translated, 3 already finished" in last(caplog)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert page(trained).count("<img ") == 21


def test_the_page_is_of_what_is_there(trained, caplog):
    shard(trained, 1, 3)
    text = page(trained)
    assert "2 of 7 images (5 images are missing" in last(caplog)
    assert "5 images are missing" in text and text.count("<img ") == 6
    page(trained, "--num_test", 2)
    assert "1 of 2 images" in last(caplog)


def test_a_image_whose_file_is_gone_or_cut_off_is_made_again(trained, caplog):
    shard(trained, 0, 1)
    images = result_images("r", results="shards")
    gone, cut, again = (Path(f"shards/r/test_latest/images/{i}_fake_B.png") for i in (2, 3, 4))
    Image.open(again).save(again, compress_level=0)  # as other rounding changes its size
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    assert page(trained).count("<img ") == 15
    shard(trained, 0, 1)
    assert "2 images translated, 5 already finished" in last(caplog)
    assert same(result_images("r", results="shards"), images)


def test_what_a_kill_has_cut_off_is_made_again(trained, caplog):
    shard(trained, 0, 1)
    (lines,) = Path("shards/r/test_latest/shards").glob("*.jsonl")
    text = lines.read_text()
    lines.write_text(text[:-20])
    shard(trained, 0, 1)
    assert "1 image translated, 6 already finished" in last(caplog)
    assert page(trained).count("<img ") == 21
    for damage in (
        '{"index": 1}\n',
        "[1]\n",
        '{"index": "x", "header": "", "name": "", "files": 1}\n',
    ):
        lines.write_text(damage + lines.read_text())
    shard(trained, 0, 1)
    assert "0 images translated, 7 already finished" in last(caplog)


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--eval"], "--eval False, now True"), (["--seed", "1"], "--seed 0, now 1")],
)
def test_results_of_other_flags_are_not_mixed(trained, flags, said):
    shard(trained, 0, 2)
    before = result_images("r", results="shards")
    result = shard(trained, 1, 2, *flags)
    assert result.status == 2 and said in result.err and "--results_dir" in result.err
    assert same(result_images("r", results="shards"), before)


def test_results_of_other_weights_or_images_are_not_mixed(trained, pairs):
    shard(trained, 0, 2)
    draw((192, 80)).save(pairs / "test/9.png")
    result = shard(trained, 1, 2)
    assert result.status == 2 and "other images" in result.err
    (pairs / "test/9.png").unlink()
    more = ["--continue_train", "--n_epochs", 2]
    assert trained("train", *TINY, "--dataroot", pairs, "--name", "r", *more).status == 0
    result = shard(trained, 1, 2)
    assert result.status == 2 and "other weights" in result.err


def test_flags_of_the_work_may_differ(trained):
    assert shard(trained, 0, 2, "--batch_size", 2, "--num_test", 4).status == 0
    assert shard(trained, 1, 2, "--display_winsize", 99).status == 0
    assert shard(trained, 1, 2, "--on_bad_image", "skip", "--max_pixels", 10**8).status == 0
    assert shard(trained, 0, 2).status == 0
    assert page(trained).count("<img ") == 21


def test_a_log_of_other_flags_is_accepted_if_those_that_matter_are_the_same(trained):
    shard(trained, 0, 2)
    log = Path("shards/r/test_latest/shards/made_by.json")
    manifest = json.loads(log.read_text())
    manifest["flags"] |= {"epoch": "latest", "load_iter": 0, "display_winsize": 1}  # written once
    assert manifest["flags"].pop("dropout_at_test") == "on"  # as before there was that flag
    log.write_text(json.dumps(manifest))
    assert shard(trained, 1, 2, "--dropout_at_test", "off").status == 2
    assert shard(trained, 1, 2).status == 0
    assert page(trained).count("<img ") == 21


def test_a_command_without_shards_leaves_theirs_whole(trained, caplog):
    shard(trained, 0, 2)
    before = result_images("r", results="shards")
    assert trained("test", *TEST, "--results_dir", "shards", "--num_test", 1).status == 0
    assert same(result_images("r", results="shards"), before)
    shard(trained, 1, 2)
    assert "3 images translated, 0 already finished" in last(caplog)
    assert page(trained).count("<img ") == 21


def test_a_command_without_shards_that_makes_others_drops_their_record(trained, caplog):
    shard(trained, 0, 1)
    assert trained("test", *TEST, "--results_dir", "shards", "--eval").status == 0
    assert (
        "overwriting results of shards with different ones (--eval False, now True)" in caplog.text
    )
    assert len(list(Path("shards/r/test_latest/shards").glob("*.jsonl"))) == 1
    assert page(trained, "--eval").count("<img ") == 21


def test_a_shard_whose_record_is_gone_says_so(tmp_path):
    record = Manifest(tmp_path)
    record.folder.mkdir()
    record.open(0, 1)
    record.folder.rmdir()
    refusal(lambda: record.add_note("a note"), "--results_dir", "another command")


def test_bad_images_are_left_out_and_tried_again(trained, pairs, caplog):
    (pairs / "test/1.png").write_bytes(b"bad")
    result = shard(trained, 0, 1)
    assert result.status == 2 and "1.png" in result.err
    assert shard(trained, 0, 1, "--on_bad_image", "skip", "--results_dir", "other").status == 0
    draw((192, 80)).save(pairs / "test/1.png")
    assert shard(trained, 0, 1, "--on_bad_image", "skip", "--results_dir", "other").status == 0
    assert "1 image translated, 6 already finished" in last(caplog)


def test_an_unreadable_image_of_the_first_ones_is_not_missing(trained, pairs):
    (pairs / "test/1.png").write_bytes(b"bad")
    for number in (0, 1):
        assert shard(trained, number, 2, "--num_test", 4, "--on_bad_image", "skip").status == 0
    text = page(trained, "--num_test", 4)
    assert "1 image is left out, as unreadable" in text and "missing" not in text


def test_the_page_alone_has_the_settings_of_the_test(trained):
    assert shard(trained, 0, 1, "--eval").status == 0
    text = page(trained, "--seed", 7)
    assert "--eval" in text and "--seed 7" not in text


def test_more_shards_than_images(trained, caplog):
    assert shard(trained, 9, 12).status == 0
    assert "0 images translated, 0 already finished" in last(caplog)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--num_shards 2", ["--shard_id"]),
        ("--shard_id 0", ["--num_shards"]),
        ("--num_shards 2 --shard_id 2", ["--shard_id 2", "0 to 1"]),
        ("--num_shards 0 --shard_id 0", ["--num_shards", "0"]),
        ("--page_only --num_shards 1 --shard_id 0", ["--page_only"]),
        ("--page_only", ["--page_only", "--num_shards"]),
    ],
)
def test_wrong_flags_are_said_on_a_line(trained, flags, words):
    result = trained("test", *TEST, *flags.split())
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert [word for word in words if word not in result.err] == []
    assert not Path("results").exists()


def test_a_damaged_record_is_named(trained):
    shard(trained, 0, 1)
    Path("shards/r/test_latest/shards/made_by.json").write_text("{")
    for result in (
        shard(trained, 0, 1),
        trained("test", *TEST, "--results_dir", "shards", "--page_only"),
    ):
        assert result.status == 2 and "made_by.json: damaged" in result.err


@pytest.mark.parametrize("model", ["cycle_gan", "colorization", "test"])
def test_other_models_and_their_data(command, tmp_path, model):
    root = draw_sets(tmp_path / "sets") if model == "cycle_gan" else draw_pairs(tmp_path / "sets")
    flags = ["--model", "pix2pix" if model == "test" else model, "--dataroot", root, "--name", "r"]
    assert command("train", *TINY, *flags).status == 0
    more = ["--model", "test", "--dataroot", root / "testA"] if model == "test" else []
    if model == "test":
        draw_sets(tmp_path / "single")
        more[-1] = tmp_path / "single/testA"
    images, text = whole(command, *more)
    for number in (0, 1):
        assert shard(command, number, 2, *more).status == 0
    assert images and same(result_images("r", results="shards"), images)
    assert page(command, *more) == text


PLAIN = """
from torch.utils.data import Dataset
from data.aligned_dataset import AlignedDataset
from data.base_dataset import BaseDataset

class PlainDataset(BASE):
    modify_commandline_options = staticmethod(BaseDataset.modify_commandline_options)

    def __init__(self, opt):
        self.opt = opt
        self.pairs = AlignedDataset(opt)
        self.paths = self.files = self.pairs.A_paths  # names of the contract, but attributes

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]
"""


@pytest.mark.parametrize("base", ["BaseDataset", "Dataset"])
def test_a_dataset_that_does_not_tell_its_files_is_read_for_them(trained, drop, base):
    drop("data/plain_dataset.py", PLAIN.replace("BASE", base))
    images, text = whole(trained)
    assert shard(trained, 0, 1, "--dataset_mode", "plain").status == 0
    assert same(result_images("r", results="shards"), images)
    of_shards = page(trained).replace("<small>--dataset_mode plain</small>", "")
    assert of_shards == text


def test_notes_are_kept_once(tmp_path):
    record = Manifest(tmp_path)
    record.folder.mkdir()
    record.open(0, 1)
    for _ in range(2):
        record.add_note("a note")
    record.add(3, ImageRow("h", "n", {}), "hash")
    again = Manifest(tmp_path)
    assert again.entries() == {3: Entry(ImageRow("h", "n", {}), "hash")}
    assert again.notes == ["a note"]
    assert len(record.path.read_text().splitlines()) == 2


@pytest.mark.slow
@needs_facades
def test_a_killed_shard_of_the_facades_goes_on(command, tmp_path):
    assert (
        command(
            "train", *TINY, "--dataroot", FACADES, "--name", "r", "--max_dataset_size", 4
        ).status
        == 0
    )
    images, text = whole(command)
    line = [sys.executable, str(ROOT / "test.py"), *TEST, "--results_dir", "shards"]
    line += ["--num_shards", "1", "--shard_id", "0", "--batch_size", "1"]
    started = subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL)
    record = Path("shards/r/test_latest/shards")
    while sum(len(p.read_text().splitlines()) for p in record.glob("*.jsonl")) < 10:
        assert started.poll() is None
        time.sleep(0.01)
    started.kill()
    started.wait()
    done = [json.loads(x) for x in next(record.glob("*.jsonl")).read_text().splitlines()[:-1]]
    assert 5 < sum("index" in entry for entry in done) < 106
    for number in range(2):
        assert shard(command, number, 2).status == 0
    assert same(result_images("r", results="shards"), images) and page(command) == text
