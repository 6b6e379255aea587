"""A new test in the folder of an earlier one deletes what only the earlier one made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, draw, draw_pairs

from inference import earlier_results, results
from util.errors import RunStopped

Command = Callable[..., SimpleNamespace]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]
IMAGES = Path("results/r/test_latest/images")


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Command:
    """A run `r`, and a test of three images."""
    root = draw_pairs(tmp_path / "d")
    assert command("train", *TINY, "--dataroot", root, "--name", "r", "--no_html").status == 0
    assert command("test", *TEST).status == 0
    return command


def stems() -> set[str]:
    return {path.name.partition("_")[0] for path in IMAGES.iterdir()}


def test_images_that_are_gone_leave_no_results(run, tmp_path, caplog) -> None:
    (IMAGES / "mine_fake_B.png").write_bytes(b"a user's own")
    (tmp_path / "d" / "test" / "1.png").rename(tmp_path / "d" / "test" / "7.png")
    assert run("test", *TEST).status == 0
    assert stems() == {"0", "2", "7", "mine"}
    assert "deleted 3 files of an earlier test in results/r/test_latest" in caplog.text
    assert not list(IMAGES.parent.rglob("earlier.json"))
    caplog.clear()
    assert run("test", *TEST).status == 0
    assert "deleted" not in caplog.text and stems() == {"0", "2", "7", "mine"}


def test_a_name_that_differs_in_case_alone_may_be_the_same_file(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/img_fake_B.png").touch()  # where case does not count, IMG_fake_B.png, too
    folder = tmp_path / "shards"
    folder.mkdir()
    earlier_results.remember(folder, ["img_fake_B.png"])
    line = {"files": {"fake_B": "IMG_fake_B.png"}}
    (folder / "whole.jsonl").write_text(json.dumps(line) + "\n")
    earlier_results.delete_replaced(tmp_path, folder)
    assert (tmp_path / "images/img_fake_B.png").exists()


def test_fewer_images_of_the_same_test_stay(run) -> None:
    assert run("test", *TEST, "--num_test", "1").status == 0
    assert stems() == {"0", "1", "2"}


def test_images_of_another_model_lie_beside_these(run, tmp_path) -> None:
    (tmp_path / "inputs").mkdir()
    draw((64, 64)).save(tmp_path / "inputs" / "0.png")
    assert run("test", *TEST, "--model", "test", "--dataroot", tmp_path / "inputs").status == 0
    assert {path.name for path in IMAGES.glob("0_*")} >= {"0_fake.png", "0_fake_B.png"}


def test_a_test_that_is_stopped_deletes_nothing_until_it_is_completed(
    run, tmp_path, monkeypatch
) -> None:
    for name in ("0", "1"):
        shutil.move(tmp_path / "d/test" / f"{name}.png", tmp_path / "d/test" / f"{name}x.png")

    def stop(*args: object) -> None:
        raise RunStopped("stopped", 130)

    with monkeypatch.context() as patch:
        patch.setattr(results, "note_resizing", stop)
        assert run("test", *TEST).status == 130
    assert stems() == {"0", "1", "2"}
    assert run("test", *TEST, "--skip_finished").status == 0
    assert stems() == {"0x", "1x", "2"}


def test_a_file_elsewhere_is_never_deleted(run, tmp_path) -> None:
    outside = tmp_path / "work" / "results" / "r" / "test_latest" / "kept.png"
    outside.write_bytes(b"x")
    lines = IMAGES.parent / "shards" / "whole.jsonl"
    text = lines.read_text().replace('"0_real_A.png"', '"../kept.png"')
    lines.write_text(text)
    (tmp_path / "d" / "test" / "0.png").rename(tmp_path / "d" / "test" / "7.png")
    assert run("test", *TEST).status == 0
    assert outside.exists() and "7" in stems()
