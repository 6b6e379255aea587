"""The flags of label maps."""

import argparse
import re
from typing import Any

from util.flag_types import number

HEX = re.compile(r"#?[0-9a-f]{6}")


def whole(text: str) -> int:
    """Return a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def colour_list(text: str) -> str | list[str]:
    """Return "auto", or the colours of "#rrggbb,#rrggbb,…" as a list."""
    if text == "auto":
        return text
    colours = [colour.strip().lower() for colour in text.split(",")]
    if wrong := [colour for colour in colours if not HEX.fullmatch(colour)]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not auto or a colour such as #ff8000")
    hex_colours = [f"#{colour.removeprefix('#')}" for colour in colours]
    if len(set(hex_colours)) < len(hex_colours):
        raise argparse.ArgumentTypeError(f"{text!r} names a colour twice")
    return hex_colours


def add_class_flags(parser: Any) -> Any:
    """Add the flags of the classes, if a model has not added them yet; return the parser."""
    if "--label_nc" not in parser.flags():
        with parser.section("dataset labels"):
            _add_classes(parser.add_argument)
    return parser


def add_label_flags(parser: Any, is_train: bool) -> Any:
    """Add the flags of label maps; return the parser."""
    add_class_flags(parser)
    _add_folders(parser.add_argument)
    if is_train:
        add_label_aug(parser)
        with parser.section("validation of labels", role="training"):
            parser.add_argument(
                "--fcn_epochs",
                type=whole,
                default=0,
                help="epochs, e.g. 10, in which a network learns to read the classes in the "
                "training images; each validation (--val_freq) then measures pixel accuracy and "
                "mIoU of what it reads in the outputs; 0: none",
            )
    return parser


def add_label_aug(parser: Any) -> None:
    """Add the flag that distorts inputs that are label maps in a training."""
    with parser.section("training on label maps", role="training"):
        parser.add_argument(
            "--label_aug",
            type=number(float, 0, 0.5),
            default=0.0,
            help="random distortions of inputs that are label maps: standard deviation of the "
            "displacements in parts of the shorter side, e.g. 0.01; 0: none",
        )


def _add_classes(add: Any) -> None:
    of_network = {"role": "network", "carry": True}
    add(
        "--label_nc",
        type=whole,
        **of_network,
        help="number of classes; by default counted in the label maps",
    )
    add(
        "--contain_dontcare_label",
        action="store_true",
        **of_network,
        help="255 in label maps is unknown, a class of its own after the others",
    )
    add("--no_instance", action="store_true", **of_network, help="no edges of instance maps")
    add(
        "--label_colours",
        type=colour_list,
        **of_network,
        help="colours of the classes in label maps of colours: auto (found in them) or "
        "rrggbb,rrggbb,…; by default A|B images, and coloured maps in two folders, are colours",
    )
    add(
        "--label_offset",
        type=whole,
        role="data",
        carry=True,
        help="number of the first class in label maps; smaller ones are unknown (by default 0, "
        "or 1 in the tree of ADE20K)",
    )


def _add_folders(add: Any) -> None:
    for kind, noun in (("label", "label maps"), ("image", "images"), ("instance", "instance maps")):
        add(f"--{kind}_dir", role="data", help=f"folder of the {noun} of --phase")
    add(
        "--no_pairing_check",
        action="store_true",
        role="data",
        help="pair the files of the folders in their order, whatever their names",
    )
