"""make_pairs run again goes on where it stopped; what it cannot do, it says on one line."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from conftest import draw, refusal
from support.preparing import TRAIN_LINE, complaint, contents, draw_folder, made, phases, prepare

from scripts import make_pairs

TASKS = ["edges", "grayscale", "inpaint", "superres", "resize", "combine"]
NOTE = "make_pairs.json"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return draw_folder(tmp_path / "in", "a/1 a/2 b/1 3 4 5")


def times(out: Path) -> dict[str, tuple[int, int]]:
    """Return when each image was written, and to which file."""
    stats = {name: path.stat() for name, path in made(out).items()}
    return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in stats.items()}


def test_run_again_only_what_is_missing_is_made(source, tmp_path, caplog):
    out = prepare("inpaint", source, tmp_path / "out")
    whole, before = contents(out), times(out)
    for name in ("a/1.png", "4.png"):
        made(out)[name].unlink()
    caplog.clear()
    prepare("inpaint", source, out)
    assert contents(out) == whole
    assert {name for name, when in times(out).items() if when != before[name]} == {
        "a/1.png",
        "4.png",
    }
    assert "4 of 6 images already exist" in caplog.messages
    assert f"{out} holds 4 images for train, 1 images for val, 1 images for test" in caplog.text
    assert "val and test: fewer than 10 images are too few" in caplog.text


def test_run_again_with_nothing_missing_it_writes_nothing(source, tmp_path, caplog):
    out = prepare("edges", source, tmp_path / "out")
    whole, before = contents(out), times(out)
    caplog.clear()
    prepare("edges", source, out, "--num_threads", 2)
    assert (contents(out), times(out)) == (whole, before)
    assert caplog.messages[-1].startswith(TRAIN_LINE)


def in_a_group(args: list[str]) -> None:
    """Run make_pairs so that it can be killed with its workers."""
    os.setsid()
    make_pairs.main(args)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `in`, and `out`, whose making was killed and begun again."""
    root = tmp_path_factory.mktemp("killed")
    (root / "in").mkdir()
    draw((256, 256)).save(root / "in" / "0.png")
    for i in range(1, 40):
        os.link(root / "in" / "0.png", root / "in" / f"{i}.png")
    args = ["--task", "inpaint", "--num_threads", "2", str(root / "in"), str(root / "out")]
    process = multiprocessing.get_context("fork").Process(target=in_a_group, args=[args])
    process.start()
    while not made(root / "out") and process.is_alive():
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert 0 < len(made(root / "out")) < 40
    make_pairs.main(args)
    return root


@pytest.mark.slow
def test_killed_and_run_again_equals_uninterrupted(killed, tmp_path):
    whole = prepare("inpaint", killed / "in", tmp_path / "out", "--num_threads", 2)
    again, once = made(killed / "out"), made(whole)
    assert phases(killed / "out") == phases(whole)
    assert [again[name].read_bytes() == once[name].read_bytes() for name in once] == [True] * 40


def test_killed_and_run_again_leaves_no_temporary_file(killed):
    assert set(contents(killed / "out")) == {
        NOTE,
        *(path.relative_to(killed / "out").as_posix() for path in made(killed / "out").values()),
    }


@pytest.mark.parametrize(
    "flags",
    [
        ["--task", "superres"],
        ["--split", "0.5,0.25,0.25"],
        ["--size", "32"],
        ["--seed", "1"],
        ["--mask", "box"],
    ],
)
def test_another_setting_for_the_same_OUT_is_refused(source, tmp_path, flags, capfd):
    out = prepare("inpaint", source, tmp_path / "out")
    made(out)["4.png"].unlink()
    whole = contents(tmp_path)
    args = ["--task", "inpaint", source, out, *flags]
    complaint(capfd, make_pairs.main, args, str(out), flags[0].removeprefix("--"), "was made with")
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    ("task", "flag"), [("edges", "sigma"), ("superres", "factor"), ("resize", "size")]
)
def test_another_setting_of_a_task_is_refused(source, tmp_path, task, flag, capfd):
    out = prepare(task, source, tmp_path / "out", f"--{flag}", 3)
    args = ["--task", task, source, out, f"--{flag}", 5]
    complaint(capfd, make_pairs.main, args, str(out), f"{flag} 3")


def test_another_IN_for_the_same_OUT_is_refused(source, tmp_path, capfd):
    out = prepare("grayscale", source, tmp_path / "out")
    other = draw_folder(tmp_path / "other")
    complaint(capfd, make_pairs.main, ["--task", "grayscale", other, out], str(out), str(source))


def test_images_that_came_later_never_bring_one_into_two_phases(source, tmp_path):
    out = prepare("grayscale", source, tmp_path / "out")
    draw_folder(source, "new/0 new/1 new/2 new/3 new/4")
    try:
        prepare("grayscale", source, out)
    except ValueError as error:  # to refuse is right too
        assert str(out) in str(error) or str(source) in str(error)
    assert len(phases(out)) in (6, 11)  # phases() fails if an image lies in two


def test_a_twin_that_came_later_does_not_make_a_image_twice(tmp_path):
    source = draw_folder(tmp_path / "in", "0 1 2 3 4 5 6 7")
    out = prepare("grayscale", source, tmp_path / "out")
    for i in range(8):
        draw((80, 72), seed=100 + i).save(source / f"{i}.bmp")
    try:
        prepare("grayscale", source, out)
    except ValueError as error:  # to refuse is right too
        assert str(out) in str(error) or str(source) in str(error)
    images = [path.read_bytes() for path in made(out).values()]
    assert len(images) == len(set(images))


@pytest.mark.parametrize("note", ["", "{", "{}", "[]"])
def test_a_note_that_cannot_be_read_is_named(source, tmp_path, note, capfd):
    out = prepare("grayscale", source, tmp_path / "out")
    (out / NOTE).write_text(note)
    complaint(capfd, make_pairs.main, ["--task", "grayscale", source, out], str(out))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("place", [".", "sub", "sub/deep", ".."])
def test_OUT_in_IN_and_IN_in_OUT_are_refused(tmp_path, task, place, capfd):
    source = tmp_path / "outer" / "in"
    for side in "AB" if task == "combine" else [""]:
        draw_folder(source / side, "sub/1 2")
    before = contents(tmp_path)
    args = ["--task", task, "--size", 8, source, source / place]
    complaint(capfd, make_pairs.main, args, "OUT", "IN", str(source))
    assert contents(tmp_path) == before and not (source / "sub" / "deep").exists()


def test_OUT_that_is_a_link_into_IN_is_refused(source, tmp_path, capfd):
    (tmp_path / "link").symlink_to(source / "a")
    before = contents(source)
    args = ["--task", "grayscale", source, tmp_path / "link"]
    complaint(capfd, make_pairs.main, args, "OUT", str(tmp_path / "link"))
    assert contents(source) == before


@pytest.mark.parametrize("name", ["train/1.png", "notes.txt", ".hidden"])
def test_OUT_that_holds_other_files_is_refused(source, tmp_path, name, capfd):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    args = ["--task", "grayscale", source, tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, "OUT", str(tmp_path / "out"), "other files")
    assert contents(tmp_path / "out") == {name: b"mine"}


def test_OUT_that_is_a_file_is_refused(source, tmp_path, capfd):
    (tmp_path / "out").write_text("mine")
    args = ["--task", "grayscale", source, tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, "OUT", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("task", TASKS)
def test_a_broken_image_is_left_out_by_name_and_the_rest_is_made(tmp_path, task, caplog):
    folders = [tmp_path / "in" / side for side in ("AB" if task == "combine" else [""])]
    for folder in folders:
        draw_folder(folder, "0 1 2 3 4")
    broken = folders[-1] / "2.png"
    broken.write_bytes(broken.read_bytes()[:500])
    out = prepare(task, tmp_path / "in", tmp_path / "out", "--size", 64)
    assert sorted(made(out)) == ["0.png", "1.png", "3.png", "4.png"]
    (line,) = [text for text in caplog.messages if "ignored: " in text]
    assert str(broken) in line and "\n" not in line
    assert f"{out} holds " in caplog.text
    assert len(contents(out)) == 5  # and the note; no half image, nothing temporary
    draw((80, 72), seed=2).save(broken)  # mended
    assert len(made(prepare(task, tmp_path / "in", out, "--size", 64))) == 5


def test_a_folder_of_broken_images_only_is_refused(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    for name in ("1.png", "2.jpg"):
        (tmp_path / "in" / name).write_text("no image")
    refusal(lambda: prepare("grayscale", tmp_path / "in", tmp_path / "out"), str(tmp_path / "in"))
    assert not any(text.startswith(TRAIN_LINE) for text in caplog.messages)


def test_an_A_B_image_of_odd_width_is_left_out_by_name(tmp_path, caplog):
    source = draw_folder(tmp_path / "in", "1 2 3", size=(80, 40))
    draw((81, 40)).save(source / "odd.png")
    out = prepare("resize", source, tmp_path / "out", "--pairs", "--size", 32)
    assert sorted(made(out)) == ["1.png", "2.png", "3.png"]
    assert any("ignored: " in t and str(source / "odd.png") in t for t in caplog.messages)


def test_the_note_says_how_OUT_was_made(source, tmp_path):
    out = prepare("edges", source, tmp_path / "out", "--sigma", 1.5)
    note = json.loads((out / NOTE).read_text())
    assert (note["task"], note["sigma"], note["source"]) == ("edges", 1.5, str(source))
