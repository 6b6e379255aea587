"""Sketches: lines of every colour and paper are read, photos are told from them."""

from pathlib import Path

import numpy as np
import pytest
from conftest import FACADES, draw, needs_facades, refusal
from PIL import Image, ImageDraw, ImageFilter

from data.holes.mask_files import as_image
from data.holes.sketches import edges_of, lines_of, load_sketch

LINES = np.zeros((40, 48), bool)
LINES[9:11, 4:30] = True
PHOTO = "grey values, 64 to 191, as in a photo", "dark lines on light"


def on_paper(paper: int, pencil: int) -> Image.Image:
    return Image.fromarray(np.where(LINES, pencil, paper).astype(np.uint8))


@pytest.mark.parametrize(
    "sketch",
    [
        on_paper(0, 255),
        on_paper(255, 0),
        on_paper(0, 1),
        on_paper(210, 90),
        on_paper(255, 0).convert("CMYK"),
        on_paper(255, 0).convert("P"),
        on_paper(255, 0).convert("1"),
    ],
    ids=["light", "dark", "0 and 1", "pencil", "CMYK", "palette", "1 bit"],
)
def test_lines_of_every_kind_are_read(tmp_path: Path, sketch: Image.Image) -> None:
    name = "lines.tif" if sketch.mode == "CMYK" else "LINES.PNG"
    sketch.save(tmp_path / name)
    assert np.array_equal(load_sketch(tmp_path / name), LINES)


def test_an_array_in_a_file_is_an_image_of_8_bits(tmp_path: Path) -> None:
    np.save(tmp_path / "lines.npy", np.asarray(on_paper(255, 0)))
    assert np.array_equal(load_sketch(tmp_path / "lines.npy"), LINES)
    Image.fromarray(np.uint16(65535 * LINES)).save(tmp_path / "deep.png")
    refusal(lambda: load_sketch(tmp_path / "deep.png"), "deep.png: has more than 8 bits")


def test_a_sketch_may_be_empty() -> None:
    for value in (0, 255):
        assert not lines_of(Image.new("L", (48, 40), value)).any()


def test_a_grey_image_is_refused_with_its_file(tmp_path: Path) -> None:
    Image.new("L", (48, 40), 128).save(tmp_path / "grey.png")
    refusal(lambda: load_sketch(tmp_path / "grey.png"), "grey.png: 100% of the sketch", *PHOTO)
    refusal(lambda: lines_of(draw((48, 40))), *PHOTO)


def test_scanned_pencil_lines_are_no_photo() -> None:
    page = Image.new("L", (256, 256), 205)
    pen = ImageDraw.Draw(page)
    for i in range(0, 256, 16):
        pen.line((i, 0, 255 - i, 255), fill=70, width=3)
    scan = np.asarray(page.filter(ImageFilter.GaussianBlur(1.5)), float)
    scan += np.random.default_rng(0).normal(0, 8, scan.shape)
    assert 0.05 < lines_of(Image.fromarray(scan.clip(0, 255).astype(np.uint8))).mean() < 0.4


@needs_facades
def test_real_photos_are_told_from_their_edges() -> None:
    photos = [
        Image.open(path).convert("RGB").crop((0, 0, 256, 256))
        for path in sorted((FACADES / "train").iterdir())[:40]
    ]
    refused = 0
    for photo in photos:
        edges = edges_of(np.asarray(photo))
        assert np.array_equal(lines_of(as_image(edges)), edges)
        small = as_image(~edges).resize((128, 128), Image.Resampling.BILINEAR)
        assert lines_of(small).any()  # smooth edges of lines are no photo
        try:
            lines_of(photo)
        except ValueError:
            refused += 1
    assert refused >= 35
