"""The outputs of a run that are to be measured: found, or made by test.py."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from inference.pages import weights_tag
from inference.shards import Record
from options.roles import SAME_RESULTS, differences
from scripts.evaluation.compare import ImageSet
from translator import run_options
from util.files import ROOT, run_folder

log = logging.getLogger(__name__)

TEST = ROOT / "test.py"
KINDS = ("real_A", "fake_B", "real_B", "fake_B_rgb", "real_B_rgb")


def from_run(name: str, args: Any, paired: bool = True) -> ImageSet:
    """Return a run's results, translated by test.py now unless it has done so with the same
    options since the weights were saved.

    Results of other options stay as they are: ours then go to RESULTS_DIR/evaluation. ValueError if
    outputs have no targets and must be `paired`.
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
    """Return in words which images were translated, with which weights, and to what size."""
    first = f"the first {opt['num_test']} of " if opt["num_test"] < float("inf") else ""
    size = "at their own size" if opt["preprocess"] == "none" else f"{opt['crop_size']} pixels wide"
    average = ", averaged G" if opt["use_ema"] else ""
    flags = f", {' '.join(more)}" if more else ""
    return (
        f"{first}{opt['dataroot']}, {opt['phase']}, {opt['direction']}; epoch {opt['epoch']}"
        f"{average}; {opt['preprocess']}, {size}{flags}"
    )


def test_flags(name: str, args: Any) -> list[str]:
    """Return the flags of test.py that make a run's results."""
    flags = ["--name", name, "--phase", args.phase, "--epoch", args.epoch, *args.test_flags]
    flags += ["--checkpoints_dir", str(args.checkpoints_dir)]
    flags += ["--dataroot", str(args.dataroot)] if args.dataroot else []
    flags += ["--use_ema"] if args.use_ema else []
    return [*flags, "--gpu_ids", ",".join(map(str, args.gpu_ids)) or "-1"]


def made_with(wanted: Any, folder: Path) -> bool:
    """Return whether a folder's results were made with these options, and by all of the shards."""
    try:
        made = json.loads((folder / "test_opt.json").read_text(encoding="utf-8"))
        if differences(wanted, made, SAME_RESULTS):
            return False
        return not made.get("num_shards") or Record(folder).complete(wanted.num_test)
    except (OSError, ValueError):
        return False


def start_time(folder: Path) -> float:
    """Return when the command that made a folder's results began, or the first of the shards."""
    file = folder / "test_opt.json"
    shards = json.loads(file.read_text(encoding="utf-8")).get("num_shards")
    return (Record(folder).file if shards else file).stat().st_mtime


def collect_images(name: str, folder: Path, paired: bool) -> ImageSet:
    """Return the images in a folder of results; ValueError as of `from_run`."""
    images = folder / "images"
    started = start_time(folder)  # what is older is left of a test before it
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
            f"--name {name}: {images} holds no outputs with their targets; without these there "
            f"are --metrics FID,KID,IS"
        )
    missing = sorted(fake.keys() - real.keys())
    if missing and paired:
        raise ValueError(f"--name {name}: {fake[missing[0]]} has no target beside it")
    return ImageSet(name, fake, real, kinds["real_A"])


def translate(flags: list[str]) -> None:
    """Run test.py; ValueError with its words if it fails."""
    done = subprocess.run([sys.executable, str(TEST), *flags], capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"test.py ended with {done.returncode}"]
        raise ValueError(words[-1].removeprefix("test.py: error: "))
