"""Files and folders as other software writes them: what is right for each kind, by commands.

These are made here; test_collected_files.py has those that users sent.
"""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from conftest import TINY, draw, draw_pairs
from PIL import Image
from support.image_bytes import exif, jpeg_with, png16, png_with, turned

from data.aligned_dataset import AlignedDataset
from data.image_folder import make_dataset
from options.train_options import TrainOptions
from translator import Translator

Command = Callable[..., SimpleNamespace]
TEST = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0"]


def trained(command: Command, root: Path, *flags: object) -> SimpleNamespace:
    result = command("train", *TINY, "--dataroot", root, "--name", "r", "--no_html", *flags)
    assert "Traceback" not in result.err + result.out
    return result


def paired(root: Path, write: Callable[[Path, int], None], ending: str) -> Path:
    """Write inputs with `write`, and targets as PNG, into root/{train,test}{A,B}."""
    for phase in ("train", "test"):
        for i in range(2):
            for side in "AB":
                (root / f"{phase}{side}").mkdir(parents=True, exist_ok=True)
            write(root / f"{phase}A" / f"{i}{ending}", i)
            draw((72, 72), seed=9 + i).save(root / f"{phase}B" / f"{i}.png")
    return root


# Channels -----------------------------------------------------------------------------------


def bands(path: Path, seed: int, count: int, dtype: str, **how: object) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (72, 72, count))
    array = (values / 255 if dtype == "float32" else values).astype(dtype)
    tifffile.imwrite(path, array, planarconfig="contig", **how)


KINDS = {
    "RGB and infrared": (4, "uint8", {"photometric": "rgb", "extrasamples": ["unspecified"]}),
    "radar in two bands": (2, "float32", {"photometric": "minisblack"}),
    "RedEdge": (5, "uint16", {"photometric": "minisblack"}),
    "RGB and three more": (6, "uint8", {"photometric": "rgb"}),
    "Sentinel-2": (12, "uint16", {"photometric": "minisblack", "compression": "zlib"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_bands_of_a_satellite_train_and_translate(command, tmp_path, kind) -> None:
    count, dtype, how = KINDS[kind]
    root = paired(tmp_path / "d", lambda p, i: bands(p, i, count, dtype, **how), ".tif")
    wrong = trained(command, root, "--input_nc", 3)
    assert wrong.status == 2 and f"has {count} channels, not the 3 of --input_nc" in wrong.err
    assert trained(command, root, "--input_nc", count).status == 0
    assert command("test", *TEST, "--num_test", 1).status == 0
    t = Translator.load("checkpoints/r", gpu_ids=-1)
    assert t.prepare(root / "testA" / "0.tif").shape[0] == count


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_png_becomes_grey_or_colour(command, tmp_path, channels) -> None:
    def write(path: Path, seed: int) -> None:
        array = np.random.default_rng(seed).integers(0, 65536, (72, 72, channels), np.uint16)
        path.write_bytes(png16(array))

    root = paired(tmp_path / "d", write, ".png")
    for count in {1, 3, channels}:
        assert trained(command, root, "--input_nc", count).status == 0


def test_a_wrong_bit_in_16_bits_is_named_and_can_be_skipped(command, tmp_path) -> None:
    def write(path: Path, seed: int) -> None:
        array = np.random.default_rng(seed).integers(0, 65536, (72, 72, 3), np.uint16)
        path.write_bytes(png16(array))

    root = paired(tmp_path / "d", write, ".png")
    bad = root / "trainA" / "1.png"
    content = bytearray(bad.read_bytes())
    content[len(content) // 2] ^= 1
    bad.write_bytes(content)
    result = trained(command, root, "--input_nc", 1)
    assert result.status == 2 and str(bad) in result.err and len(result.err.splitlines()) == 1
    assert trained(command, root, "--input_nc", 1, "--on_bad_image", "skip").status == 0
    doctor = command("scripts.doctor", "--dataroot", root, "--num_threads", 1)
    assert doctor.status == 1 and "Traceback" not in doctor.err


# Metadata, formats, folders -----------------------------------------------------------------


def photo(kind: str, size: tuple[int, int] = (96, 72), seed: int = 0) -> bytes:
    file = io.BytesIO()
    draw(size, seed).save(file, kind, quality=95)
    return file.getvalue()


def test_what_phones_scanners_and_viewers_write_trains(command, tmp_path, caplog) -> None:
    root = draw_pairs(tmp_path / "d", size=(80, 72)) / "train"
    odd = exif(turned(1), (0x011A, 2, 4, b"abc\0"))
    size = (160, 72)
    files = {
        "odd.jpg": jpeg_with(photo("JPEG", size), (0xE1, odd)),
        "text.png": png_with(photo("PNG", size), (b"tEXt", b"k\0" + bytes(2_000_000))),
        "a.jfif": photo("JPEG", size),
        "a.gif": photo("GIF", size),
        "a.avif": photo("AVIF", size),
        "profile.png": png_with(photo("PNG", size), (b"iCCP", b"x")),
        "@eaDir/odd.jpg/SYNOPHOTO_THUMB_M.jpg": photo("JPEG", (9, 9)),
        ".ipynb_checkpoints/a-checkpoint.png": photo("PNG", (9, 9)),
        "__MACOSX/._a.png": b"\0\5\26\7",
        "notes.txt": b"",
        "a.psd": b"8BPS",
        "Thumbs.db": b"",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    assert len(make_dataset(root)) == 3 + 6
    assert trained(command, root.parent).status == 0
    (line,) = [text for text in caplog.messages if "are ignored:" in text]
    assert line.endswith("train also holds files that are ignored: 1 .psd, 1 .txt")


@pytest.mark.parametrize(("A", "B"), [("train_A", "train_B"), ("train_label", "train_img")])
def test_folders_of_pix2pixhd_train_as_pairs_and_as_sets(command, tmp_path, A, B) -> None:
    for folder in (A, B, "train_inst"):
        (tmp_path / "d" / folder).mkdir(parents=True)
        draw((96, 72), seed=len(folder)).save(tmp_path / "d" / folder / "0.png")
    assert trained(command, tmp_path / "d").status == 0
    data = AlignedDataset(TrainOptions().read(["--dataroot", str(tmp_path / "d"), "--no_flip"]))
    item = data[0]
    assert Path(item["A_paths"]).parent.name == A and item["A_size"] == (96, 72)
    assert Path(item["B_paths"]).parent.name == B
    sets = ["--model", "cycle_gan", "--netG", "resnet_6blocks"]
    assert trained(command, tmp_path / "d", *sets).status == 0


def test_a_checkpoint_of_another_program_is_tested(command, tmp_path) -> None:
    root = draw_pairs(tmp_path / "d", count=1)
    assert trained(command, root).status == 0
    path = Path("checkpoints/r/latest_net_G.pth")
    state = torch.load(path)
    assert command("test", *TEST).status == 0
    wanted = np.asarray(Image.open("results/r/test_latest/images/0_fake_B.png"))
    wrapped = {f"module._orig_mod.{key}": value for key, value in state.items()}
    lightning = {f"generator.{key}": value for key, value in state.items()}
    for foreign in ({"state_dict": wrapped, "epoch": 9}, {"state_dict": lightning}):
        torch.save(foreign, path)
        assert command("test", *TEST).status == 0
        found = np.asarray(Image.open("results/r/test_latest/images/0_fake_B.png"))
        assert np.array_equal(found, wanted)
