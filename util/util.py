"""Small helpers: pictures to arrays and files, options files, one-line errors."""

import hashlib
import json
import logging
import math
import os
import sys
import traceback
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.files import ROOT, whole_file
from util.signals import Stopped

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
    if array.shape[0] not in (1, 3):  # of more channels the first are shown
        array = array[: 3 if array.shape[0] > 3 else 1]
    array = (array.transpose(1, 2, 0) + 1) / 2 * 255
    return np.clip(np.nan_to_num(array, copy=False), 0, 255).astype(imtype)


def save_image(array: np.ndarray, path: str | Path, aspect_ratio: float = 1.0) -> None:
    """Write (H, W, 3) as RGB, (H, W, 1) or (H, W) as grey; > 1 widens, < 1 heightens."""
    image = Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array)
    width, height = image.size
    if aspect_ratio > 1:
        image = image.resize((int(width * aspect_ratio), height), Image.Resampling.BICUBIC)
    elif aspect_ratio < 1:
        image = image.resize((width, int(height / aspect_ratio)), Image.Resampling.BICUBIC)
    image.save(path, compress_level=1, compress_type=zlib.Z_RLE)  # of PNG: docs/performance.md


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


def write_options(opt: Any, folder: Path, stem: str) -> None:
    """Write the options as STEM.json, and as the table STEM.txt if they can print themselves."""
    values = {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v
        for k, v in sorted(vars(opt).items())
    }
    texts = {"json": json.dumps(values, indent=1, default=str)}
    if hasattr(opt, "text"):
        texts["txt"] = opt.text()
    for ending, text in texts.items():
        with whole_file(folder / f"{stem}.{ending}") as file:
            file.write(f"{text}\n".encode())


def python() -> list[str]:
    """Return how to start a script here: under `uv run`, plain `python` would lack the packages."""
    return ["uv", "run"] if "UV" in os.environ else ["python"]


def run_command(
    main: Callable[[Sequence[str] | None], None], args: Sequence[str] | None = None
) -> int:
    """Run a command's `main` on `args` (default: sys.argv[1:]) and return its exit status.

    A user's mistake (ValueError, OSError) is said on one line, status 2; --verbose adds where.
    So is the end of a run before its end, with a status of its own.
    """
    try:
        main(args)
    except Stopped as stop:
        return _say(str(stop), stop.status)
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "interrupted", getattr(stop, "status", 130))
    except (ValueError, OSError) as error:
        if "--verbose" in (sys.argv if args is None else args):
            log.exception("where it happened:")
        return _say(f"error: {located(error)}", 2)
    return 0


def located(error: Exception) -> Exception:
    """Return a ValueError that nobody has raised to be read with the place where it happened: a
    slip in a file of the project, most likely in a model or dataset of the user's own.
    """
    frames = traceback.extract_tb(error.__traceback__)
    ours = [
        frame
        for frame in frames
        if Path(frame.filename).is_relative_to(ROOT) and "site-packages" not in frame.filename
    ]
    raised = ours and ours[-1] is frames[-1] and (frames[-1].line or "").startswith("raise ")
    if isinstance(error, OSError) or raised or not ours:
        return error
    place = f"{Path(ours[-1].filename).relative_to(ROOT)}, line {ours[-1].lineno}"
    return ValueError(f"{error} ({place}; --verbose shows how it came there)")


def _say(message: str, status: int) -> int:
    sys.stdout.flush()
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    return status


class Output(logging.StreamHandler):
    """Log lines to a stream; when nobody reads it any more (`| head`), the work goes on mute."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())
        else:
            super().handleError(record)


def setup_logging() -> None:
    """Send log lines to standard output, one plain message a line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[Output(sys.stdout)])
    logging.getLogger("every process").setLevel(logging.INFO)
