"""Small helpers: pictures to arrays and files, options files, one-line errors."""

import hashlib
import json
import logging
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

log = logging.getLogger(__name__)


def tensor2im(picture: Tensor | np.ndarray, imtype: type = np.uint8) -> np.ndarray:
    """Return the first picture of (N, C, H, W) or (C, H, W) in [-1, 1] as (H, W, C) in 0..255.

    (x + 1) / 2 · 255, truncated; C stays 1 or 3. An array (H, W, C) is in 0..255 already.
    """
    if isinstance(picture, torch.Tensor):
        picture = picture.detach().cpu()
        array = (picture if picture.dtype == torch.float64 else picture.float()).numpy()
    elif picture.ndim < 4:
        return picture.astype(imtype)
    else:
        array = picture
    array = array[0] if array.ndim == 4 else array
    array = (array.transpose(1, 2, 0) + 1) / 2 * 255
    return np.clip(np.nan_to_num(array), 0, 255).astype(imtype)


def save_image(array: np.ndarray, path: str | Path, aspect_ratio: float = 1.0) -> None:
    """Write (H, W, 3) as RGB, (H, W, 1) or (H, W) as grey; > 1 widens, < 1 heightens."""
    image = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
    width, height = image.size
    if aspect_ratio > 1:
        image = image.resize((int(width * aspect_ratio), height), Image.Resampling.BICUBIC)
    elif aspect_ratio < 1:
        image = image.resize((width, int(height / aspect_ratio)), Image.Resampling.BICUBIC)
    image.save(path)


def mkdirs(paths: str | Path | Iterable[str | Path]) -> None:
    """Make one folder or several, with their parents."""
    for path in [paths] if isinstance(paths, str | Path) else paths:
        Path(path).mkdir(parents=True, exist_ok=True)


def short_stem(path: str, most: int = 200) -> str:
    """Return the file's stem; one too long to take a label is cut and told apart by its hash."""
    stem = Path(path).stem
    if len(stem.encode("utf-8", "surrogateescape")) <= most:
        return stem
    digest = hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    cut = stem.encode("utf-8", "ignore")[: most - 9].decode("utf-8", "ignore")
    return f"{cut}_{digest}"


def picture_seed(seed: int, path: str) -> int:
    """Return the seed of a picture's noise: a hash of (seed, the file's stem)."""
    digest = hashlib.sha256(f"{seed}/{Path(path).stem}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def make_folder(folder: str | Path, flag: str) -> Path:
    """Make a folder for output; ValueError names `flag` if it cannot be written."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(
            f"{flag}: {folder} cannot be written ({error.strerror}); choose another folder"
        ) from None
    return folder


def write_options(opt: Any, folder: Path, stem: str) -> None:
    """Write the options as STEM.json, and as the table STEM.txt if they can print themselves."""
    values = {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v
        for k, v in sorted(vars(opt).items())
    }
    (folder / f"{stem}.json").write_text(json.dumps(values, indent=1, default=str) + "\n")
    if hasattr(opt, "text"):
        (folder / f"{stem}.txt").write_text(opt.text() + "\n", encoding="utf-8")


def run_command(
    main: Callable[[Sequence[str] | None], None], args: Sequence[str] | None = None
) -> int:
    """Run a command's `main` on `args` (default: sys.argv[1:]) and return its exit status.

    A user's mistake (ValueError, OSError) is said on one line, status 2; --verbose adds where.
    """
    try:
        main(args)
    except (ValueError, OSError) as error:
        if "--verbose" in (sys.argv if args is None else args):
            log.exception("where it happened:")
        sys.stdout.flush()
        print(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def setup_logging() -> None:
    """Send log lines to standard output, one plain message a line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
