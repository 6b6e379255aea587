"""Damage files at random, and check that reading them succeeds or fails cleanly."""

import logging
import multiprocessing
import random
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data.checks.image_check import Finding, inspect
from data.files.high_depth_output import png_of
from data.files.image_files import load_image_or_array
from options.config_files import read_run, read_yaml
from util.checkpoint import load

log = logging.getLogger(__name__)

ORDINARY = ("png", "jpg", "bmp", "tiff", "webp", "ppm", "gif")
PACKINGS = (None, "lzw", "zlib", "zstd", "packbits", "jpeg2000")  # of TIFF
LONGEST = 120  # seconds that reading a file may take


class FaultRow(NamedTuple):
    """A row of the torture table: the fault, its count, the outcome, and the number of failures."""

    what: str
    times: int
    outcome: str
    lost: int


class OtherProcess:
    """Calls a function in another process, which a decoder may kill."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.pool = function, None

    def __call__(self, *args: Any) -> Any:
        if self.pool is None:
            self.pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            return self.pool.submit(self.function, *args).result(LONGEST)
        except (BrokenProcessPool, TimeoutError):
            for process in multiprocessing.active_children():
                process.kill()
            self.pool = None
            raise


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a copy with bytes truncated, changed, deleted, repeated or zeroed at random."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        start = rng.randrange(len(data))
        end = min(start + rng.choice([1, 2, 8, 64, 1024]), len(data))
        kind = rng.randrange(6)
        if kind == 0:
            del data[start:]
        elif kind == 1:
            data[start:end] = rng.randbytes(end - start)
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end]
        elif kind == 4:
            data[start] ^= 1 << rng.randrange(8)
        else:
            data[start:end] = bytes(end - start)
    return bytes(data)


def damage_images(folder: Path, times: int, rng: random.Random) -> list[FaultRow]:
    """Read `times` damaged copies of each kind of image file, in another process."""
    read = OtherProcess(read_image)
    return [
        damage(f"damaged {kind}", times, originals, read, rng)
        for kind, originals in image_originals(folder).items()
    ]


def image_originals(folder: Path) -> dict[str, list[Path]]:
    """Write small images of each kind into `folder`."""
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 65536, (40, 56, 5), np.uint16)
    photo = Image.fromarray((pixels[..., :3] >> 8).astype(np.uint8))
    files: dict[str, list[Path]] = {"8-bit images": [], "16-bit PNG": [], "TIFF": [], ".npy": []}
    for ending in ORDINARY:
        files["8-bit images"].append(folder / f"photo.{ending}")
        photo.save(files["8-bit images"][-1])
    for channels in (1, 2, 3, 4):
        files["16-bit PNG"].append(folder / f"deep{channels}.png")
        files["16-bit PNG"][-1].write_bytes(png_of(pixels[..., :channels]))
    for packing in PACKINGS:
        for tile in (None, (16, 16)):
            files["TIFF"].append(folder / f"{packing}{bool(tile)}.tif")
            options = {"compression": packing, "tile": tile, "photometric": "minisblack"}
            tifffile.imwrite(files["TIFF"][-1], pixels, planarconfig="contig", **options)
    for dtype in ("uint8", "uint16", "float32"):
        files[".npy"].append(folder / f"{dtype}.npy")
        np.save(files[".npy"][-1], pixels.astype(dtype))
    return files


def read_image(path: Path) -> list[Finding]:
    """Read an image as the datasets and as the doctor do; return the doctor's findings."""
    warnings.simplefilter("ignore")  # PIL warns about damaged files
    findings = inspect(str(path))
    try:
        load_image_or_array(path)
    except ValueError as error:
        if "\n" in str(error) or path.name not in str(error):
            raise RuntimeError(f"{path}: {error}") from None
    return findings


def damage_files(folder: Path, times: int, rng: random.Random) -> FaultRow:
    """Read damaged checkpoints, saved options (of the run `whole`) and YAML files."""
    yaml = folder / "flags.yaml"
    yaml.write_text("ngf: 32\nnetG: unet_64\nno_flip: true\nlr: 0.001\n" * 3)
    small = folder / "small.pth"
    torch.save({"w": torch.zeros(3, 3), "b": torch.ones(3)}, small)

    def read(path: Path) -> None:
        if path.suffix == ".pth":
            load(path)
        elif path.suffix == ".yaml":
            read_yaml(path)
        else:
            run = path.parent / "alone"
            run.mkdir(exist_ok=True)
            (run / "train_opt.json").write_bytes(path.read_bytes())
            read_run(run)

    originals = [small, yaml, folder / "checkpoints" / "whole" / "train_opt.json"]
    return damage("damaged checkpoints, options, YAML", times, originals, read, rng)


def damage(
    what: str,
    times: int,
    originals: list[Path],
    read: Callable[[Path], object],
    rng: random.Random,
) -> FaultRow:
    """Read damaged copies of the originals in turn.

    A read is lost if it neither succeeds nor raises a one-line ValueError or OSError.
    """
    refused = wrong = 0
    warnings.simplefilter("ignore")  # PIL warns about damaged files
    for i in tqdm(range(times), desc=what, disable=None):
        original = originals[i % len(originals)]
        path = original.with_name(f"damaged{original.suffix}")
        path.write_bytes(mutated(original.read_bytes(), rng))
        try:
            refused += any(finding.fatal for finding in read(path) or [])
        except (ValueError, OSError) as error:
            refused += 1
            wrong += "\n" in str(error)
        except Exception as error:
            log.warning("%s: %r", path, error)
            wrong += 1
    return FaultRow(
        what, times, f"{refused} refused on one line, {times - refused - wrong} read", wrong
    )
