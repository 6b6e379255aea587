"""Lists of image files."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.image_folder import (
    IMG_EXTENSIONS,
    describe,
    is_image_file,
    list_images,
    make_dataset,
    side_folders,
    unread_partner,
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path, **limit: float) -> list[str]:
    return [Path(path).relative_to(root).as_posix() for path in make_dataset(root, **limit)]


def test_listing_is_sorted_and_goes_into_subfolders(tmp_path):
    touch(tmp_path, "c.png", "a.png", "b/z.png", "b/deep/y.png", "10.png", "2.png")
    assert listed(tmp_path) == ["10.png", "2.png", "a.png", "b/deep/y.png", "b/z.png", "c.png"]


def test_a_folder_may_be_given_as_text(tmp_path):
    touch(tmp_path, "a.png")
    assert make_dataset(str(tmp_path)) == make_dataset(tmp_path) == [str(tmp_path / "a.png")]


@pytest.mark.parametrize("extension", IMG_EXTENSIONS)
def test_extensions_count_in_any_case(tmp_path, extension):
    names = [f"a{extension}", f"b{extension.upper()}", f"c{extension.title()}"]
    assert listed(touch(tmp_path, *names)) == names


def test_other_files_are_passed_over(tmp_path):
    touch(tmp_path, "a.png", "notes.txt", "b.png.txt", "png", "c.npz", "d.jpgx", "e.py")
    assert listed(tmp_path) == ["a.png"]


def test_hidden_files_are_passed_over(tmp_path):
    touch(tmp_path, "a.png", ".b.png", "._a.png", "sub/.c.png", ".png")
    assert listed(tmp_path) == ["a.png"]
    assert not is_image_file("folder/.b.png") and is_image_file(".folder/b.png")


def test_a_folder_named_like_a_image_is_a_folder(tmp_path):
    assert listed(touch(tmp_path, "set.png/a.png")) == ["set.png/a.png"]


def test_linked_folders_are_followed(tmp_path):
    elsewhere = touch(tmp_path / "elsewhere", "a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(elsewhere, target_is_directory=True)
    assert listed(tmp_path / "root") == ["link/a.png"]


LINKS = {  # links to folders -> the images, of shared/a.png, shared/sub/b.png and z/c.png
    "a>../shared b>../shared": ["a/a.png", "a/sub/b.png", "z/c.png"],
    "b>z a>b": ["a/c.png"],
    "z/link>../../shared a>../shared": ["a/a.png", "a/sub/b.png", "z/c.png"],
    "a>../shared a-b>../shared": ["a-b/a.png", "a-b/sub/b.png", "z/c.png"],
    "sub>../shared/sub whole>../shared": ["sub/b.png", "whole/a.png", "z/c.png"],
    "a>. b>.": ["z/c.png"],
    "z/up>..": ["z/c.png"],
    "y>z": ["y/c.png"],
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("links", LINKS)
def test_of_several_paths_to_a_folder_the_first_counts(tmp_path, monkeypatch, links, backwards):
    touch(tmp_path, "shared/a.png", "shared/sub/b.png", "root/z/c.png")
    for link in links.split():
        path, target = link.split(">")
        (tmp_path / "root" / path).symlink_to(target, target_is_directory=True)
    walk = os.walk

    def ordered(top: Path, **how: bool) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, names in walk(top, **how):
            folders.sort(reverse=backwards)  # as another file system lists them
            yield root, folders, names

    monkeypatch.setattr(os, "walk", ordered)
    assert listed(tmp_path / "root") == LINKS[links]


def test_max_dataset_size_keeps_the_first(tmp_path):
    touch(tmp_path, "c.png", "a.png", "b.png")
    assert listed(tmp_path, max_dataset_size=2) == ["a.png", "b.png"]
    assert len(listed(tmp_path, max_dataset_size=7)) == 3
    assert len(listed(tmp_path, max_dataset_size=float("inf"))) == 3


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="--dataroot: .*/absent does not exist"):
        make_dataset(tmp_path / "absent")


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="a.png is a file, not a folder"):
        make_dataset(touch(tmp_path, "a.png") / "a.png")


def test_folder_without_images_says_what_it_holds_and_what_it_may(tmp_path):
    touch(tmp_path, "notes.txt", "more.txt", "sub/x.npz")
    with pytest.raises(ValueError) as error:
        make_dataset(tmp_path)
    message = str(error.value)
    assert message.startswith("--dataroot: ") and str(tmp_path) in message
    assert "found sub/, 2 other files" in message and ".png" in message
    assert "\n" not in message


def test_describe_counts_images_and_names_folders(tmp_path):
    touch(tmp_path, "a.png", "b.JPG", "notes.txt", "val/x.png", "train/x.png", ".git/config")
    assert describe(tmp_path) == "train/, val/, 2 images, 1 other files"


def test_describe_names_few_of_many_folders(tmp_path):
    touch(tmp_path, *(f"{i}/x.png" for i in range(9)))
    assert describe(tmp_path) == "0/, 1/, 2/, 3/, 4/, 5/, … 3 folders more"


def test_describe_an_empty_folder(tmp_path):
    assert describe(tmp_path) == "nothing"


OTHERS = [
    *("@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", ".ipynb_checkpoints/a-checkpoint.png"),
    *("__MACOSX/._a.png", "__MACOSX/a.png", "#recycle/a.png", "@Recycle/a.png", ".@__thumb/a.jpg"),
    *("$RECYCLE.BIN/a.png", "System Volume Information/a.png", "lost+found/a.png", ".git/a.png"),
    *("sub/@EADIR/a.png", "sub/__pycache__/a.png", "#snapshot/day/a.png", ".thumbnails/a.png"),
]
LEFT = ["Thumbs.db", "thumbs.DB", "desktop.ini", ".DS_Store", "~$a.png", "a.png:Zone.Identifier"]


@pytest.mark.parametrize("name", [*OTHERS, *LEFT])
def test_folders_and_files_of_other_programs_are_ignored(tmp_path, name):
    touch(tmp_path, "a.png", "sub/b.png", name)
    assert listed(tmp_path) == ["a.png", "sub/b.png"]
    assert not list_images(tmp_path).others
    assert describe(tmp_path) == "sub/, 1 images"


def test_a_folder_with_a_strange_name_of_ones_own_is_read(tmp_path):
    touch(tmp_path, "@home/a.png", "#1/b.png", "_c/c.png", "eaDir/d.png")
    assert listed(tmp_path) == ["#1/b.png", "@home/a.png", "_c/c.png", "eaDir/d.png"]
    assert listed(touch(tmp_path / ".cache" / "x", "a.png")) == ["a.png"]


def test_files_of_other_kinds_are_counted_and_named_once(tmp_path, caplog):
    touch(tmp_path, "a.png", "b.psd", "sub/c.PSD", "d.txt", "README", "Thumbs.db", ".e.psd")
    for _ in range(3):
        make_dataset(tmp_path)
    (line,) = [r.getMessage() for r in caplog.records]
    assert line == f"{tmp_path} also holds files that are ignored: 2 .psd, 1 .txt, 1 README"


def test_many_kinds_are_named_in_short(tmp_path, caplog):
    touch(tmp_path, "a.png", *(f"{i}.x{i}" for i in range(9)))
    make_dataset(tmp_path)
    assert caplog.text.count("1 .x") == 6 and "3 others" in caplog.text


def test_nothing_is_said_of_a_folder_of_images(tmp_path, caplog):
    make_dataset(touch(tmp_path, "a.png", "b.jfif", "c.GIF", "@eaDir/x.bin"))
    assert not caplog.records


@pytest.mark.parametrize("A,B", [("trainA", "trainB"), ("train_A", "train_B")])
def test_the_folders_of_both_sides_are_found(tmp_path, A, B):
    touch(tmp_path, f"{A}/1.png", f"{B}/1.png", "train_inst/1.png", "train_label/1.png")
    assert side_folders(tmp_path, "train") == {"A": tmp_path / A, "B": tmp_path / B}


def test_the_folders_of_labels_and_images_are_sides(tmp_path):
    touch(tmp_path, "val_label/1.png", "val_img/1.png", "val_inst/1.png")
    found = side_folders(tmp_path, "val")
    assert found == {"A": tmp_path / "val_label", "B": tmp_path / "val_img"}
    assert side_folders(tmp_path, "test") == {}


def test_an_unread_partner_is_named(tmp_path):
    touch(tmp_path, "sub/a.b.psd", "1.heic", "2.png.bak", "3")
    assert "sub/a.b.psd is there, but .psd is not read" in unread_partner(tmp_path, "sub/a.b")
    assert "pip install pillow-heif" in unread_partner(tmp_path, "1")
    assert "3 is there, but its kind is not read" in unread_partner(tmp_path, "3")
    assert unread_partner(tmp_path, "2") == unread_partner(tmp_path, "none/x") == ""
