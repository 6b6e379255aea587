"""The name of a run, which --suffix may fill in from its other options."""

import contextlib
from pathlib import Path
from typing import Any

from options.config_files import read_builtin, read_run
from options.parser import FlagParser
from options.shared_flags import add_shared_flags
from options.train_flags import add_train_flags
from options.values import given_values, typed_values
from util.registry import find_class, known


def train_parser(model: str) -> FlagParser:
    """Return a parser with the flags of train.py and of a model; ValueError if it is unknown."""
    parser = FlagParser()
    add_shared_flags(parser)
    add_train_flags(parser)
    find_class("models", model, "--model").modify_commandline_options(parser, model != "test")
    return parser


def existing_name(values: dict[str, Any], by_hand: dict[str, Any], argv: list[str]) -> str:
    """Return the name that train.py gives a run with a --suffix, by these flags alone.

    The run's saved options are found by this name. --model test translates with a run of any other
    model: the first name that exists is taken.
    """
    model = values["model"]
    names = names_of("pix2pix" if model == "test" else model, by_hand, argv)
    for other in known("models") if model == "test" else ():
        with contextlib.suppress(Exception):  # a user's file may not import, or lack an option
            names += names_of(other, by_hand, argv)
    existing = (name for name in names if Path(values["checkpoints_dir"], name).is_dir())
    return next(existing, names[0])


def names_of(model: str, by_hand: dict[str, Any], argv: list[str]) -> list[str]:
    """Return the names that train.py gives a run of a model; without --dataroot also that of one
    on the built-in images, whose preset has other defaults.
    """
    parser = train_parser(model)
    dataset = by_hand.get("dataset_mode", parser.get_default("dataset_mode"))
    find_class("data", dataset, "--dataset_mode").modify_commandline_options(parser, True)
    defaults = {name: action.default for name, action in parser.options().items()}
    # With the flags of the model and the dataset.
    by_hand = {**by_hand, **given_values(parser, argv), "model": model}
    if source := by_hand.get("init_from"):  # whose networks the run has
        roles = parser.roles("train")
        networks = {k: v for k, v in read_run(Path(source)).items() if roles.get(k) == "network"}
        by_hand = {**networks, **by_hand}
    presets = [{}] if by_hand.get("dataroot") else [{}, read_builtin(model)]
    texts = ({**preset, **by_hand} for preset in presets)
    return [run_name({**defaults, **typed_values(parser, text)}) for text in texts]


def run_name(values: dict[str, Any]) -> str:
    """Return the run's name: --name, then --suffix with its {option} fields filled in."""
    if not values["suffix"]:
        return values["name"]
    try:
        return f"{values['name']}_{values['suffix'].format(**values)}"
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"--suffix {values['suffix']}: {error} is not an option; write e.g. {{model}}_{{netG}}"
        ) from None
