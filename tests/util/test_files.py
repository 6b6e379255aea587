"""Folders for output; whole files and owners are in faults/test_bad_luck.py."""

import pytest

from util.files import atomic_write, make_folder


def test_make_folder_makes_it_and_leaves_it_empty(tmp_path):
    folder = make_folder(str(tmp_path / "a" / "b"), "--results_dir")
    assert folder == tmp_path / "a" / "b" and folder.is_dir() and not list(folder.iterdir())
    assert make_folder(folder, "--results_dir") == folder


@pytest.mark.parametrize("below", ["", "/sub"])
def test_make_folder_names_the_flag_of_a_folder_that_cannot_be(tmp_path, below):
    (tmp_path / "file").touch()
    folder = f"{tmp_path}/file{below}"
    with pytest.raises(ValueError) as error:
        make_folder(folder, "--results_dir")
    message = str(error.value)
    assert message.startswith(f"--results_dir: {folder} ") and "\n" not in message


def test_a_name_as_long_as_a_file_system_takes_is_written(tmp_path):
    path = tmp_path / f"{'图' * 80}.png"  # 244 bytes
    with atomic_write(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x" and list(tmp_path.iterdir()) == [path]
