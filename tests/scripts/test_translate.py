"""scripts.translate: a file, a folder, standard input and output; what it refuses."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import TINY, draw, draw_pairs, result_images
from PIL import Image

from options.positionals import positionals
from scripts.translate import outputs

ROOT = Path(__file__).resolve().parents[2]
CPU = ["--name", "r", "--gpu_ids", "-1"]


@pytest.fixture
def run(command, pairs) -> Any:
    """A trained run `r`."""
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r", "--no_html").status == 0
    return command


def pixels(path: Path | str) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_file_becomes_what_test_py_makes_of_it(run, caplog) -> None:
    Path("in").mkdir()
    draw((90, 80)).save("in/a.png")
    result = run("scripts.translate", *CPU, "in/a.png", "out.png")
    assert result.status == 0, result.err
    said = (
        "90x80 resized to 64x64, not in proportion, as in the run; --preprocess none keeps the size"
    )
    assert said in caplog.text
    test = ["--model", "test", "--dataroot", "in", "--num_threads", "0"]
    assert run("test", *CPU, *test).status == 0
    assert np.array_equal(pixels("out.png"), result_images("r")["a_fake.png"])


def test_flags_may_stand_anywhere(run) -> None:
    draw((70, 50)).save("a.png")
    for number, words in enumerate(
        (
            ["a.png", "0.jpg", *CPU, "--preprocess", "none", "--eval"],
            ["--eval", "a.png", "--preprocess=none", "1.jpg", *CPU],
            [*CPU, "--preprocess", "none", "--eval", "a.png", "2.jpg"],
        )
    ):
        assert run("scripts.translate", *words).status == 0
        assert pixels(f"{number}.jpg").shape == (50, 70, 3)
        assert np.array_equal(pixels(f"{number}.jpg"), pixels("0.jpg"))


def test_a_folder_keeps_its_subfolders_and_all_its_images(run) -> None:
    for name in ("a.png", "a.jpg", "sub/a.png"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        draw((64, 64)).save(Path("in", name))
    assert run("scripts.translate", *CPU, "in", "out").status == 0
    found = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.png"))
    assert found == ["a.png", "a_2.png", "sub/a.png"]


def test_into_a_folder_that_exists_or_has_no_ending(run) -> None:
    draw((64, 64)).save("a.jpg")
    Path("there").mkdir()
    for folder in ("there", "new"):
        assert run("scripts.translate", *CPU, "a.jpg", folder).status == 0
        assert Path(folder, "a.png").exists()


def test_standard_input_to_standard_output(run) -> None:
    draw((64, 64)).save(content := io.BytesIO(), "JPEG")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.translate", *CPU, "-", "-", "--checkpoints_dir"]
        + [str(Path("checkpoints").resolve())],
        input=content.getvalue(),
        capture_output=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.size == (64, 64) and image.format == "PNG"


def test_targets_of_16_bits_are_written_as_such(command, tmp_path) -> None:
    for phase in ("train", "test"):
        for side in "AB":
            folder = tmp_path / "d" / f"{phase}{side}"
            folder.mkdir(parents=True)
            for i in range(2):
                values = np.random.default_rng(i).integers(0, 60000, (64, 64), dtype=np.uint16)
                tifffile.imwrite(folder / f"{i}.tif", values)
    flags = ["--input_nc", 1, "--output_nc", 1, "--no_html", "--name", "r"]
    assert command("train", *TINY, "--dataroot", tmp_path / "d", *flags).status == 0
    source = tmp_path / "d" / "testA"
    assert command("scripts.translate", *CPU, source, "out").status == 0
    found = tifffile.imread("out/0.tif")
    assert found.dtype == np.uint16 and found.shape == (64, 64) and found.max() > 255
    result = command("scripts.translate", *CPU, source / "0.tif", "out.png")
    assert result.status == 2 and "targets are uint16 in .tif files; use that" in result.err


def test_an_ab_image_is_noticed(run, pairs, caplog) -> None:
    assert run("scripts.translate", *CPU, pairs / "test" / "0.png", "out.png").status == 0
    assert "looks like A|B images" in caplog.text
    caplog.clear()
    page = Image.new("RGB", (96, 64), "white")  # a drawing on white is wide too
    page.paste(draw((20, 20)), (5, 5))
    page.save("drawing.png")
    assert run("scripts.translate", *CPU, "drawing.png", "out2.png").status == 0
    assert "looks like" not in caplog.text


def test_bad_images_end_it_or_are_skipped(run, caplog) -> None:
    Path("in").mkdir()
    draw((64, 64)).save("in/b.png")
    Path("in/a.png").write_bytes(b"no image")
    result = run("scripts.translate", *CPU, "in", "out")
    assert result.status == 2 and "in/a.png: cannot be read" in result.err
    result = run("scripts.translate", *CPU, "in", "out", "--on_bad_image", "skip")
    assert result.status == 0 and "skipped: in/a.png" in caplog.text
    assert "1 image: out" in caplog.text and Path("out/b.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "IN OUT: give an image or a folder, and where to write; got neither"),
        (["a.png"], "got a.png"),
        (["none.png", "out.png"], "IN none.png: no such file or folder"),
        (["a.png", "a.png"], "OUT a.png: is an input"),
        (["a.png", "kept.png"], "OUT kept.png: exists; --overwrite replaces it"),
        (["a.png", "out.xyz"], "OUT out.xyz: .xyz is no format; use .png"),
        (["folder", "kept.png"], "OUT kept.png: must be a folder"),
        (["folder", "-"], "OUT -: must be a folder"),
        (["folder", "folder"], "is an input"),
        (["a.png", "out.png", "--num_variants", "2"], "--num_variants: is for test.py"),
        (["a.png", "out.png", "--epoch", "9"], "9_net_G.pth: no such checkpoint"),
        (["a.png", "out.png", "--overwrit"], "--overwrit: unknown flag; did you mean --overwrite?"),
    ],
)
def test_what_it_refuses_in_one_line(run, words, said) -> None:
    Path("folder").mkdir()
    for path in ("a.png", "kept.png", "folder/a.png"):
        draw((64, 64)).save(path)
    result = run("scripts.translate", *CPU, *words)
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert said in result.err and not Path("out.png").exists()


def test_overwrite_replaces_what_is_there(run) -> None:
    draw((64, 64)).save("a.png")
    Path("out.png").write_bytes(b"older")
    assert run("scripts.translate", *CPU, "a.png", "out.png", "--overwrite").status == 0
    assert pixels("out.png").shape == (64, 64, 3)


def test_test_py_names_it_for_a_file(run) -> None:
    draw_pairs(Path("d"), count=1)
    result = run("test", *CPU, "--dataroot", "d/test/0.png")
    assert result.status == 2 and "is a file, not a folder" in result.err
    line = result.err.partition("for one image: ")[2].strip() + " --gpu_ids -1"
    line = line.replace("python", sys.executable, 1)
    done = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pixels("OUTPUT.png").shape == (64, 64, 3)


def test_values_of_flags_are_no_words() -> None:
    line = "--name r in --eval --epoch 5 out --direction=BtoA --overwrite - --tile 64"
    words, flags = positionals(line.split(), {"--overwrite"})
    assert words == ["in", "out", "-"]
    assert flags == "--name r --eval --epoch 5 --direction=BtoA --overwrite --tile 64".split()
    assert positionals("--no_eval in out".split(), set()) == (["in", "out"], ["--no_eval"])


def test_names_that_macos_takes_for_one_get_numbers() -> None:
    composed, apart = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"
    paths = [Path("in", name) for name in (f"{composed}.png", f"{apart}.jpg", f"{apart}.webp")]
    found = [path.name for path in outputs(paths, Path("in"), Path("out"), ".png")]
    assert found == [f"{composed}.png", f"{apart}_2.png", f"{apart}_3.png"]
