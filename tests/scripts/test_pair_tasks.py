"""A and B of every task, pixel for pixel."""

from pathlib import Path

import numpy as np
import pytest
from conftest import FACADES, draw, needs_facades
from PIL import Image
from support.preparing import draw_folder, halves, made, pixels, prepare

from scripts.pairs.tasks import MASKS, TASKS

ROTATE = Image.Transpose.ROTATE_270  # what EXIF orientation 6 asks for
BICUBIC = Image.Resampling.BICUBIC

tasks = pytest.mark.parametrize("task", TASKS)
shapes = pytest.mark.parametrize("shape", MASKS)


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """A folder with an image of every kind."""
    folder = draw_folder(tmp_path / "in", "plain")
    for name, size in {"odd": (81, 71), "thin": (1, 40), "flat": (40, 1), "dot": (1, 1)}.items():
        draw(size).save(folder / f"{name}.png")
    draw((40, 30)).convert("L").save(folder / "grey.png")
    draw((40, 30)).convert("P").save(folder / "palette.png")
    draw((40, 30)).convert("1").save(folder / "black_and_white.png")
    clear = draw((40, 30)).convert("RGBA")
    clear.putalpha(draw((40, 30), seed=1).convert("L"))
    clear.save(folder / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw((40, 30)).save(folder / "turned.jpg", exif=exif)
    return folder


def upright(path: Path) -> Image.Image:
    """Return the image as a viewer shows it, in RGB."""
    image = Image.open(path).convert("RGB")
    return image.transpose(ROTATE) if path.stem == "turned" else image


def middle(image: Image.Image, size: int) -> np.ndarray:
    """Return the middle square, `size` wide."""
    side = min(image.size)
    x, y = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.resize((size, size), BICUBIC, box=(x, y, x + side, y + side)))


def one(tmp_path: Path, task: str, image: Image.Image, *flags: object) -> tuple[np.ndarray, ...]:
    """Return A and B that a task makes of one image."""
    folder = tmp_path / "one"
    folder.mkdir()
    image.save(folder / "1.png")
    return halves(made(prepare(task, folder, tmp_path / "out", *flags))["1.png"])


@tasks
def test_B_is_the_whole_image_of_any_kind_upright_in_RGB(kinds, tmp_path, task):
    out = made(prepare(task, kinds, tmp_path / "out"))
    sources = {path.stem: upright(path) for path in kinds.iterdir()}
    assert {Path(name).stem for name in out} == set(sources)
    for name, path in out.items():
        A, B = halves(path)
        assert A.shape == B.shape
        assert np.array_equal(B, np.asarray(sources[Path(name).stem])), name


@tasks
def test_with_a_size_B_is_the_middle_square(kinds, tmp_path, task):
    out = made(prepare(task, kinds, tmp_path / "out", "--size", 32))
    for path in kinds.iterdir():
        A, B = halves(out[f"{path.stem}.png"])
        assert A.shape == B.shape == (32, 32, 3)
        assert np.array_equal(B, middle(upright(path), 32)), path


@pytest.mark.parametrize("turned", [False, True])
def test_the_square_is_the_middle(tmp_path, turned):
    flag = Image.new("RGB", (90, 30), "red")
    flag.paste((0, 128, 0), (30, 0, 60, 30))
    flag.paste((0, 0, 255), (60, 0, 90, 30))
    flag = flag.transpose(ROTATE) if turned else flag
    _, B = one(tmp_path, "grayscale", flag, "--size", 30)
    assert np.array_equal(np.unique(B.reshape(-1, 3), axis=0), [[0, 128, 0]])


@pytest.mark.parametrize("size", [[], ["--size", 32]])
def test_grey_is_ITU_601_luma_in_three_channels(tmp_path, size):
    A, B = one(tmp_path, "grayscale", draw((81, 72)), *size)
    luma = B.astype(np.int64) @ [19595, 38470, 7471]  # 0.299, 0.587, 0.114 of 65536
    assert np.array_equal(A, np.stack([(luma + 0x8000) >> 16] * 3, axis=-1))


@pytest.mark.parametrize("factor", [2, 4, 7, 1000])
def test_superres_is_PILs_shrink_and_enlarge(tmp_path, factor):
    A, B = one(tmp_path, "superres", draw((81, 30)), "--factor", factor)
    small = (max(81 // factor, 1), max(30 // factor, 1))
    blurred = Image.fromarray(B).resize(small, BICUBIC).resize((81, 30), BICUBIC)
    assert np.array_equal(A, np.asarray(blurred))


def test_superres_shrinks_by_four_unless_told_otherwise(tmp_path):
    A, B = one(tmp_path, "superres", draw((80, 32)))
    blurred = Image.fromarray(B).resize((20, 8), BICUBIC).resize((80, 32), BICUBIC)
    assert np.array_equal(A, np.asarray(blurred))


@shapes
def test_inpaint_is_white_in_the_holes_and_the_image_around_them(tmp_path, shape):
    dark = draw((81, 72)).point(lambda value: value // 2)
    A, B = one(tmp_path, "inpaint", dark, "--mask", shape)
    hole = (A != B).any(axis=-1)
    assert 0.01 < hole.mean() < 0.8
    assert (A[hole] == 255).all()


@shapes
@pytest.mark.parametrize("size", [(64, 64), (200, 50), (31, 77)])
def test_holes_cover_a_plausible_share(shape, size):
    masks = [MASKS[shape](size, np.random.default_rng(seed)) for seed in range(100)]
    assert all(mask.size == size and mask.mode == "L" for mask in masks)
    assert {value for mask in masks for value in np.unique(mask).tolist()} == {0, 255}
    shares = [np.mean(np.asarray(mask) == 255) for mask in masks]
    assert 0.005 < min(shares) and max(shares) < 0.8
    assert 0.05 < np.mean(shares) < 0.5
    assert len({mask.tobytes() for mask in masks}) == 100


def test_boxes_have_straight_sides_and_free_forms_do_not():
    for seed in range(20):
        box, free = (
            np.asarray(MASKS[shape]((64, 64), np.random.default_rng(seed)))
            for shape in ("box", "freeform")
        )
        # Three boxes at most: their six ends cut an image into seven bands of equal lines.
        for turned in (False, True):
            bands, lines = (len(np.unique(m.T if turned else m, axis=0)) for m in (box, free))
            assert bands <= 7 < lines


@shapes
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_tiny_images_have_masks_too(shape, size):
    assert all(MASKS[shape](size, np.random.default_rng(s)).size == size for s in range(20))


@shapes
def test_holes_depend_on_the_seed_and_the_files_path_only(tmp_path, shape):
    folder = tmp_path / "in"
    for name in ("a/1.png", "a/2.png", "b/1.png", "3.png"):  # one image four times
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        draw((64, 60)).save(folder / name)
    alone = tmp_path / "elsewhere"
    (alone / "b").mkdir(parents=True)
    draw((64, 60)).save(alone / "b" / "1.png")
    many, few, other = (
        made(prepare("inpaint", source, tmp_path / f"out{i}", "--mask", shape, *flags))
        for i, (source, flags) in enumerate(
            [(folder, ["--num_threads", 3]), (alone, []), (alone, ["--seed", 1])]
        )
    )
    assert len({path.read_bytes() for path in many.values()}) == 4
    assert few["b/1.png"].read_bytes() == many["b/1.png"].read_bytes()
    assert few["b/1.png"].read_bytes() != other["b/1.png"].read_bytes()


def test_edges_are_black_on_white_and_lie_where_the_image_changes(tmp_path):
    house = Image.new("RGB", (80, 60), (90, 140, 200))
    house.paste((60, 40, 30), (20, 15, 50, 45))
    A, _ = one(tmp_path, "edges", house)
    assert set(np.unique(A)) == {0, 255}
    assert (A == A[..., :1]).all()
    rows, columns = np.nonzero(A[..., 0] == 0)
    away = np.maximum(np.abs(columns + 0.5 - 35) - 15, np.abs(rows + 0.5 - 30) - 15)
    assert np.abs(away).max() <= 2  # pixels from the rectangle's border
    assert set(range(19, 41)) <= set(rows) and set(range(24, 46)) <= set(columns)
    assert 80 < len(rows) < 160  # thin: about once around, 120 pixels


@pytest.mark.parametrize("sigma", [0, 2.0])
def test_a_flat_image_has_no_edges(tmp_path, sigma):
    A, _ = one(tmp_path, "edges", Image.new("RGB", (40, 30), (10, 200, 90)), "--sigma", sigma)
    assert (A == 255).all()


def test_a_wider_blur_leaves_fewer_edges(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(noise).save(folder / "1.png")
    counts = []
    for sigma in (0.5, 1, 2, 3):
        out = made(prepare("edges", folder, tmp_path / f"{sigma}", "--sigma", sigma))
        counts.append(int((halves(out["1.png"])[0] == 0).sum()))
    assert counts == sorted(set(counts), reverse=True)


def test_resize_makes_plain_images_of_the_middle_square(kinds, tmp_path):
    out = made(prepare("resize", kinds, tmp_path / "out", "--size", 32))
    assert len(out) == len(list(kinds.iterdir()))
    for path in kinds.iterdir():
        assert np.array_equal(pixels(out[f"{path.stem}.png"]), middle(upright(path), 32)), path


def test_resize_brings_both_halves_of_pairs_to_the_size(pairs, tmp_path):
    out = made(prepare("resize", pairs / "train", tmp_path / "out", "--pairs", "--size", 40))
    assert sorted(out) == ["0.png", "1.png", "2.png"]
    for name, path in out.items():
        for half, source in zip(halves(path), halves(pairs / "train" / name), strict=True):
            assert np.array_equal(half, middle(Image.fromarray(source), 40))


@pytest.mark.parametrize("size", [None, 32])
def test_combine_puts_A_left_and_B_right(tmp_path, size):
    draw_folder(tmp_path / "in" / "A", "1.png sub/2.png sub/1.bmp")
    draw_folder(tmp_path / "in" / "B", "sub/1.tif 1.PNG sub/2.bmp")  # other extensions, seeds
    flags = ["--size", size] if size else []
    out = made(prepare("combine", tmp_path / "in", tmp_path / "out", *flags))
    assert sorted(out) == ["1.png", "sub/1.png", "sub/2.png"]
    for name, seeds in {"1.png": (0, 1), "sub/2.png": (1, 2), "sub/1.png": (2, 0)}.items():
        for half, seed in zip(halves(out[name]), seeds, strict=True):
            whole = draw((80, 72), seed)
            assert np.array_equal(half, middle(whole, size) if size else np.asarray(whole))


@needs_facades
def test_edges_of_real_photos_lie_where_they_change_most(tmp_path):
    (tmp_path / "photos").mkdir()
    for path in sorted((FACADES / "train").iterdir())[:3]:
        pair = Image.open(path)
        pair.crop((0, 0, pair.width // 2, pair.height)).save(tmp_path / "photos" / path.name)
    out = made(prepare("edges", tmp_path / "photos", tmp_path / "out"))
    assert len(out) == 3
    for path in out.values():
        A, B = halves(path)
        line = A[..., 0] == 0
        steepness = np.hypot(*np.gradient(B.mean(axis=-1)))
        assert 0.01 < line.mean() < 0.3
        assert steepness[line].mean() > 2 * steepness[~line].mean()
