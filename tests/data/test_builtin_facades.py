"""The built-in image set: what it draws, and how it reaches the disk."""

import logging
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import builtin_facades
from data.builtin_facades import (
    GRID,
    INDEX,
    PALETTE,
    SIZE,
    draw_pair,
    is_builtin,
    shadow,
    write_once,
)

TRAIN, TEST = 100, 20  # how many images the claims about the whole set are checked on
COLOURS = np.array(list(PALETTE.values()))


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Photos in [0, 1] and label maps in 0..255, both (N, SIZE, SIZE, 3)."""
    drawn = [draw_pair(np.random.default_rng([5, index])) for index in range(TRAIN + TEST)]
    photos, labels = (
        np.stack([np.asarray(image) for image in half]) for half in zip(*drawn, strict=True)
    )
    return photos / 255, labels


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the set small, so that writing it takes no time."""
    monkeypatch.setattr(builtin_facades, "SPLITS", {"train": 3, "val": 1, "test": 2})


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def class_indices(labels: np.ndarray) -> np.ndarray:
    """(…, 3) colours to (…) positions in the palette, -1 for any other colour."""
    indices = np.full(labels.shape[:-1], -1)
    for index, colour in enumerate(COLOURS):
        indices[(labels == colour).all(axis=-1)] = index
    return indices


def test_drawing_is_deterministic():
    first, again, other = (draw_pair(np.random.default_rng(seed)) for seed in (1, 1, 2))
    for half in range(2):
        assert first[half].tobytes() == again[half].tobytes()
        assert first[half].tobytes() != other[half].tobytes()


def test_halves_are_square_rgb_images():
    for half in draw_pair(np.random.default_rng(0)):
        assert half.mode == "RGB" and half.size == (SIZE, SIZE)


def test_palette_colours_are_far_apart():
    for one, other in combinations(COLOURS, 2):
        assert np.linalg.norm(one - other) > 80


def test_label_halves_hold_palette_colours_only(pairs):
    assert class_indices(pairs[1]).min() >= 0


def test_every_class_occurs(pairs):
    indices = class_indices(pairs[1])
    for index, name in enumerate(PALETTE):
        assert (indices == index).mean() > 0.005, name


def test_no_two_layouts_are_alike(pairs):
    assert len({labels.tobytes() for labels in pairs[1]}) == TRAIN + TEST


def test_layouts_vary_enough_for_a_network_to_beat_the_mean(pairs):
    photos, classes = pairs[0], class_indices(pairs[1])
    to_mean = np.abs(photos[TRAIN:] - photos[:TRAIN].mean(axis=0)).mean()
    colours = [
        photos[:TRAIN][classes[:TRAIN] == index].mean(axis=0) for index in range(len(PALETTE))
    ]
    to_class_colours = np.abs(photos[TRAIN:] - np.stack(colours)[classes[TRAIN:]]).mean()
    assert to_class_colours / to_mean < 0.35


def test_brickwork_is_rough_and_the_sky_smooth(pairs):
    photos, names = pairs[0][:20], list(PALETTE)
    classes = class_indices(pairs[1][:20])
    steps = np.abs(np.diff(photos, axis=1)).mean(axis=-1)

    def roughness(name: str) -> float:
        inside = classes == names.index(name)
        return steps[inside[:, 1:] & inside[:, :-1]].mean()

    assert roughness("brick") > 2.5 * roughness("sky")


def test_shadows_fall_below_and_right_of_what_stands_out():
    labels = np.full((GRID, GRID), INDEX["plaster"])
    labels[100:110, 100:200] = INDEX["cornice"]
    hidden = shadow(labels)
    assert hidden[110:113, 105:200].all()
    assert not hidden[:100].any() and not hidden[:, :100].any() and not hidden[120:].any()
    labels[110:] = INDEX["sky"]
    assert not shadow(labels)[110:].any()


def test_files_are_photo_left_and_labels_right(tmp_path, small):
    root = write_once(tmp_path / "set")
    photo, labels = draw_pair(np.random.default_rng([builtin_facades.SEED, 2, 2]))
    with Image.open(root / "test" / "0002.png") as stitched:
        assert stitched.mode == "RGB" and stitched.size == (2 * SIZE, SIZE)
        assert stitched.crop((0, 0, SIZE, SIZE)).tobytes() == photo.tobytes()
        assert stitched.crop((SIZE, 0, 2 * SIZE, SIZE)).tobytes() == labels.tobytes()


def test_every_split_has_its_number_of_images(tmp_path, small):
    root = write_once(tmp_path / "set")
    assert sorted(path.name for path in (root / "train").iterdir()) == [
        "0001.png",
        "0002.png",
        "0003.png",
    ]
    assert {
        path.name: len(list(path.iterdir())) for path in root.iterdir()
    } == builtin_facades.SPLITS


def test_writing_twice_gives_the_same_bytes_and_no_image_twice(tmp_path, small):
    one, other = contents(write_once(tmp_path / "a")), contents(write_once(str(tmp_path / "b")))
    assert one == other
    assert len(set(one.values())) == len(one)


def test_write_once_leaves_an_existing_folder_alone(tmp_path, small, caplog):
    caplog.set_level(logging.INFO)
    (tmp_path / "mine.txt").write_text("mine")
    assert write_once(tmp_path) == tmp_path
    assert contents(tmp_path) == {"mine.txt": b"mine"}
    assert not caplog.records


def test_drawing_says_so_in_one_line(tmp_path, small, caplog):
    caplog.set_level(logging.INFO)
    write_once(tmp_path / "set")
    assert [record.name for record in caplog.records] == ["data.builtin_facades"]
    assert str(tmp_path / "set") in caplog.text


@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
def test_failure_leaves_nothing_behind(tmp_path, small, monkeypatch, error):
    calls = []

    def fail_late(rng):
        calls.append(rng)
        if len(calls) == 5:
            raise error("stopped")
        return draw_pair(rng)

    monkeypatch.setattr(builtin_facades, "draw_pair", fail_late)
    with pytest.raises(error):
        write_once(tmp_path / "set")
    assert len(calls) == 5 and not list(tmp_path.iterdir())


def test_a_root_is_never_seen_half_written(tmp_path, small, monkeypatch):
    seen = []

    def look(rng):
        seen.append((tmp_path / "set").exists())
        return draw_pair(rng)

    monkeypatch.setattr(builtin_facades, "draw_pair", look)
    write_once(tmp_path / "set")
    assert seen == [False] * 6
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_the_first_process_to_finish_wins(tmp_path, small, monkeypatch):
    def overtaken(rng):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / "theirs.txt").write_text("theirs")
        return draw_pair(rng)

    monkeypatch.setattr(builtin_facades, "draw_pair", overtaken)
    assert write_once(tmp_path / "set") == tmp_path / "set"
    assert contents(tmp_path) == {"set/theirs.txt": b"theirs"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write_once(tmp_path / "file" / "set")


def test_others_may_read_the_set_as_any_new_folder(tmp_path, small):
    (tmp_path / "plain").mkdir()
    root = write_once(tmp_path / "deep" / "set")
    assert root.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_is_builtin_compares_resolved_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_builtin(builtin_facades.ROOT)
    assert is_builtin("datasets/../datasets/builtin_facades/")
    assert is_builtin(tmp_path / "datasets" / "builtin_facades")
    assert not is_builtin("./datasets")
    assert not is_builtin("./datasets/facades")
    assert not is_builtin("builtin_facades")
