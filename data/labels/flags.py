"""Options that follow from the label maps, and flags that contradict them."""

import logging
import os
from functools import cache
from typing import Any

from data.builtin_facades import is_builtin
from data.labels.class_names import BUILTIN
from data.labels.folders import find_label_files, hold_colours
from data.labels.inferred_classes import inferred_classes
from data.labels.scan import scan_labels
from util.files import run_folder
from util.palette import as_hex

log = logging.getLogger(__name__)

ORDER = {"val": 1, "test": 2}  # of the phases that are told; that of the training is 0


def derived_label_options(opt: Any) -> dict[str, Any]:
    """Return label_nc, label_colours, label_offset, contain_dontcare_label and no_instance as the
    files have them, where they are not given.
    """
    if not opt.isTrain and (channels := getattr(opt, "inferred", {}).get("semantic_nc")):
        return inferred_classes(channels, opt)
    if is_builtin(opt.dataroot) and not opt.label_dir:
        colours = sorted(as_hex(BUILTIN))
        builtin = {"label_nc": len(colours), "label_colours": colours, "label_offset": 0}
        builtin = {k: v for k, v in builtin.items() if getattr(opt, k) in (None, "auto")}
        return builtin | ({"no_instance": True} if of_no_run(opt) else {})
    if opt.label_offset is not None and not opt.isTrain:  # as in the run
        return {}
    try:
        files = find_label_files(opt)
    except ValueError:  # the constructor raises it
        files = None
    if files is None:
        return {}
    dontcare, offset = opt.contain_dontcare_label, opt.label_offset
    if offset is None:
        offset = int(files.layout == "ADE20K")  # 0 is unknown
        dontcare |= offset > 0
    options = {"label_offset": offset, "contain_dontcare_label": dontcare}
    if of_no_run(opt):
        options["no_instance"] = not files.instances
    if opt.isTrain:
        options |= _counted(opt, hold_colours(files, opt), offset, dontcare)
    return options


def of_no_run(opt: Any) -> bool:
    """Return whether a training makes its networks anew, so that the data decide about them."""
    if not opt.isTrain or opt.init_from:
        return False
    return not (opt.continue_train and any(run_folder(opt).glob("*_net_*.pth")))


def check_flags(opt: Any, side: str, two_sides: bool) -> None:
    """Raise a ValueError for flags that contradict the label maps, which are those of one of
    `two_sides`, or in a folder of their own.
    """
    if "direction" in getattr(opt, "given", ()) and not two_sides:
        _say_no_direction(opt.direction)
    if getattr(opt, f"range_{side}") != "auto":
        raise ValueError(f"--range_{side}: is for images; side {side} holds the label maps")
    flag = f"filter_{side}"
    if flag in getattr(opt, "given", ()) and getattr(opt, flag) != "nearest":
        raise ValueError(f"--{flag}: side {side} holds the label maps, which need nearest")
    colours = len(opt.label_colours) if isinstance(opt.label_colours, list) else 0
    if colours > opt.label_nc:
        raise ValueError(
            f"--label_nc {opt.label_nc}: the label maps have {colours} colours; leave it out"
        )


@cache
def _say_no_direction(direction: str) -> None:
    """Say once that --direction does nothing; commands for A|B images pass it along."""
    log.warning("--direction %s does nothing: the label maps have a folder of their own", direction)


@cache
def _say_count(classes: int, what: str, root: str) -> None:
    """Say once, for the data of a folder, how many classes there are."""
    log.info("--label_nc %d: %s", classes, what)


def _counted(opt: Any, coloured: bool, offset: int, dontcare: bool) -> dict[str, Any]:
    """Return label_nc, and label_colours of label maps of colours, where they are not given."""
    given = isinstance(opt.label_colours, list)
    if opt.label_nc is not None and (given or not coloured):
        return {}
    scan = None if given else scan_labels(opt)
    if scan is None and not given:  # the constructor says why
        return {}
    colours = opt.label_colours if given else scan.colours
    counted = len(colours) if given else scan.label_nc(offset, dontcare)
    if opt.label_nc is None:
        phases = [] if given else sorted(scan.phases, key=lambda phase: ORDER.get(phase, 0))
        source = "the colours of --label_colours" if given else f"counted in {', '.join(phases)}"
        _say_count(counted, source, os.path.abspath(opt.dataroot))
    options = {"label_nc": counted if opt.label_nc is None else opt.label_nc}
    return {**options, "label_colours": colours} if colours else options
