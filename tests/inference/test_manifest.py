"""Results say what they were made from and which images are finished; file times say nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import TINY, draw, draw_pairs, result_images
from support.torchruns import ROOT, environment

from data.aligned_dataset import AlignedDataset
from inference import results
from inference.manifest import Entry, Manifest
from inference.shards import Share
from translator import Translator
from util.command import run_command
from util.image_rows import ImageRow

Command = Callable[..., SimpleNamespace]
CPU = ["--name", "r", "--gpu_ids", "-1"]
TEST = [*CPU, "--num_threads", "0", "--batch_size", "1"]
EVALUATE = [*CPU, "--no_html", "--metrics", "L1", "--out", "measured"]
FOLDER = Path("results/r/test_latest")
ONE_SHARD = ["--num_shards", "1", "--shard_id", "0"]


@pytest.fixture(scope="module")
def laid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `r`, its six images to test, their results, and other weights."""
    root = tmp_path_factory.mktemp("laid")
    draw_pairs(root / "data", count=6, size=(72, 64))
    train = [*TINY, "--dataroot", "data", "--name", "r", "--no_html", "--max_dataset_size", "1"]
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        assert run_command(import_module("train").main, train) == 0
        assert run_command(import_module("test").main, TEST) == 0
        shutil.copy("checkpoints/r/latest_net_G.pth", "first.pth")
        more = ["--continue_train", "--n_epochs", "2", "--lr", "0.01"]
        assert run_command(import_module("train").main, [*train, *more]) == 0
        shutil.copy("checkpoints/r/latest_net_G.pth", "second.pth")
        shutil.copy("first.pth", "checkpoints/r/latest_net_G.pth")
    return root


@pytest.fixture
def copied(command: Command, laid: Path) -> Command:
    """The same folder, to be changed."""
    shutil.copytree(laid, ".", dirs_exist_ok=True)
    return command


@pytest.fixture
def tested(copied: Command, in_this_process: None) -> Command:
    """The same; evaluate calls test.py in this process, which is faster."""
    return copied


def whole_test(command: Command, *flags: Any) -> dict[str, np.ndarray]:
    result = command("test", *TEST, *flags)
    assert result.status == 0, result.err
    return result_images("r")


def evaluate(command: Command, *flags: Any) -> tuple[int, float]:
    """Return how many images are measured, and their L1."""
    result = command("scripts.evaluate", *EVALUATE, *flags)
    assert result.status == 0, result.err
    (found,) = json.loads(Path("measured/metrics.json").read_text())["runs"]
    return found["pictures"], found["metrics"]["L1"]["mean"]


def fresh(command: Command, *flags: Any) -> tuple[dict[str, np.ndarray], tuple[int, float]]:
    """Return the images and the measure of results that are made from nothing."""
    shutil.rmtree("results")
    return whole_test(command, *flags), evaluate(command, *flags)


def page() -> str:
    return (FOLDER / "index.html").read_text(encoding="utf-8")


def times() -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (FOLDER / "images").iterdir()}


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def stopped_test(command: Command, how: Callable[[], Any], *flags: Any) -> SimpleNamespace:
    """Let test.py stop while it translates its third image."""
    visuals, done = results.visuals_of, []

    def counted(translator: Translator, batch: dict[str, Any]) -> Any:
        done.append(1)
        if len(done) == 3:
            how()
        return visuals(translator, batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(results, "visuals_of", counted)
        return command("test", *TEST, *flags)


def raises() -> None:
    raise KeyboardInterrupt


def sends_sigterm() -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(("how", "status"), [(raises, 130), (sends_sigterm, 143)])
def test_a_stopped_test_says_what_is_missing_and_goes_on(tested, how, status):
    images, text = result_images("r"), page()
    shutil.rmtree("results")
    result = stopped_test(tested, how)
    assert result.status == status and len(result.err.splitlines()) == 1
    (missing,) = re.findall(r"(\d) images? (?:are|is) missing.*>--skip_finished<", page())
    shown = re.findall(r'src="images/([^"]+)"', page())
    assert len(shown) == 3 * (6 - int(missing)) and (how == raises or missing == "3")
    before = times()
    assert same(whole_test(tested, "--skip_finished"), images) and page() == text
    assert all(times()[name] == before[name] for name in shown)


def test_the_page_of_a_test_that_has_not_ended_says_so(tested, monkeypatch):
    found = []

    def looked_at(self: Share) -> None:
        wait(self)
        found.append(page())

    wait = Share.wait
    monkeypatch.setattr(Share, "wait", looked_at)
    assert tested("test", *TEST).status == 0
    assert "6 images are missing" in found[0] and "<img " not in found[0]


@pytest.mark.parametrize("how", [raises, sends_sigterm])
@pytest.mark.parametrize("flags", [[], ONE_SHARD])
def test_evaluate_completes_a_stopped_test(tested, caplog, how, flags):
    wanted = evaluate(tested)
    assert wanted[0] == 6 and "translating" not in caplog.text
    shutil.rmtree("results")
    stopped_test(tested, how, *flags)
    assert evaluate(tested) == wanted
    assert "images that are missing or have changed" in caplog.text
    assert "missing" not in page() and page().count("<img ") == 18


def test_a_stopped_test_over_results_of_other_weights_is_completed(tested):
    shutil.copy("second.pth", "checkpoints/r/latest_net_G.pth")
    stopped_test(tested, raises)
    found = evaluate(tested), result_images("r")
    images, wanted = fresh(tested)
    assert found[0] == wanted and same(found[1], images)


@pytest.mark.parametrize("change", ["copied", "one old", "newer weights"])
def test_file_times_change_nothing(tested, caplog, change):
    wanted = evaluate(tested)
    if change == "copied":
        shutil.copytree("results", "copy", copy_function=shutil.copyfile)
        shutil.rmtree("results")
        shutil.move("copy", "results")
        os.utime(FOLDER / "test_opt.json")
    elif change == "one old":
        os.utime(FOLDER / "images/3_fake_B.png", (1, 1))
    else:
        os.utime("checkpoints/r/latest_net_G.pth")
    assert evaluate(tested) == wanted and "translating" not in caplog.text


@pytest.mark.parametrize("by", ["--skip_finished", "evaluate", "--num_shards"])
def test_replaced_images_of_the_same_name_are_translated_again(tested, caplog, by):
    file, before = Path("data/test/3.png"), times()
    stamp = file.stat()
    draw((144, 64), seed=77).save(file)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    if by == "evaluate":
        evaluate(tested)
        assert "translating 1 images that are missing or have changed" in caplog.text
    else:
        whole_test(tested, *(ONE_SHARD if by == "--num_shards" else [by]))
        assert "1 image translated, 5 already finished" in caplog.text
    changed = {name for name, stamp in times().items() if stamp != before[name]}
    assert changed == {f"3_{label}.png" for label in ("real_A", "fake_B", "real_B")}
    found = result_images("r")
    assert same(fresh(tested)[0], found)


def test_a_replaced_partner_is_an_input_too(tested, caplog):
    """In folders trainA and trainB, B alone may change."""
    for side in "AB":
        Path(f"two/test{side}").mkdir(parents=True)
        for i in range(2):
            draw((72, 64), seed=i).save(f"two/test{side}/{i}.png")
    whole_test(tested, "--dataroot", "two")
    draw((72, 64), seed=5).save("two/testB/1.png")
    whole_test(tested, "--dataroot", "two", "--skip_finished")
    assert "1 image translated, 1 already finished" in caplog.text


def test_results_of_other_weights_are_made_again(tested, caplog):
    weights = Path("checkpoints/r/latest_net_G.pth")
    stamp = weights.stat()
    shutil.copy("second.pth", weights)
    os.utime(weights, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    found = evaluate(tested)
    assert "translating the images of test again (other weights)" in caplog.text
    assert fresh(tested)[1] == found


def test_an_added_image_is_measured(tested):
    draw((144, 64), seed=5).save("data/test/9.png")
    assert evaluate(tested)[0] == 7


@pytest.mark.parametrize("gone", ["data/test", "checkpoints/r/latest_net_G.pth"])
def test_whole_results_are_measured_though_they_cannot_be_made_again(tested, caplog, gone):
    wanted = evaluate(tested)
    Path(gone).rename("gone")
    assert evaluate(tested) == wanted and "cannot be made again" in caplog.text
    (FOLDER / "images/3_fake_B.png").unlink()
    result = tested("scripts.evaluate", *EVALUATE)
    assert result.status == 2 and len(result.err.splitlines()) == 1


def test_unreadable_images_are_counted_and_not_tried_for_ever(tested, caplog):
    file, skip = Path("data/test/2.png"), ["--on_bad_image", "skip"]
    content = file.read_bytes()
    file.write_bytes(b"bad")
    whole_test(tested, *skip)
    assert "1 image is left out, as unreadable" in page() and "missing" not in page()
    assert evaluate(tested, *skip)[0] == 5 and "translating" not in caplog.text
    assert "1 image is left out, as test.py cannot read all" in caplog.text
    file.write_bytes(content)
    assert evaluate(tested, *skip)[0] == 6
    assert page().count("<img ") == 18 and "cannot be read" not in page()


def test_num_test_counts_readable_images(tested, caplog):
    Path("data/test/1.png").write_bytes(b"bad")
    flags = ["--on_bad_image", "skip", "--num_test", 3, "--results_dir", "other"]
    for more in ([], ["--skip_finished"]):
        assert tested("test", *TEST, *flags, *more).status == 0
        images = result_images("r", results="other")
        assert {name[0] for name in images} == {"0", "2", "3"}
    assert "0 images translated, 3 already finished" in caplog.text
    text = Path("other/r/test_latest/index.html").read_text()
    assert text.count("<img ") == 9 and "missing" not in text


@pytest.fixture
def former(tested: Command) -> Command:
    """Results as an earlier version left them: without a manifest."""
    shutil.rmtree(FOLDER / "shards")
    os.utime(FOLDER / "test_opt.json")
    for path in FOLDER.rglob("*.png"):
        os.utime(path)
    return tested


def test_results_without_a_manifest_are_measured_with_a_line(former, caplog):
    assert evaluate(former)[0] == 6 and "translating" not in caplog.text
    (line,) = [text for text in caplog.messages if "earlier version" in text]
    assert str(FOLDER) in line


@pytest.mark.parametrize("change", ["one old", "newer weights", "no page", "truncated", "missing"])
def test_results_without_a_manifest_that_may_be_a_part_are_made_again(former, caplog, change):
    image = FOLDER / "images/3_fake_B.png"
    if change == "one old":  # of a test that was killed, or copied
        os.utime(image, (1, 1))
    elif change == "newer weights":
        later = time.time() + 9
        os.utime("checkpoints/r/latest_net_G.pth", (later, later))
    elif change == "no page":
        (FOLDER / "index.html").unlink()
    elif change == "truncated":
        image.write_bytes(image.read_bytes()[:-9])
    else:
        for label in ("real_A", "fake_B", "real_B"):
            (FOLDER / f"images/3_{label}.png").unlink()
    assert evaluate(former)[0] == 6
    assert "since an earlier version made" in caplog.text and Manifest(FOLDER).exists()


def test_shards_of_other_flags_are_left_alone_by_evaluate(tested):
    shutil.rmtree("results")
    whole_test(tested, "--eval", "--num_shards", 2, "--shard_id", 0)  # the other is on its way
    before = {p: p.read_bytes() for p in FOLDER.rglob("*") if p.is_file()}
    assert evaluate(tested)[0] == 6
    assert {p: p.read_bytes() for p in FOLDER.rglob("*") if p.is_file()} == before


def test_shards_overwrite_a_whole_test_but_not_other_shards(tested, caplog):
    shards = [["--num_shards", 2, "--shard_id", number] for number in (0, 1)]
    before = times()
    for flags in shards:
        whole_test(tested, "--eval", *flags)
    assert "overwriting results with different ones (--eval False, now True)" in caplog.text
    whole_test(tested, "--eval", "--skip_finished")
    assert "0 images translated, 6 already finished" in caplog.text
    assert not before.items() & times().items()
    result = tested("test", *TEST, *shards[0])
    assert result.status == 2 and "--eval True, now False" in result.err


def test_unfinished_images_of_other_flags_are_not_completed(tested):
    before = {p: p.read_bytes() for p in FOLDER.rglob("*") if p.is_file()}
    result = tested("test", *TEST, "--eval", "--skip_finished")
    assert result.status == 2 and "--eval False, now True" in result.err
    assert {p: p.read_bytes() for p in FOLDER.rglob("*") if p.is_file()} == before


def test_a_whole_test_translates_finished_images_again(tested):
    before = times()
    whole_test(tested)
    assert not before.items() & times().items()


PLAIN = """
from data.aligned_dataset import AlignedDataset
from data.base_dataset import BaseDataset

class PlainDataset(BaseDataset):
    def __init__(self, opt):
        self.opt = opt
        self.pairs = AlignedDataset(opt)

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]
"""


def test_a_whole_test_reads_no_image_twice(tested, drop, monkeypatch, caplog):
    drop("data/plain_dataset.py", PLAIN)
    read: list[str] = []
    item = AlignedDataset.__getitem__

    def counted(self: AlignedDataset, index: int) -> Any:
        read.append(self.A_paths[index])
        return item(self, index)

    monkeypatch.setattr(AlignedDataset, "__getitem__", counted)
    for mode in ("aligned", "plain"):  # the second tells its files only with the item
        read.clear()
        whole_test(tested, "--dataset_mode", mode, "--no_data_check")
        assert sorted(read) == sorted(set(read)) and len(read) == 6
    caplog.clear()
    assert evaluate(tested, "--dataset_mode", mode)[0] == 6 and "translating" not in caplog.text


@pytest.mark.slow
def test_a_killed_test_is_completed(copied):
    wanted = evaluate(copied)
    line = [sys.executable, str(ROOT / "test.py"), *TEST, "--results_dir", "killed"]
    started = subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL)
    record = Path("killed/r/test_latest/shards/whole.jsonl")
    while not record.exists():
        assert started.poll() is None
        time.sleep(0.001)
    started.kill()
    started.wait()
    assert evaluate(copied, "--results_dir", "killed") == wanted


def entry(name: str, input: str) -> Entry:
    return Entry(ImageRow(name, name, {}), input)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """An empty manifest, open for lines."""
    manifest = Manifest(tmp_path)
    manifest.folder.mkdir()
    manifest.open()
    return manifest


def test_an_image_logged_with_two_inputs_is_not_finished(manifest):
    for shard, input in ((0, "one"), (1, "other")):
        manifest.open(shard, 2)
        manifest.add(7, ImageRow("a", "a", {}), input)
        manifest.add(8, ImageRow("b", "b", {}), "same")
    assert manifest.entries() == {8: entry("b", "same")}
    manifest.forget({7})
    manifest.add(7, ImageRow("a", "a", {}), "other")
    assert manifest.entries() == {7: entry("a", "other"), 8: entry("b", "same")}


def test_no_line_is_added_once_another_command_has_begun_anew(manifest):
    manifest.file.write_text("{}")
    manifest.open()
    manifest.add(0, ImageRow("a", "a", {}), "h")
    manifest.file.write_text('{"of": "others"}')
    with pytest.raises(ValueError, match="another command has overwritten"):
        manifest.add(1, ImageRow("a", "a", {}), "h")
    assert set(manifest.entries()) == {0}


@pytest.mark.parametrize("damage", [b"\xff\xfe\n", b'{"index": 3, "unreadable"\n', b"[]\n7\n"])
def test_damaged_lines_are_passed_over(manifest, damage):
    manifest.path.write_bytes(damage)
    manifest.add(0, ImageRow("a", "a", {}), "h")
    assert manifest.entries() == {0: entry("a", "h")}
    manifest.forget({5})
    assert manifest.entries() == {0: entry("a", "h")}


def test_a_name_that_is_no_utf8_comes_back(manifest):
    name = os.fsdecode(b"\xe9t\xe9")
    manifest.add(0, ImageRow(name, name, {}), "h")
    assert manifest.entries() == {0: entry(name, "h")}
    assert manifest.path.read_bytes().isascii()


def test_another_spelling_of_the_folder_and_flags_of_d_are_no_other_results(copied, caplog) -> None:
    whole_test(copied, "--num_test", 2)
    root = json.loads((FOLDER / "test_opt.json").read_text())["dataroot"]
    whole_test(copied, "--num_test", 2, "--dataroot", f"{root}/.", "--ndf", 99)
    assert "overwriting" not in caplog.text
