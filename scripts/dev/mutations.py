"""Damage files at random, and check that reading them succeeds or fails cleanly."""

import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from tqdm import tqdm

from data.image_check import inspect
from options.config_files import read_run, read_yaml
from util.checkpoint import load

log = logging.getLogger(__name__)


class FaultRow(NamedTuple):
    """A row of the torture table: the fault, its count, the outcome, and the number of failures."""

    what: str
    times: int
    outcome: str
    lost: int


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a copy with bytes truncated, changed, deleted, repeated or zeroed at random."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        start = rng.randrange(len(data))
        end = min(start + rng.choice([1, 2, 8, 64, 1024]), len(data))
        kind = rng.randrange(5)
        if kind == 0:
            del data[start:]
        elif kind == 1:
            data[start:end] = rng.randbytes(end - start)
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end]
        else:
            data[start:end] = bytes(end - start)
    return bytes(data)


def damage_images(folder: Path, times: int, rng: random.Random) -> FaultRow:
    """Read damaged copies of the first training image in all formats."""
    photo = Image.open(folder / "data/train/0.png")
    originals = []
    for ending in ("png", "jpg", "bmp", "tiff", "webp", "ppm"):
        path = folder / f"photo.{ending}"
        photo.save(path)
        originals.append(path)
    return damage("damaged images", times, originals, lambda p: inspect(str(p)), rng)


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
            alone = path.parent / "alone"
            alone.mkdir(exist_ok=True)
            (alone / "train_opt.json").write_bytes(path.read_bytes())
            read_run(alone)

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
