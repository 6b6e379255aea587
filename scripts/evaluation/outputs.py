"""Find the outputs of a run to be measured, or make them with test.py."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data import create_dataset
from data.checks.missing_folder import nearest_folder
from data.measurements.folders import MOST_INPUTS
from inference.manifest import (
    Manifest,
    different,
    different_flags,
    made_from,
    states_of,
)
from inference.pages import weights_tag
from inference.shards import all_files, chosen, images_are, valid_entries
from options.base_options import shown_flags
from options.config_files import read_run
from options.roles import SAME_RESULTS, differences
from options.train_options import TrainOptions
from scripts.evaluation.compare import ImageSet
from scripts.evaluation.measured_values import measured_values
from translator import Translator, run_options
from util.errors import one_line
from util.files import ROOT, run_folder
from util.image_rows import ImageRow, is_complete

log = logging.getLogger(__name__)

TEST = ROOT / "test.py"
INPUTS = tuple(f"real_A{n}" for n in range(1, MOST_INPUTS + 1))  # of several
KINDS = ("real_A", *INPUTS, "fake_B", "real_B", "fake_B_rgb", "real_B_rgb")


def check_run(name: str, args: Any) -> None:
    """Raise a ValueError for flags that test.py refuses, or a name without weights and results."""
    wanted = run_options([*test_flags(name, args), "--gpu_ids", "-1"], also=args.flags)
    run = run_folder(wanted)
    if not run.is_dir() and not (args.results_dir / wanted.name).is_dir():
        near = nearest_folder(run)
        meant = f"; did you mean --name {near.name}?" if near else ""
        raise ValueError(f"--name {name}: there is no folder {run}{meant}")


def from_run(name: str, args: Any, paired: bool = True) -> ImageSet:
    """Return a run's results; let test.py make those that are missing or out of date.

    Results made with other options are kept; the new ones then go to RESULTS_DIR/evaluation.
    With `paired`, outputs without targets are a ValueError.
    """
    flags = test_flags(name, args)
    wanted = run_options([*flags, "--gpu_ids", "-1"], batches=True, also=args.flags)
    for place in (args.results_dir, args.results_dir / "evaluation"):
        folder = place / wanted.name / f"{wanted.phase}_{weights_tag(wanted)}"
        if not holds_results(folder) or made_with(wanted, folder):
            break
    if todo := what_to_do(wanted, folder):
        why, extra_flags = todo
        log.info("%s: translating %s", name, why)
        translate([*flags, "--results_dir", str(place), *extra_flags])
    images = collect_images(name, folder, wanted, paired)
    images.made = how_made(vars(wanted), args.test_flags)
    images.settings = training_flags(wanted)
    images.run, images.options = name, wanted
    if wanted.dataset_mode == "measurements":
        images.values = measured_values(wanted, folder, images.names)
    return images


def what_to_do(wanted: Any, folder: Path) -> tuple[str, list[str]] | None:
    """Return what test.py is to translate, in words and flags; None if all is there."""
    manifest, phase = Manifest(folder), f"the images of {wanted.phase}"
    if not made_with(wanted, folder):
        return phase, []
    if not manifest.exists():
        if seems_complete(wanted, folder):
            log.info("%s: from an earlier version; taken as complete, by its files' times", folder)
            return None
        return f"{phase} again, since an earlier version made {folder} and it may be a part", []
    try:
        dataset = create_dataset(wanted, repeated=True)  # which looks at no image
        files = all_files(dataset.dataset, len(dataset))
        now = made_from(wanted, files, len(files), states_of(Translator(wanted).model.nets))
        entries = valid_entries(manifest, dataset.dataset, range(len(dataset)))
    except (ValueError, OSError) as error:  # test.py would fail as well
        if chosen_of(manifest, wanted)[1]:
            return phase, ["--skip_finished"]
        log.info("%s: taken as it is, since it cannot be made again (%s)", folder, one_line(error))
        return None
    if differing := different(manifest.read(), now, wanted):
        return f"{phase} again ({', '.join(differing)})", []
    _, missing, _ = chosen(entries, len(dataset), wanted.num_test, wanted.serial_batches)
    if missing:
        return f"{len(missing)} images that are missing or have changed", ["--skip_finished"]
    return None


def chosen_of(manifest: Manifest, wanted: Any) -> tuple[list[ImageRow], int, int]:
    """Return the rows of the finished images, and the numbers of missing and unreadable ones."""
    entries, count = manifest.entries(), manifest.read()["count"]
    finished, missing, unreadable = chosen(entries, count, wanted.num_test, wanted.serial_batches)
    return [entries[number].row for number in finished], len(missing), len(unreadable)


def seems_complete(wanted: Any, folder: Path) -> bool:
    """Return whether results without a manifest are of one test, with the present weights.

    Only the number and the times of the files can tell: there is an output for each input; all are
    newer than the start of the test, and that is newer than the weights.
    """
    tag = weights_tag(wanted).removesuffix("_ema")
    weights = [p.stat().st_mtime for p in run_folder(wanted).glob(f"{tag}_net_G*.pth")]
    images = list((folder / "images").glob("*.png"))
    try:
        count = min(len(create_dataset(wanted, repeated=True)), wanted.num_test)
    except (ValueError, OSError):  # the inputs are gone
        count = 1
    outputs = [path for path in images if re.search(r"_fake(_B(_rgb)?)?\.png$", path.name)]
    if len(outputs) < count or not (folder / "index.html").exists():
        return False
    started = (folder / "test_opt.json").stat().st_mtime
    whole = all(path.stat().st_mtime >= started and is_complete(path) for path in images)
    return whole and started >= max(weights, default=0.0)


def how_made(opt: dict[str, Any], more: list[str]) -> str:
    """Describe in words the translated images, the weights and the size."""
    first = f"the first {opt['num_test']} of " if opt["num_test"] < float("inf") else ""
    width = opt["load_size" if opt["preprocess"] == "scale_width" else "crop_size"]
    size = "at their own size" if opt["preprocess"] == "none" else f"{width} pixels wide"
    if opt["dataset_mode"] == "measurements":
        size = "whole files"
    average = ", EMA of G" if opt["use_ema"] else ""
    flags = f", {' '.join(more)}" if more else ""
    return (
        f"{first}{opt['dataroot']}, {opt['phase']}, {opt['direction']}; epoch {opt['epoch']}"
        f"{average}; {opt['preprocess']}, {size}{flags}"
    )


def training_flags(wanted: Any) -> list[str]:
    """Return the non-default flags that a run was trained with, else those of its test."""
    saved = read_run(run_folder(wanted))
    if not saved:
        return wanted.non_default_flags()
    kind = [f"--{name}={saved[name]}" for name in ("model", "dataset_mode") if name in saved]
    # Any --dataroot, so that the preset of the built-in images is not read.
    default = TrainOptions().read([*kind, "--dataroot", "-", "--gpu_ids", "-1"])
    changed = differences(default, saved, SAME_RESULTS)
    return shown_flags({name: of_run for name, (of_run, _) in changed.items()}, default.model)


def test_flags(name: str, args: Any) -> list[str]:
    """Return the flags that test.py needs to make a run's results."""
    flags = ["--name", name, "--phase", args.phase, "--epoch", args.epoch, *args.test_flags]
    flags += ["--checkpoints_dir", str(args.checkpoints_dir)]
    flags += ["--dataroot", str(args.dataroot)] if args.dataroot else []
    flags += ["--use_ema"] if args.use_ema else []
    return [*flags, "--gpu_ids", ",".join(map(str, args.gpu_ids)) or "-1"]


def holds_results(folder: Path) -> bool:
    """Return whether a folder has results, or some of them."""
    files = (folder / "index.html", folder / "test_opt.json", Manifest(folder).file)
    return any(file.exists() for file in files)


def made_with(wanted: Any, folder: Path) -> bool:
    """Return whether a folder's results were made with these options."""
    manifest = Manifest(folder)
    try:
        saved = json.loads((folder / "test_opt.json").read_text(encoding="utf-8"))
        if differences(wanted, saved, SAME_RESULTS):
            return False
        return not manifest.exists() or not different_flags(manifest.read(), wanted)
    except (OSError, ValueError):
        return False


def collect_images(name: str, folder: Path, wanted: Any, paired: bool) -> ImageSet:
    """Return the images in a folder of results; raises ValueError as `from_run` does."""
    images, notes = folder / "images", []
    if Manifest(folder).exists():
        rows, missing, unreadable = chosen_of(Manifest(folder), wanted)
        files = {k: {r.name: images / r.files[k] for r in rows if k in r.files} for k in KINDS}
        there_and_back = any("rec_A" in row.files for row in rows)
        if count := missing + unreadable:
            notes = [f"{name}: {images_are(count)} left out, as test.py cannot read all"]
    else:
        files = {kind: by_name(images.glob(f"*_{kind}.png"), kind) for kind in KINDS}
        there_and_back = any(images.glob("*_rec_A.png"))
    ending = "_rgb" if files["fake_B_rgb"] else ""
    fake, real = files[f"fake_B{ending}"], files[f"real_B{ending}"]
    if not fake or not real or (paired and there_and_back):
        fix = "without targets, choose --metrics FID,KID,IS,FD-EffLite0,KD-EffLite0"
        if wanted.dataset_mode == "measurements":
            fix = f"add the targets as {wanted.phase}{wanted.direction[-1]}/"
        raise ValueError(f"--name {name}: {images} contains no outputs with their targets; {fix}")
    alone = sorted(fake.keys() - real.keys())
    if alone and paired:
        raise ValueError(f"--name {name}: {fake[alone[0]]} has no target beside it")
    inputs = [files[kind] for kind in ("real_A", *INPUTS) if files[kind]] or [{}]
    return ImageSet(name, fake, real, inputs[0], notes, more_inputs=inputs[1:])


def by_name(paths: Iterable[Path], kind: str) -> dict[str, Path]:
    """Return images of a kind by the name of their input."""
    return {path.name.removesuffix(f"_{kind}.png"): path for path in paths}


def translate(flags: list[str]) -> None:
    """Run test.py; if it fails, raise a ValueError with its message."""
    process = subprocess.run(
        [sys.executable, str(TEST), *flags],
        capture_output=True,
        text=True,
        errors="backslashreplace",
    )
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"test.py ended with {process.returncode}"]
        raise ValueError(lines[-1].removeprefix("test.py: error: "))
