"""The classes of label maps for a run without saved options, of which only the weights tell."""

import contextlib
import logging
from typing import Any

from data.builtin_facades import is_builtin
from data.labels.class_names import BUILTIN
from data.labels.folders import LabelFiles, find_label_files
from util.label_maps import KNOWN_CHANNELS, split_channels
from util.palette import as_hex

log = logging.getLogger(__name__)


def inferred_classes(channels: int, opt: Any) -> dict[str, Any]:
    """Return the options of label maps that have so many channels, as flags and files say.

    What was assumed is logged, as a warning where neither flags nor data tell. ValueError for
    flags that do not fit the channels.
    """
    files = label_files(opt)
    switches = opt.contain_dontcare_label, opt.no_instance
    instances = bool(files and files.instances)
    split = split_channels(channels, opt.label_nc, *switches, instances)
    if split is None:
        raise ValueError(
            f"--label_nc {opt.label_nc}: the label maps of this network have {channels} channels: "
            f"the classes, unknown pixels (--contain_dontcare_label) and the edges of instances "
            f"(without --no_instance)"
        )
    name, known = KNOWN_CHANNELS.get(channels, ("", None))
    guessed = split != known and opt.label_nc is None and not instances
    log.log(
        logging.WARNING if guessed else logging.INFO,
        "the %d channels of label maps are taken for %s%s; --label_nc, --contain_dontcare_label "
        "and --no_instance say it otherwise",
        *(channels, split.describe(), f", as of {name}" if split == known else ""),
    )
    options = split._asdict()
    if opt.label_colours is None and is_builtin(opt.dataroot) and split.label_nc == len(BUILTIN):
        options["label_colours"] = sorted(as_hex(BUILTIN))
    elif opt.label_colours == "auto":
        raise ValueError(
            "--label_colours auto: the run has no saved colours; give them in the order of its "
            "classes, #rrggbb,#rrggbb,…"
        )
    if opt.label_offset is None:
        options["label_offset"] = int(bool(files) and files.layout == "ADE20K")  # 0 is unknown
    return options


def label_files(opt: Any) -> LabelFiles | None:
    """Return the files of label maps that are there; the dataset says what is wrong with them."""
    with contextlib.suppress(ValueError):
        return find_label_files(opt)
    return None


def lacks_label_maps(opt: Any) -> bool:
    """Return whether weights alone would be tested on the built-in images, with other classes."""
    weights_alone = "semantic_nc" in getattr(opt, "inferred", {})
    on_builtin = is_builtin(opt.dataroot) and not opt.label_dir
    return weights_alone and on_builtin and not (opt.label_nc == len(BUILTIN) and opt.no_instance)
