"""Check every image of a dataset before training: `python -m scripts.doctor --dataroot DIR`.

Lists the files that are damaged or unusual, and how training treats each; then looks at a sample
of each phase as the networks will see it. Exit status 1 if something would stop a training. Other
flags, such as --input_nc or --range_A, are those of train.py.
"""

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/doctor.py

from tqdm import tqdm

from data.checks.data_check import Remark, check_data
from data.checks.image_check import Finding, inspect
from data.image_folder import make_dataset
from data.value_range import chosen_ranges
from options.base_options import Options
from options.config_files import read_yaml
from options.parser import FlagParser, OneLineParser, number
from options.shared_flags import add_shared_flags
from options.train_options import TrainOptions
from scripts.diagnosis.holes import hole_findings
from scripts.diagnosis.labels import label_findings
from scripts.diagnosis.leaks import relative_names, shared_groups_of_files
from scripts.diagnosis.measurements import measured_findings
from scripts.diagnosis.pairs import pairs
from util.command import run_command, setup_logging
from util.errors import RunStopped
from util.process_pool import worker_pool
from util.registry import find_class

log = logging.getLogger(__name__)

SKIP = "repair or delete them, or train with --on_bad_image skip, which ignores them"
MOST_ALIKE = 3  # files with the same remark that are listed one by one
# The flags of train.py that each type of dataset is read with.
FLAGS = {
    "aligned": (),
    "unaligned": ("--model", "cycle_gan"),
    "single": (),
    "colorization": ("--model", "colorization"),
    # With skip, the datasets leave it to `OF_ITEMS` to name what is bad.
    "inpaint": ("--model", "inpaint", "--on_bad_image", "skip"),
    "labels": ("--on_bad_image", "skip"),
    "measurements": (),
}
# What looks at the items of a type of dataset; returns also the files of which `inspect` is to
# say no more than that they are bad.
OF_ITEMS = {"inpaint": hole_findings, "labels": label_findings}


def main(argv: Sequence[str] | None = None) -> None:
    """Check all images below the folder; `RunStopped` if some would stop a training."""
    setup_logging()
    parser = OneLineParser(prog="python -m scripts.doctor", description=__doc__)
    add = parser.add_argument
    add("--dataroot", type=Path, help="folder of the images or files")
    add(
        "--dataset_mode",
        choices=list(FLAGS),
        help="type of dataset; by default that of --model; aligned also checks pairs",
    )
    add(
        "--num_threads",
        type=number(int, 0),
        default=os.cpu_count() or 1,
        help="number of processes",
    )
    add(
        "--group",
        help="regular expression that finds in a file's path what belongs together, such as a "
        "patient's number; groups in several phases are named",
    )
    args, train_flags = parser.parse_known_args(argv)
    if args.dataroot is None:
        raise ValueError(without_folder(parser, train_flags))
    args.dataset_mode = args.dataset_mode or dataset_mode_of(train_flags)
    options = {phase: options_of(args, phase, train_flags) for phase in phases_of(args)}
    if args.dataset_mode == "measurements":
        check_measured(args.dataroot, options, args.group)
        return
    paths = [str(Path(path)) for path in make_dataset(args.dataroot)]  # without ./ of --dataroot .
    look = OF_ITEMS.get(args.dataset_mode)
    exempt, item_findings = look(options.values()) if look else (set(), [])
    findings = ignored(args.dataroot, paths)
    only_8_bits = args.dataset_mode == "colorization"  # of others, `OF_ITEMS` says what has to
    max_pixels = max(opt.max_pixels for opt in options.values())
    inspect_file = partial(inspect, max_pixels=max_pixels, only_8_bits=only_8_bits)
    with worker_pool(min(max(1, args.num_threads), len(paths))) as pool:
        results = pool.map(inspect_file, paths, chunksize=16)
        for file_findings in tqdm(results, total=len(paths), unit="img", disable=None):
            findings += [
                finding for finding in file_findings if finding.fatal or finding.path not in exempt
            ]
    damaged = {finding.path for finding in findings if finding.fatal}
    findings += {finding for finding in item_findings if finding.path not in damaged}
    if args.dataset_mode == "aligned":
        findings += pairs(args.dataroot, paths, damaged)
    leaks: list[Finding] = []
    if args.group:
        folders = {phase: phase_folders(args.dataroot, phase) for phase in options}
        files = {phase: relative_names(roots, paths) for phase, roots in folders.items()}
        leaks += shared_groups_of_files(args.dataroot, files, args.group)
    report(findings, len(paths), remarks_of(options), leaks)


def check_measured(root: Path, asked: Mapping[str, Options], group: str | None) -> None:
    """Check files of measurements; remarks on what the networks see only once they can be read."""
    if not root.is_dir():
        raise ValueError(f"--dataroot: {root} does not exist")
    count, findings, leaks = measured_findings(root, asked, group)
    trained = {phase: opt for phase, opt in asked.items() if phase != "test"}
    remarks = [] if any(finding.fatal for finding in findings) else remarks_of(trained)
    fix = "repair them, take them and their partners away, or give the flag named beside them"
    report(findings, count, remarks, leaks, fix, "files")


def remarks_of(asked: Mapping[str, Options]) -> list[Remark]:
    """Return the remarks on a sample of each phase."""
    return list(dict.fromkeys(remark for opt in asked.values() for remark in data_remarks(opt)))


def without_folder(parser: OneLineParser, more: Sequence[str]) -> str:
    """Return what is wrong with a command that does not name its folder; `more` are other words."""
    for flag in parser.mistyped():
        if "--dataroot" in (message := parser.describe_unknown([flag])):
            return message
    folder = next((word for word in more if Path(word).is_dir()), "FOLDER")
    return f"--dataroot: name the folder of the images: --dataroot {folder}"


def model_and_dataset_mode(flags: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the --model of train.py's flags, or of their --config file, and its dataset_mode."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--config")
    given = parser.parse_known_args(flags)[0]
    config = read_yaml(given.config) if given.config else {}
    return given.model or config.get("model"), config.get("dataset_mode")


def dataset_mode_of(flags: Sequence[str]) -> str:
    """Return the type of dataset that train.py's flags choose, with --model or with a --config
    file; aligned if they choose none.
    """
    model, mode = model_and_dataset_mode(flags)
    if mode in FLAGS:
        return mode
    if model is None:
        return "aligned"
    add_shared_flags(of_model := FlagParser())
    find_class("models", model, "--model").modify_commandline_options(of_model, True)
    mode = of_model.get_default("dataset_mode")
    return mode if mode in FLAGS else "aligned"


def phases_of(args: argparse.Namespace) -> list[str]:
    """Return the phases that the folder holds; the whole folder counts as one for `single`."""
    phases = ("train", "val", "test")
    existing = [phase for phase in phases if phase_folders(args.dataroot, phase)]
    return existing if args.dataset_mode != "single" and existing else ["train"]


def holds_phases(opt: Options) -> bool:
    """Return whether the folder holds a phase; a folder of images alone may be checked too."""
    return bool(phase_folders(Path(opt.dataroot), opt.phase))


def phase_folders(root: Path, phase: str) -> list[Path]:
    """Return the folders of a phase, also in the trees of Cityscapes and ADE20K."""
    places = (root, root / "gtFine", root / "annotations")
    return [path for place in places for path in place.glob(f"{phase}*") if path.is_dir()]


def options_of(args: argparse.Namespace, phase: str, more: Sequence[str]) -> Options:
    """Return the options with which train.py would read a phase."""
    flags = ["--dataroot", str(args.dataroot), "--dataset_mode", args.dataset_mode]
    model, _ = model_and_dataset_mode(more)
    chosen = ["--model", model] if model else []
    return TrainOptions().read(
        [*flags, *FLAGS[args.dataset_mode], *chosen, "--phase", phase, *more]
    )


def data_remarks(opt: Options) -> list[Remark]:
    """Return remarks on a sample of a phase, as the networks would see it."""
    try:
        dataset = find_class("data", opt.dataset_mode, "--dataset_mode")(opt)
        ranges = dataset.fitted_ranges()
    except ValueError as error:
        if opt.phase == "test":  # test.py takes one side alone
            return []
        return [Remark(str(error), fatal=opt.phase == "train" and holds_phases(opt))]
    dataset.ranges = chosen_ranges(opt, ranges)
    return [Remark(f"{opt.phase}: {what}", fatal) for what, fatal in check_data(dataset, opt)[0]]


def report(
    found: list[Finding],
    count: int,
    remarks: list[Remark],
    leaks: list[Finding],
    fix: str = SKIP,
    what_counts: str = "images",
) -> None:
    """Log the findings, the remarks and what several phases share (`leaks`); `RunStopped` with a
    `fix` if some are fatal.
    """
    paths_by_remark: dict[tuple[bool, str], list[str]] = {}
    for path, what, fatal in sorted(found):
        paths_by_remark.setdefault((fatal, what), []).append(path)
    for (fatal, what), paths in paths_by_remark.items():
        mark = "BAD  " if fatal else "     "
        for path in paths if fatal or len(paths) <= MOST_ALIKE else ():
            log.info("%s%s: %s", mark, path, what)
        if not fatal and len(paths) > MOST_ALIKE:
            log.info("%s%s and %d other files: %s", mark, paths[0], len(paths) - 1, what)
    bad = {finding.path for finding in found if finding.fatal}
    for remark in remarks:
        log.info("%s%s", "BAD  " if remark.fatal else "     ", remark.what)
    for leak in leaks:
        log.info("BAD  %s: %s", leak.path, leak.what)
    others = sum(not finding.fatal for finding in found) + len(remarks)
    plural = "s" * (others != 1)
    what_counts = what_counts if count != 1 else what_counts.removesuffix("s")
    log.info("%d %s, %d bad, %d remark%s", count, what_counts, len(bad), others, plural)
    if bad:
        bad_files = f"{len(bad)} of {count} {what_counts}" if count else str(min(bad))
        raise RunStopped(f"{bad_files} would stop a training: {fix}")
    if fatal := [remark.what for remark in remarks if remark.fatal]:
        raise RunStopped(f"a training would stop: {fatal[0]}")
    if leaks:
        raise RunStopped(f"{leaks[0].path} {leaks[0].what}; give each to one phase")


def ignored(root: Path, paths: list[str]) -> list[Finding]:
    """Return a remark that counts the files that no dataset reads, by extension."""
    images = set(paths)
    others = Counter(
        path.suffix.lower() or path.name
        for path in root.rglob("*")
        if path.is_file() and str(path) not in images
    )
    names = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    return [Finding(str(root), f"also holds files that are ignored: {names}")] if others else []


if __name__ == "__main__":
    raise SystemExit(run_command(main))
