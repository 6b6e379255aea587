"""make_pairs: mistakes are said on one line with status 2, and nothing is written."""

import sys
from pathlib import Path

import pytest
from conftest import draw
from support.preparing import TRAIN_LINE, complaint, contents, draw_folder, halves, made, prepare

from scripts import make_pairs

NONSENSE = {
    "edges": [
        *("--sigma -1", "--sigma nan", "--sigma inf", "--sigma blurred"),
        *("--split", "--split=", "--split 1", "--split 0.5,0.5", "--split 0.8,0.1,0.2"),
        *("--split a,b,c", "--split nan,0.5,0.5", "--split 1.2,-0.1,-0.1", "--split inf,0,0"),
        *("--split 0.8,0.1,0.1,0", "--split 80,10,10"),
        *("--num_threads 0", "--num_threads -1", "--num_threads many"),
        *("--seed -1", "--seed 1.5", "--bogus 1"),
    ],
    "superres": ["--factor 0", "--factor 1", "--factor -4", "--factor 2.5"],
    "inpaint": ["--mask circle", "--mask"],
    "grayscale": ["--size 0", "--size -5", "--size big", "--size 1000000000", f"--size {2**40}"],
    "resize": ["--size 0", "--pairs=1 --size 32"],
    "paint": [""],
}


@pytest.mark.parametrize(
    ("task", "flags"), [(task, flags) for task, lines in NONSENSE.items() for flags in lines]
)
def test_a_nonsense_value_is_named_on_one_line(tmp_path, capfd, task, flags):
    source, out = draw_folder(tmp_path / "in"), tmp_path / "out"
    flag = flags.split()[0].partition("=")[0] if flags else "--task"
    args = ["--task", task, "--num_threads", "1", source, out, *flags.split()]
    complaint(capfd, make_pairs.main, args, flag)
    assert not out.exists()


@pytest.mark.parametrize("flags", ["", "--pairs"])
def test_resize_without_a_size_is_refused(tmp_path, capfd, flags):
    args = ["--task", "resize", draw_folder(tmp_path / "in"), tmp_path / "out", *flags.split()]
    complaint(capfd, make_pairs.main, args, "--size")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("args", ["", "in", "in out", "--task edges", "--task edges in"])
def test_missing_arguments_are_named_on_one_line(tmp_path, capfd, monkeypatch, args):
    monkeypatch.chdir(draw_folder(tmp_path / "in").parent)
    complaint(capfd, make_pairs.main, args.split(), "OUT" if "out" not in args else "--task")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["edges", "combine"])
@pytest.mark.parametrize("there", ["nothing", "file", "empty folder", "no images"])
def test_IN_without_images_is_named(tmp_path, capfd, task, there):
    source = tmp_path / "in"
    if there == "file":
        source.write_text("")
    elif there != "nothing":
        for side in "AB" if task == "combine" else [""]:
            (source / side).mkdir(parents=True)
    if there == "no images":
        (source / "notes.txt").write_text("")
    args = ["--task", task, source, tmp_path / "out"]
    line = complaint(capfd, make_pairs.main, args, "IN", str(source))
    assert "--dataroot" not in line  # which is no flag of this command
    assert not (tmp_path / "out").exists()


def test_without_scikit_image_one_line_says_what_to_install(tmp_path, capfd, monkeypatch, caplog):
    for name in [name for name in sys.modules if name.partition(".")[0] == "skimage"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "skimage", None)
    args = ["--task", "edges", draw_folder(tmp_path / "in"), tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, "--task edges", "pip install scikit-image")
    assert not any(text.startswith(("ignored: ", TRAIN_LINE)) for text in caplog.messages)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("task", ["grayscale", "inpaint", "superres"])
def test_only_edges_want_scikit_image(tmp_path, monkeypatch, task):
    for name in [name for name in sys.modules if name.partition(".")[0] == "skimage"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "skimage", None)
    assert len(made(prepare(task, draw_folder(tmp_path / "in"), tmp_path / "out"))) == 4


def two_folders(root: Path) -> Path:
    draw_folder(root / "A", "1 sub/2 3 4")
    draw_folder(root / "B", "1 sub/2 3 4")
    return root


@pytest.mark.parametrize("side", "AB")
def test_combine_wants_both_folders(tmp_path, capfd, side):
    source = two_folders(tmp_path / "in")
    (source / side).rename(tmp_path / "elsewhere")
    args = ["--task", "combine", source, tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, "IN", str(source / side))
    assert not (tmp_path / "out").exists()


def test_combine_names_a_image_without_partner(tmp_path, capfd):
    source = two_folders(tmp_path / "in")
    (source / "B" / "sub" / "2.png").unlink()
    args = ["--task", "combine", source, tmp_path / "out"]
    wanted = f"{source / 'B' / 'sub' / '2'}.* (1 of 4 without one)"
    complaint(capfd, make_pairs.main, args, wanted)
    assert not (tmp_path / "out").exists()


def test_combine_names_images_of_equal_names(tmp_path, capfd):
    source = two_folders(tmp_path / "in")
    draw((80, 72)).save(source / "B" / "sub" / "2.jpg")
    args = ["--task", "combine", source, tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, f"{source / 'B' / 'sub' / '2'}.* are 2 images")


def test_combine_leaves_out_pairs_of_different_sizes_by_name(tmp_path, caplog):
    source = two_folders(tmp_path / "in")
    draw((80, 71)).save(source / "B" / "3.png")
    out = prepare("combine", source, tmp_path / "out")
    assert sorted(made(out)) == ["1.png", "4.png", "sub/2.png"]
    (line,) = [text for text in caplog.messages if "ignored: " in text]
    for word in ("A/3.png", "80x72", "B/3.png", "80x71"):
        assert word in line


def test_combine_brings_different_sizes_to_one_size(tmp_path):
    source = two_folders(tmp_path / "in")
    draw((50, 71)).save(source / "B" / "3.png")
    assert len(made(prepare("combine", source, tmp_path / "out", "--size", 32))) == 4


@pytest.mark.parametrize(
    ("A", "B"),
    [
        ("1.png 1.b.png 2.png", "1.png 1.b.png 2.png"),
        ("1.png 2.png 3.png", "1.png 1.txt 2.png 3.jpg.bak 3.png"),
        ("x[1].png x1.png y.png", "x[1].png x1.png y.png"),
        ("x*.png xy.png x?.png", "x*.png xy.png x?.png"),
    ],
    ids=["stems with dots", "files that are no images", "brackets", "stars"],
)
def test_combine_finds_the_partner_by_the_whole_name(tmp_path, A, B):
    for side, names in (("A", A.split()), ("B", B.split())):
        (tmp_path / "in" / side).mkdir(parents=True)
        for name in names:
            path = tmp_path / "in" / side / name
            if name.endswith(".png"):
                draw((8, 8), seed=A.split().index(name)).save(path)
            else:
                path.write_text("no image")
    out = made(prepare("combine", tmp_path / "in", tmp_path / "out"))
    assert sorted(out) == sorted(A.split())
    for left, right in map(halves, out.values()):
        assert (left == right).all()


def test_combine_never_takes_another_images_partner(tmp_path, capfd):
    draw_folder(tmp_path / "in" / "A", "x[1]")
    draw_folder(tmp_path / "in" / "B", "x1")
    args = ["--task", "combine", tmp_path / "in", tmp_path / "out"]
    complaint(capfd, make_pairs.main, args, str(tmp_path / "in" / "B" / "x[1]"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capfd):
    (tmp_path / "file").write_text("")
    before = contents(tmp_path)
    args = ["--task", "edges", draw_folder(tmp_path / "in"), tmp_path / "file" / "out"]
    complaint(capfd, make_pairs.main, args, "OUT", str(tmp_path / "file"))
    assert (tmp_path / "file").read_bytes() == before["file"]
