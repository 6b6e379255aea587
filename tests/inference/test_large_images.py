"""Large images are read and translated in windows: the results are those of the whole image."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from conftest import TINY, draw, draw_pairs, near, result_images
from PIL import Image
from support.peaks import OF_A_SCRIPT, peak_in_a_process

from data.checks import data_check
from data.files import large_images, tiff_windows
from data.files.image_files import image_size, load_image_or_array
from data.files.large_images import LargeImage
from data.files.tiff_windows import TiffWindows
from options.test_options import TestOptions
from translator import Translator
from util.registry import find_class

Command = Callable[..., SimpleNamespace]
ROOT = Path(__file__).resolve().parents[2]
WHOLE = ["--preprocess", "none", "--gpu_ids", "-1", "--num_threads", "0", "--name", "r"]
HOW: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (32, 48), "compression": "zlib"},
    "strips": {"rowsperstrip": 7, "compression": "lzw"},
    "one strip": {},
    "one strip, big-endian": {"byteorder": ">"},
    "tiles of planes": {"tile": (32, 32), "planarconfig": "separate"},
    "planes": {"planarconfig": "separate"},
    "predicted": {"compression": "zlib", "predictor": True, "rowsperstrip": 16},
    "large file": {"bigtiff": True, "tile": (16, 16)},
}


# Windows ------------------------------------------------------------------------------------


PLANES = ("planes", "tiles of planes")
CASES = [
    (kind, how)
    for kind in ("grey", "rgb", "16-bit rgb", "5 bands")
    for how in HOW
    if kind != "grey" or how not in PLANES
]


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_windows_of_a_tiff_are_parts_of_the_whole(tmp_path, monkeypatch, kind, how) -> None:
    monkeypatch.setattr(tiff_windows, "STRIP_BYTES", 5000)
    channels = {"grey": 1, "5 bands": 5}.get(kind, 3)
    dtype = np.uint16 if kind in ("16-bit rgb", "5 bands") else np.uint8
    array = np.random.default_rng(0).integers(0, 256, (91, 117, channels), dtype)
    form = {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "contig"}
    form |= HOW[how]
    if form["planarconfig"] == "separate":
        array = np.ascontiguousarray(array.transpose(2, 0, 1))
    tifffile.imwrite(
        tmp_path / "a.tif",
        array[..., 0] if channels == 1 and array.shape[2] == 1 else array,
        **form,
    )
    whole = load_image_or_array(tmp_path / "a.tif")
    with open(tmp_path / "a.tif", "rb") as file:
        windows = TiffWindows(file, 10**9)
        for box in [(0, 0, 117, 91), (0, 0, 1, 1), (30, 31, 66, 65), (100, 80, 117, 91)]:
            part, wanted = windows.crop(box), whole.crop(box)
            if isinstance(wanted, Image.Image):
                assert np.array_equal(np.asarray(part.convert("RGB")), np.asarray(wanted))
            else:
                assert np.array_equal(part.array(), wanted.array()) and part.kind == wanted.kind
                assert part.range == wanted.range


@pytest.mark.parametrize("what", ["turned", "jpeg", "palette", "white is zero", "pages", "12 bits"])
def test_other_tiffs_are_read_whole(tmp_path, what) -> None:
    photo, path = draw((48, 32)), tmp_path / "a.tif"
    if what == "pages":
        tifffile.imwrite(path, np.zeros((3, 32, 48), np.uint16), photometric="minisblack")
    elif what == "12 bits":
        tifffile.imwrite(path, np.zeros((32, 48), np.uint16), bitspersample=12)
    elif what == "white is zero":
        tifffile.imwrite(path, np.zeros((32, 48), np.uint16), photometric="miniswhite")
    else:
        how = {"turned": {"tiffinfo": {274: 6}}, "jpeg": {"compression": "jpeg"}}.get(what, {})
        (photo.quantize() if what == "palette" else photo).save(path, **how)
    with open(path, "rb") as file, pytest.raises(ValueError):
        TiffWindows(file, 10**9)
    image = LargeImage(str(path), (8, 4, 40, 28), 3, 10**9)
    if what in ("turned", "jpeg", "palette"):
        with image.opened(np_tensor) as read:
            found = read((0, 0, 8, 8))
        wanted = load_image_or_array(path).crop((8, 4, 16, 12))
        assert np.array_equal(found[0].numpy(), np.asarray(wanted))


def np_tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image))


def test_kept_strips_are_few(tmp_path, monkeypatch) -> None:
    array = np.random.default_rng(0).integers(0, 256, (512, 64), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, rowsperstrip=8, compression="zlib")
    monkeypatch.setattr(tiff_windows, "MOST_BYTES", 2000)
    with open(tmp_path / "a.tif", "rb") as file:
        windows = TiffWindows(file, 10**9)
        assert np.array_equal(np.asarray(windows.crop((0, 0, 64, 512))), array)
        assert sum(kept.nbytes for kept in windows.kept.values()) <= 2000


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "deep.tif", "deep.png", "a.npy"])
def test_sizes_are_read_from_headers(tmp_path, monkeypatch, name) -> None:
    if name == "a.npy":
        np.save(tmp_path / name, np.zeros((20, 30, 7)))
    elif name == "deep.tif":
        tifffile.imwrite(
            tmp_path / name,
            np.zeros((20, 30, 7), np.uint16),
            planarconfig="contig",
            photometric="minisblack",
        )
    elif name == "deep.png":
        Image.fromarray(np.zeros((20, 30), np.uint16)).save(tmp_path / name)
    else:
        draw((30, 20)).save(tmp_path / name)
    monkeypatch.setattr("data.files.image_files.load_image_or_array", None)
    assert image_size(tmp_path / name) == (30, 20)


# Translations -------------------------------------------------------------------------------


def train(command: Command, root: Path, *flags: object) -> None:
    assert command("train", *TINY, "--dataroot", root, "--name", "r", *flags).status == 0


def both_ways(
    command: Command, monkeypatch: pytest.MonkeyPatch, *flags: object
) -> tuple[dict, dict]:
    """Return the result images of test.py with tiles, of the whole image and of windows."""
    found = []
    for place, limit in (("whole", 10**9), ("windows", 0)):
        monkeypatch.setattr(large_images, "LARGE", limit)
        result = command("test", *WHOLE, "--tile", 64, "--results_dir", place, *flags)
        assert result.status == 0, result.err
        found.append(result_images("r", results=place))
        page = Path(place, "r", "test_latest", "index.html").read_text()
        assert "Translated in tiles" in page
    return found[0], found[1]


NETS = {
    "exact tiles": ["--netG", "resnet_6blocks", "--norm", "none", "--no_dropout"],
    "blended tiles": ["--netG", "resnet_6blocks", "--norm", "batch"],
    "a U-Net with noise": ["--netG", "unet_64", "--norm", "instance"],
}


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("net", NETS)
def test_pairs_in_windows_give_the_same_results(
    command, tmp_path, monkeypatch, net, direction
) -> None:
    root = draw_pairs(tmp_path / "d", count=1, size=(203, 131))
    train(command, root, *NETS[net], "--direction", direction)
    whole, windows = both_ways(command, monkeypatch, "--overlap", 32 if "U" not in net else 0)
    assert set(windows) == {f"0_{label}.png" for label in ("real_A", "fake_B", "real_B")}
    assert near(whole, windows)
    for label in ("real_A", "real_B"):
        assert np.array_equal(whole[f"0_{label}.png"], windows[f"0_{label}.png"])


@pytest.mark.parametrize("kind", ["tif", "png", "deep.tif", "bands.tif", "npy", "grey.png"])
def test_inputs_alone_in_windows_give_the_same_results(
    command, tmp_path, monkeypatch, kind
) -> None:
    channels = {"bands.tif": 4, "grey.png": 1}.get(kind, 3)
    root = tmp_path / "d"
    for phase in ("train", "inputs"):
        for side in "AB"[: 2 if phase == "train" else 1]:
            folder = root / (f"train{side}" if phase == "train" else phase)
            folder.mkdir(parents=True)
            if side == "B":
                draw((203, 131), seed=1).save(folder / f"0.{'png'}")
                continue
            pixels = np.random.default_rng(0).integers(0, 256, (131, 203, channels), np.uint8)
            if kind == "npy":
                np.save(folder / "0.npy", pixels)
            elif kind.endswith("png"):
                Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(folder / "0.png")
            else:
                deep = pixels.astype(np.uint16) * 257 if kind == "deep.tif" else pixels
                how = {"extrasamples": ["unspecified"]} if kind == "bands.tif" else {}
                tifffile.imwrite(folder / "0.tif", deep, photometric="rgb", tile=(32, 32), **how)
    net = ["--netG", "resnet_6blocks", "--norm", "none", "--no_dropout", "--input_nc", channels]
    train(command, root, *net)
    flags = ["--model", "test", "--dataroot", root / "inputs", "--overlap", 32]
    whole, windows = both_ways(command, monkeypatch, *flags)
    assert set(windows) == {"0_real.png", "0_fake.png"} and near(whole, windows)
    assert np.array_equal(whole["0_real.png"], windows["0_real.png"])


def test_with_workers_too_and_of_several_images(command, tmp_path, monkeypatch) -> None:
    root = draw_pairs(tmp_path / "d", count=3, size=(100, 70))
    train(command, root, *NETS["exact tiles"])
    whole, windows = both_ways(command, monkeypatch, "--num_threads", 1, "--overlap", 32)
    assert len(windows) == 9 and near(whole, windows)


def test_several_large_images_are_no_batch(command, tmp_path, monkeypatch) -> None:
    root = draw_pairs(tmp_path / "d", count=2, size=(100, 70))
    train(command, root, *NETS["exact tiles"])
    monkeypatch.setattr(large_images, "LARGE", 0)
    result = command("test", *WHOLE, "--tile", 64, "--overlap", 32, "--batch_size", 2)
    assert result.status == 2 and "--batch_size: some images are so large" in result.err


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("model", ["pix2pix", "test"])
def test_outputs_of_more_than_8_bits_are_written_whole(
    command, tmp_path, monkeypatch, direction, model
) -> None:
    root, target = tmp_path / "d", direction[-1]
    for side in "AB":
        for phase in ("train", "test"):
            (root / f"{phase}{side}").mkdir(parents=True, exist_ok=True)
            array = np.random.default_rng(0).integers(0, 256, (72, 80), np.uint8)
            array = array.astype(np.uint16) * 257 if side == target else array
            Image.fromarray(array).save(root / f"{phase}{side}" / "0.png")
    channels = ["--input_nc", 1, "--output_nc", 1, "--direction", direction]
    train(command, root, *NETS["exact tiles"], *channels)
    if model == "test":
        inputs = ["--model", "test", "--dataroot", root / f"test{direction[0]}"]
    else:
        inputs = ["--dataroot", root]
    deep = []
    for limit in (10**9, 0):
        monkeypatch.setattr(large_images, "LARGE", limit)
        place = f"results{limit}"
        flags = ["--tile", 64, "--overlap", 32, "--results_dir", place]
        result = command("test", *WHOLE, *flags, *inputs)
        assert result.status == 0, result.err
        (file,) = Path(place, "r", "test_latest", "deep").glob("*fake*.png")
        deep.append(np.asarray(Image.open(file)).astype(int))
    assert deep[0].max() > 255 and np.array_equal(deep[0], deep[1])


def test_a_damaged_large_image_is_named(command, tmp_path, monkeypatch, caplog) -> None:
    root = draw_pairs(tmp_path / "d", count=2, size=(100, 70))
    train(command, root, *NETS["exact tiles"])
    monkeypatch.setattr(large_images, "LARGE", 0)
    bad = root / "test" / "0.png"
    bad.write_bytes(bad.read_bytes()[:2000])
    result = command("test", *WHOLE, "--tile", 64, "--overlap", 32)
    assert result.status == 2 and str(bad) in result.err and "Traceback" not in result.err
    result = command("test", *WHOLE, "--tile", 64, "--overlap", 32, "--on_bad_image", "skip")
    assert result.status == 0 and "skipped: " in caplog.text and str(bad) in caplog.text
    assert {path.name for path in Path("results/r/test_latest/images").glob("*_fake_B.png")} == {
        "1_fake_B.png"
    }


def test_large_images_are_not_read_whole_by_the_data_check(tmp_path, monkeypatch) -> None:
    root = draw_pairs(tmp_path / "d", count=1, size=(100, 70))
    flags = ["--dataroot", str(root), "--preprocess", "none", "--tile", "64"]
    opt = TestOptions().read([*flags, "--checkpoints_dir", str(tmp_path)])
    dataset = find_class("data", "aligned", "")(opt)
    assert set(data_check.sample_images(dataset, 0, opt)) == {"A", "B"}
    monkeypatch.setattr(data_check, "LARGE", 0)
    assert data_check.sample_images(dataset, 0, opt) == {}


def test_the_translator_takes_a_large_file(command, tmp_path, monkeypatch) -> None:
    root = draw_pairs(tmp_path / "d", count=1, size=(203, 131))
    train(command, root, *NETS["exact tiles"])
    path = tmp_path / "input.png"
    draw((203, 131), seed=5).save(path)
    t = Translator.load("checkpoints/r", preprocess="none", tile=64, overlap=32, gpu_ids=-1)
    whole = np.asarray(t(path), int)
    monkeypatch.setattr(large_images, "LARGE", 0)
    windows = t(path)
    assert isinstance(windows, Image.Image) and windows.size == (203, 131)
    assert np.abs(np.asarray(windows, int) - whole).max() <= 1
    assert list(t.each([path, str(path)]))[1].size == (203, 131)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tif", "png"])
def test_180_megapixels_take_a_few_gigabytes(command, tmp_path, kind) -> None:
    """13440 pixels a side: beyond PIL's limit; as floats it would take ten times its size."""
    train(command, draw_pairs(tmp_path / "d", count=1), *NETS["exact tiles"], "--ngf", 1)
    (tmp_path / "large").mkdir()
    image = draw((13440, 13440))
    if kind == "png":
        image.save(tmp_path / "large" / "a.png", compress_level=1)
    else:
        tifffile.imwrite(
            tmp_path / "large" / "a.tif", np.asarray(image), tile=(256, 256), photometric="rgb"
        )
    del image
    flags = [
        "--model",
        "test",
        "--dataroot",
        tmp_path / "large",
        "--tile",
        "1024",
        "--overlap",
        "0",
    ]
    peak = peak_in_a_process(OF_A_SCRIPT, ROOT / "test.py", *WHOLE, *flags)
    print(f"{kind}: peak {peak:.1f} GiB")
    assert peak < 4.5
    (fake,) = Path("results/r/test_latest/images").glob("*fake.png")
    assert image_size(fake) == (13440, 13440)


def test_what_cannot_be_decoded_in_windows_is_read_as_a_whole(tmp_path, monkeypatch) -> None:
    file = tmp_path / "lzw.tif"
    draw((120, 90)).save(file, compression="tiff_lzw")

    def no_decoder(*args: Any) -> None:
        raise ValueError("requires the 'imagecodecs' package")

    monkeypatch.setattr(TiffWindows, "_segment", no_decoder)
    image = LargeImage(str(file), (0, 0, 120, 90), 3, 10**9)
    with image.opened(lambda part: torch.from_numpy(np.asarray(part))) as read:
        assert read((0, 0, 120, 90)).shape == (1, 90, 120, 3)
