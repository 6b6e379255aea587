"""Find the outputs of a run to be measured, or make them with test.py."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from inference.pages import weights_tag
from inference.shards import ShardLog
from options.roles import SAME_RESULTS, differences
from scripts.evaluation.compare import ImageSet
from translator import run_options
from util.files import ROOT, run_folder

log = logging.getLogger(__name__)

TEST = ROOT / "test.py"
KINDS = ("real_A", "fake_B", "real_B", "fake_B_rgb", "real_B_rgb")


def from_run(name: str, args: Any, paired: bool = True) -> ImageSet:
    """Return a run's results; run test.py if there are none newer than the weights.

    Results made with other options are kept; the new ones then go to RESULTS_DIR/evaluation.
    With `paired`, outputs without targets are a ValueError.
    """
    flags = test_flags(name, args)
    wanted = run_options(flags, batches=True, also=args.flags)
    tag = weights_tag(wanted)
    weights = run_folder(wanted).glob(f"{tag.removesuffix('_ema')}_net_G*.pth")
    for place in (args.results_dir, args.results_dir / "evaluation"):
        folder = place / wanted.name / f"{wanted.phase}_{tag}"
        page = folder / "index.html"
        if not page.exists() or made_with(wanted, folder):
            break
    newest = max((path.stat().st_mtime for path in weights), default=0.0)
    if not page.exists() or not made_with(wanted, folder) or start_time(folder) < newest:
        log.info("%s: translating the images of %s", name, args.phase)
        translate([*flags, "--results_dir", str(place)])
    images = collect_images(name, folder, paired)
    images.made = how_made(vars(wanted), args.test_flags)
    return images


def how_made(opt: dict[str, Any], more: list[str]) -> str:
    """Describe in words the translated images, the weights and the size."""
    first = f"the first {opt['num_test']} of " if opt["num_test"] < float("inf") else ""
    size = "at their own size" if opt["preprocess"] == "none" else f"{opt['crop_size']} pixels wide"
    average = ", EMA of G" if opt["use_ema"] else ""
    flags = f", {' '.join(more)}" if more else ""
    return (
        f"{first}{opt['dataroot']}, {opt['phase']}, {opt['direction']}; epoch {opt['epoch']}"
        f"{average}; {opt['preprocess']}, {size}{flags}"
    )


def test_flags(name: str, args: Any) -> list[str]:
    """Return the flags that test.py needs to make a run's results."""
    flags = ["--name", name, "--phase", args.phase, "--epoch", args.epoch, *args.test_flags]
    flags += ["--checkpoints_dir", str(args.checkpoints_dir)]
    flags += ["--dataroot", str(args.dataroot)] if args.dataroot else []
    flags += ["--use_ema"] if args.use_ema else []
    return [*flags, "--gpu_ids", ",".join(map(str, args.gpu_ids)) or "-1"]


def made_with(wanted: Any, folder: Path) -> bool:
    """Return whether a folder's results were made with these options and all shards are done."""
    try:
        made = json.loads((folder / "test_opt.json").read_text(encoding="utf-8"))
        if differences(wanted, made, SAME_RESULTS):
            return False
        return not made.get("num_shards") or ShardLog(folder).complete(wanted.num_test)
    except (OSError, ValueError):
        return False


def start_time(folder: Path) -> float:
    """Return when the command (or the first shard) that made a folder's results started."""
    file = folder / "test_opt.json"
    shards = json.loads(file.read_text(encoding="utf-8")).get("num_shards")
    return (ShardLog(folder).file if shards else file).stat().st_mtime


def collect_images(name: str, folder: Path, paired: bool) -> ImageSet:
    """Return the images in a folder of results; raises ValueError as `from_run` does."""
    images = folder / "images"
    started = start_time(folder)  # older files are from an earlier test
    kinds = {
        kind: {
            path.name.removesuffix(f"_{kind}.png"): path
            for path in images.glob(f"*_{kind}.png")
            if path.stat().st_mtime >= started
        }
        for kind in KINDS
    }
    ending = "_rgb" if kinds["fake_B_rgb"] else ""
    fake, real = kinds[f"fake_B{ending}"], kinds[f"real_B{ending}"]
    if not fake or not real or (paired and any(images.glob("*_rec_A.png"))):
        raise ValueError(
            f"--name {name}: {images} contains no outputs with their targets; without targets, "
            f"choose --metrics FID,KID,IS"
        )
    missing = sorted(fake.keys() - real.keys())
    if missing and paired:
        raise ValueError(f"--name {name}: {fake[missing[0]]} has no target beside it")
    return ImageSet(name, fake, real, kinds["real_A"])


def translate(flags: list[str]) -> None:
    """Run test.py; if it fails, raise a ValueError with its message."""
    done = subprocess.run(
        [sys.executable, str(TEST), *flags],
        capture_output=True,
        text=True,
        errors="backslashreplace",
    )
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"test.py ended with {done.returncode}"]
        raise ValueError(words[-1].removeprefix("test.py: error: "))
