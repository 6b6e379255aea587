"""make_pairs: what it writes where, in which phase, and what it says."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, draw, draw_pairs, refusal
from PIL import Image
from support.preparing import (
    ROOT,
    complaint,
    contents,
    draw_folder,
    halves,
    made,
    phases,
    pixels,
    prepare,
    train_flags,
)

from scripts import make_pairs
from scripts.pairs.splits import PHASES, split

TASKS = {
    "edges": [],
    "grayscale": [],
    "inpaint": [],
    "superres": [],
    "resize": ["--size", 64],
    "resize --pairs": ["--size", 64],
    "combine": [],
}
tasks = pytest.mark.parametrize("task", TASKS)


def source_for(task: str, folder: Path) -> Path:
    """Write four images into a folder, as the task wants them."""
    if task == "resize --pairs":
        return draw_pairs(folder, count=4) / "train"
    for side in "AB" if task == "combine" else [""]:
        draw_folder(folder / side)
    return folder


def run(task: str, source: Path, out: Path, *flags: object) -> Path:
    return prepare(*task.split()[:1], source, out, *task.split()[1:], *TASKS[task], *flags)


@tasks
def test_the_printed_line_trains_and_the_run_can_be_tested(tmp_path, command, caplog, task):
    out = run(task, source_for(task, tmp_path / "in"), tmp_path / "my out")
    flags = train_flags(caplog)
    assert flags[:2] == ["--dataroot", str(out)]
    done = command("train", *flags, *TINY)
    assert done.status == 0, done.err
    name = flags[flags.index("--name") + 1]
    assert (done.cwd / "checkpoints" / name / "latest_net_G.pth").is_file()
    done = command("test", "--name", name, "--gpu_ids", "-1", "--num_threads", "0")
    assert done.status == 0, done.err
    assert len(list((done.cwd / "results" / name / "test_latest" / "images").iterdir())) >= 3


@tasks
def test_one_process_equals_three_and_the_input_is_left_alone(tmp_path, task):
    source = source_for(task, tmp_path / "in")
    before = contents(tmp_path / "in")
    one = run(task, source, tmp_path / "one")
    three = run(task, source, tmp_path / "three", "--num_threads", 3)
    assert contents(one) == contents(three)
    assert contents(tmp_path / "in") == before


@tasks
def test_OUT_holds_four_images_in_three_phases_a_note_and_nothing_else(tmp_path, task):
    out = run(task, source_for(task, tmp_path / "in"), tmp_path / "out")
    assert Counter(phases(out).values()) == {"train": 2, "val": 1, "test": 1}
    assert set(contents(out)) == {f"{p}/{n}" for n, p in phases(out).items()} | {"make_pairs.json"}


@pytest.mark.slow
def test_the_command_runs_as_it_is_typed_with_a_progress_bar(tmp_path):
    draw_folder(tmp_path / "in")
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "scripts.make_pairs", "--task", "grayscale"]
    done = subprocess.run(
        [*command, str(tmp_path / "in"), str(tmp_path / "out")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
    )
    assert done.returncode == 0
    line = f"{sys.executable} train.py --dataroot {tmp_path / 'out'}"
    assert f"\ntrain on them with: {line}" in done.stdout
    assert "4/4" in read_terminal(terminal)
    os.close(side)
    assert len(made(tmp_path / "out")) == 4


def read_terminal(terminal: int) -> str:
    """Return what was written to a terminal, and close it."""
    with open(terminal, "rb", buffering=0) as file:
        return file.read(100_000).decode()


@pytest.mark.parametrize(
    ("count", "shares", "numbers"),
    [
        (10, [0.8, 0.1, 0.1], [8, 1, 1]),
        (100, [0.7, 0.2, 0.1], [70, 20, 10]),
        (10, [1, 0, 0], [10, 0, 0]),
        (10, [0, 0, 1], [0, 0, 10]),
        (10, [0.5, 0, 0.5], [5, 0, 5]),
        (1, [0.8, 0.1, 0.1], [1, 0, 0]),
        (2, [0.8, 0.1, 0.1], [2, 0, 0]),
        (3, [0.8, 0.1, 0.1], [1, 1, 1]),
    ],
)
def test_shares_become_these_numbers(count, shares, numbers):
    assert counted(count, shares) == numbers


SHARES = [
    list(shares)
    for shares in product([0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 0.9, 1], repeat=3)
    if abs(sum(shares) - 1) < 1e-6
]
EVERY = list(product(range(1, 30), SHARES))


def counted(count: int, shares: list[float]) -> list[int]:
    chosen = split(count, shares)
    return [chosen.count(phase) for phase in PHASES]


def test_every_split_adds_up_and_keeps_to_its_shares():
    for count, shares in EVERY:
        numbers = counted(count, shares)
        assert sum(numbers) == count, f"{shares} of {count}: {numbers}"
        exact = [count * share for share in shares]
        far = [abs(n - e) for n, e in zip(numbers, exact, strict=True)]
        assert max(far) < 2, f"{shares} of {count}: {numbers}"


def test_a_share_of_zero_gets_no_image():
    for count, shares in EVERY:
        numbers = counted(count, shares)
        none = [n for n, share in zip(numbers, shares, strict=True) if share == 0]
        assert not any(none), f"{shares} of {count}: {numbers}"


def test_of_three_images_and_more_every_share_gets_one():
    for count, shares in EVERY:
        numbers = counted(count, shares)
        some = [n for n, share in zip(numbers, shares, strict=True) if share > 0]
        assert count < 3 or all(some), f"{shares} of {count}: {numbers}"


def test_the_split_depends_on_the_seed_and_every_image_is_in_one_phase(tmp_path):
    source = draw_folder(tmp_path / "in", " ".join(map(str, range(20))), size=(8, 8))
    splits = [
        phases(prepare("grayscale", source, tmp_path / f"out{i}", "--seed", seed))
        for i, seed in enumerate((0, 0, 1))
    ]
    assert all(set(split) == {f"{i}.png" for i in range(20)} for split in splits)
    assert splits[0] == splits[1] != splits[2]
    assert Counter(splits[0].values()) == Counter(splits[2].values())
    assert list(splits[0].values()) != sorted(splits[0].values(), reverse=True)  # a mixed order


def test_shares_of_nothing_leave_no_folder(tmp_path):
    out = prepare("grayscale", draw_folder(tmp_path / "in"), tmp_path / "out", "--split", "1,0,0")
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["train"]


def test_without_a_image_to_train_on_no_training_is_proposed(tmp_path, caplog):
    prepare("grayscale", draw_folder(tmp_path / "in"), tmp_path / "out", "--split", "0,0,1")
    assert "no image is for training" in caplog.text and "train.py" not in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        "1.jpg 1.png 1.bmp",
        "a/1.png b/1.png 1.png",
        "a/1.jpg a/1.png b/1.jpg",
        "1.a.png 1.b.png 1.png",
        "1.jpg 1.png 1.jpg.png 1.png.jpg",
        "A.jpg a.jpg",
        "B/1.png b/1.png",
        "a.jpg A.PNG a.png_2.bmp",
    ],
)
def test_images_of_equal_names_do_not_become_one(tmp_path, names):
    for i, name in enumerate(names.split()):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (50 * i,) * 3).save(path)
    out = prepare("grayscale", tmp_path / "in", tmp_path / "out", "--split", "1,0,0")
    greys = sorted(round(pixels(path).mean() / 50) for path in made(out).values())
    assert greys == list(range(i + 1))
    assert len({name.casefold() for name in made(out)}) == i + 1  # nor on Windows and macOS


@pytest.mark.parametrize(
    "name", ["ü 日本 [1] 'x'.png", os.fsdecode(b"\xe9.png"), "x" * 251 + ".png"]
)
@pytest.mark.parametrize("task", ["resize", "inpaint"])
def test_a_image_of_any_name_is_made(tmp_path, task, name):
    draw_folder(tmp_path / "in", "0 1 2")
    draw((80, 72), seed=3).save(tmp_path / "in" / name)
    assert name in made(run(task, tmp_path / "in", tmp_path / "out"))


@pytest.mark.parametrize("source", ["in/", "./in", "in/../in", "."])
def test_IN_and_OUT_may_be_written_in_any_way(tmp_path, monkeypatch, source):
    draw_folder(tmp_path / "in")
    plain = run("inpaint", tmp_path / "in", tmp_path / "plain")
    monkeypatch.chdir(tmp_path / "in" if source == "." else tmp_path)
    make_pairs.main(["--task", "inpaint", source, "../out" if source == "." else "out/"])
    assert {n: p.read_bytes() for n, p in made(tmp_path / "out").items()} == {
        n: p.read_bytes() for n, p in made(plain).items()
    }


def test_hidden_files_and_files_that_are_no_images_are_passed_over(tmp_path):
    source = draw_folder(tmp_path / "in", "1 .hidden .cache/2 sub/3")
    (source / "notes.txt").write_text("no image")
    (source / "Thumbs.db").write_bytes(b"no image")
    assert sorted(made(prepare("grayscale", source, tmp_path / "out"))) == ["1.png", "sub/3.png"]


# A folder that has train/, val/, test/ already.


def test_the_split_of_in_is_kept(tmp_path, caplog):
    source = draw_pairs(tmp_path / "in", count=2, size=(20, 16))
    out = prepare("resize", source, tmp_path / "out", "--pairs", "--size", 8)
    names = {f"{phase}/{i}.png" for phase in PHASES for i in range(2)}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == names
    assert "holds 2 images for train, 2 images for val, 2 images for test" in caplog.text
    for name in names:
        assert Image.open(out / name).size == (16, 8)


def test_another_split_of_a_folder_that_has_one_is_refused(tmp_path):
    source = draw_pairs(tmp_path / "in", count=1)
    refusal(
        lambda: prepare("grayscale", source, tmp_path / "out", "--split", "1,0,0"),
        *("--split 1,0,0", "has test/, train/, val/ already", "leave out --split"),
    )
    assert not (tmp_path / "out").exists()


def split_folders(root: Path, *folders: str) -> Path:
    for folder in folders:
        draw_folder(root / folder, "0 1 2 3", size=(8, 8))
    return root


@pytest.mark.parametrize("val", ["valid", "validation", "Valid", "VAL"])
@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("Training", "TESTING")])
def test_other_names_of_the_phases_are_known(tmp_path, train, val, test):
    source = split_folders(tmp_path / "in", train, val, test)
    out = prepare("grayscale", source, tmp_path / "out")
    names = {f"{phase}/{i}.png" for phase in PHASES for i in range(4)}
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == names


def test_other_names_are_known_to_combine(tmp_path):
    for side in "AB":
        split_folders(tmp_path / "in" / side, "train", "valid")
    out = prepare("combine", tmp_path / "in", tmp_path / "out")
    assert Counter(p.parent.name for p in out.rglob("*.png")) == {"train": 4, "val": 4}


MIXED = {
    "train test valid2": "valid2/",
    "train test cats": "cats/",
    "train test .": "0.png",
    "train .": "0.png",
    "train val test holdout": "holdout/",
    "train test dev": "dev/",
    "train test train/more testing_old": "testing_old/",
    "train2017 test2017": "test2017",
    "trainA testA trainB testB": "testA",
    "dataset/train dataset/test": "dataset/test",
    "cats/train cats/test dogs/train": "cats/test",
    "train_images test_images": "test_images",
}


@pytest.mark.parametrize("folders", MIXED)
def test_a_split_that_is_not_understood_is_never_mixed(tmp_path, folders):
    source = split_folders(tmp_path / "in", *folders.split())
    refusal(
        lambda: prepare("grayscale", source, tmp_path / "out"),
        *(str(source), MIXED[folders], "--split 0.8,0.1,0.1"),
    )
    assert not (tmp_path / "out").exists()
    out = prepare("grayscale", source, tmp_path / "out", "--split", "0.5,0,0.5")
    assert len(made(out)) == 4 * len(folders.split())  # as that line proposes


@pytest.mark.parametrize("folders", ["cats dogs", "trainers valley", "testimony .", "a/latest"])
def test_other_folders_are_split(tmp_path, folders):
    source = split_folders(tmp_path / "in", *folders.split())
    assert len(phases(prepare("grayscale", source, tmp_path / "out"))) == 4 * len(folders.split())


def test_two_folders_of_one_phase_are_refused(tmp_path):
    source = split_folders(tmp_path / "in", "train", "val", "valid")
    refusal(lambda: prepare("grayscale", source, tmp_path / "out"), "val/, valid/", "join them")


@pytest.mark.parametrize(
    ("task", "flags"),
    [
        ("edges", "--mask box"),
        ("edges", "--pairs"),
        ("grayscale", "--factor 4"),
        ("inpaint", "--sigma 2"),
    ],
)
def test_a_flag_of_another_task_is_refused(tmp_path, task, flags):
    source = draw_folder(tmp_path / "in")
    refusal(
        lambda: prepare(task, source, tmp_path / "out", *flags.split()),
        *(flags.split()[0], "works only with --task"),
    )


@pytest.mark.parametrize("half", ["A", "B"])
def test_of_pairs_one_half_is_the_image(tmp_path, half):
    source, out = tmp_path / "in", tmp_path / "out"
    pairs = draw_pairs(source) / "train"  # the names are equal in all phases
    found = made(prepare("edges", pairs, out, "--half", half))
    assert len(found) == 3
    for name, path in found.items():
        wanted = halves(pairs / name)["AB".index(half)]
        assert np.array_equal(halves(path)[1], wanted), name


@pytest.mark.parametrize("flags", [["resize", "--pairs", "--size", "8"], ["combine"]])
def test_a_half_is_refused_where_both_are_used(tmp_path, capfd, flags):
    args = ["--task", *flags, "--half", "A", draw_pairs(tmp_path / "in"), tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, "--half A", "uses both")
