"""What scripts.make_pairs notes beside the pairs that it makes, and the flags that they need."""

import json
from pathlib import Path
from typing import Any

NOTE = "make_pairs.json"
CROP = 256  # pixels, the default of --crop_size
SCALE = ("superres",)  # tasks that depend on the scale of the pixels, which resizing changes


def train_flags(side: int) -> list[str]:
    """Return the flags of train.py under which a task of `SCALE` survives.

    `side` is the shortest side of the images A in pixels.
    """
    crop = ["--load_size", str(side), "--crop_size", str(side)] if side < CROP else []
    return ["--preprocess", "crop", *crop]


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
