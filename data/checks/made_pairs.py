"""What scripts.make_pairs notes beside the pairs that it makes, and the flags that suit them."""

import json
from pathlib import Path
from typing import Any

NOTE = "make_pairs.json"
LOAD, CROP = 286, 256  # pixels, the defaults of --load_size and --crop_size
SMALL_UNETS = (64, 128)  # pixels, the sizes of images below CROP that have a U-Net of their own
SCALE = ("superres",)  # tasks that depend on the scale of the pixels, which resizing changes


def train_flags(task: str, side: int) -> list[str]:
    """Return the flags of train.py for the pairs of a task; images below 256 pixels stay small.

    `side` is the shortest side of the images A in pixels. A task of `SCALE` needs `--preprocess
    crop`; the others are enlarged by an eighth before the crop, as 256 pixels are to 286.
    """
    scaled = task in SCALE
    crop = side if scaled else max(side, SMALL_UNETS[0])
    flags = ["--preprocess", "crop"] if scaled else []
    if side < CROP:
        load = crop if scaled else round(crop * LOAD / CROP)
        flags += ["--load_size", str(load), "--crop_size", str(crop)]
    return flags + (["--netG", f"unet_{crop}"] if crop in SMALL_UNETS else [])


def remark_on_made_pairs(opt: Any) -> str:
    """Return what is wrong with the flags of a training on pairs of make_pairs; "" if nothing."""
    try:
        task = json.loads((Path(opt.dataroot) / NOTE).read_text(encoding="utf-8"))["task"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if task not in SCALE or opt.preprocess in ("crop", "none"):
        return ""
    return (
        f"make_pairs --task {task} made these pairs; --preprocess {opt.preprocess} resizes them, "
        f"which changes how blurred A is: --preprocess crop does not"
    )
