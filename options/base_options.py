"""Combine flags, YAML files and a run's saved options into one configuration."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

from options.config_files import (
    BUILTIN_PRESET,
    NO,
    YES,
    builtin_files,
    read_builtin,
    read_run,
    read_yaml,
)
from options.parser import FlagParser, closest, flags_of
from options.roles import SAME_RESULTS, as_flags, commas, differences
from options.shared_flags import add_shared_flags
from options.test_flags import add_test_flags
from options.train_flags import add_train_flags
from options.unused_flags import check_unused_flags
from util.command import setup_logging, words_of, write_any_text
from util.registry import find_class, known

COMMANDS = {"train": add_train_flags, "test": add_test_flags}
LONGEST_NAME = 220  # bytes; a file system takes 255, and an earlier run is given a longer name
_MISSING: Any = object()


class Options(argparse.Namespace):
    """The parsed options as attributes.

    `defaults` holds each option's default value, `roles` its role (options/roles.py), `given` the
    names of the options that the command line or a --config file has set, `saved` those that come
    from the run, `inferred` what the weights of a run without saved options show.
    """

    # Slots keep them out of vars(opt).
    __slots__ = ("defaults", "roles", "given", "saved", "inferred")

    def text(self) -> str:
        """Return a table of all options, with a mark on the non-default ones."""
        lines = ["----------------- Options ---------------"]
        for name, value in sorted(vars(self).items()):
            default = self.defaults.get(name, value)
            mark = f"\t[default: {_plain(default)}]" if value != default else ""
            lines.append(f"{name:>25}: {_plain(value)!s:<30}{mark}".rstrip())
        return "\n".join([*lines, "----------------- End -------------------"])

    def non_default_flags(self) -> list[str]:
        """Return the flags of the non-default options that change the results, with values."""
        changed = differences(self, self.defaults, SAME_RESULTS)
        return shown_flags({name: now for name, (_, now) in changed.items()}, self.model)


def shown_flags(changed: Mapping[str, Any], model: str) -> list[str]:
    """Return non-default options as flags, for a person.

    On the built-in data the preset's files stand for its options, which nobody has given.
    """
    preset = read_builtin(model)
    if str(changed.get("dataroot")) != preset["dataroot"]:
        return as_flags(changed)
    given = {name: value for name, value in changed.items() if str(value) != preset.get(name)}
    return [*(f"options/presets/{file.name}" for file in builtin_files(model)), *as_flags(given)]


class BaseOptions:
    """Combines flags, YAML files and a run's saved options into one `Options`.

    Precedence: base < phase < model < dataset < built-in preset (without --dataroot)
    < the run's saved options (test, and --continue_train) < --config file < command line.
    """

    is_train: bool
    also: Sequence[str] = ()
    inferred: Mapping[str, Any] = MappingProxyType({})  # see `Options`

    @property
    def phase(self) -> str:
        """The command, a key of `COMMANDS`."""
        return "train" if self.is_train else "test"

    def parse(self, args: Sequence[str] | None = None) -> Options:
        """Parse `args` (default: the command line, in a notebook nothing); an error is one line and
        exit status 2.
        """
        write_any_text()
        setup_logging()  # a script of the user's own may log losses without it
        try:
            return self.read(words_of(args))
        except (ValueError, OSError) as error:
            sys.stderr.write(f"{os.path.basename(sys.argv[0])}: error: {error}\n")
            raise SystemExit(2) from None

    def read(self, args: Sequence[str]) -> Options:
        """Parse `args`; a ValueError starts with the flag or the file."""
        parser = FlagParser(description=self.__doc__)
        add_shared_flags(parser)
        COMMANDS[self.phase](parser)
        return self._read(parser, [str(a) for a in args])

    def saved_options(
        self, parser: FlagParser, run: Path, by_hand: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the options saved in the run's folder; by default none.

        `by_hand` are the shared options from the command line or a --config file.
        """
        return {}

    def carried_options(self, parser: FlagParser) -> set[str]:
        """Return the names of the saved options that this command uses."""
        return parser.carried | parser.carried_with_model

    def foreign_options(self, hooks: list[Callable[..., Any]]) -> set[str]:
        """Return options of the other command, which a --config file may hold; they are ignored."""
        return set()

    def own_values(self, parser: FlagParser, config: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a --config file without values meant for the other command."""
        return config

    def owner_of(self, flag: str) -> str:
        """Say which command, model or dataset an unknown flag belongs to; "" if none has it."""
        for command, add_flags in COMMANDS.items():
            if command != self.phase and flag in flags_of(add_flags):
                return f"is a flag of {command}.py"
        choosers = (("models", "--model"), ("data", "--dataset_mode"))
        for is_train, (package, chooser) in product((self.is_train, not self.is_train), choosers):
            owners = []
            for name in known(package):
                with contextlib.suppress(Exception):  # a user's file may not import
                    hook = find_class(package, name, chooser).modify_commandline_options
                    owners += [name] if flag in flags_of(hook, values=(is_train,)) else []
            if owners:
                command = {True: "train.py with ", False: "test.py with ", self.is_train: ""}
                return f"is a flag of {command[is_train]}{chooser} {' or '.join(owners)}"
        return ""

    def _read(self, parser: FlagParser, argv: list[str]) -> Options:
        # First pass: the options that select the files to read and the hooks to call.
        given = _given(parser, argv)
        config = read_yaml(given["config"]) if given.get("config") else {}
        by_hand = {**typed_values(parser, config, f"{given.get('config')}: "), **given}
        defaults = {name: action.default for name, action in parser.options().items()}
        values = {**defaults, **by_hand}
        named = _existing_name(values, by_hand, argv) if values["suffix"] else values["name"]
        saved = self.saved_options(parser, Path(values["checkpoints_dir"]) / named, by_hand)
        builtin = not (by_hand.get("dataroot") or saved.get("dataroot"))
        model = {**values, **saved, **by_hand}["model"]
        preset = read_builtin(model) if builtin else {}

        # Call each hook once; the model's hook may set the default dataset.
        chosen = {**preset, **saved, **by_hand}
        classes: list[Any] = []
        for package, flag in (("models", "model"), ("data", "dataset_mode")):
            name = chosen.get(flag, parser.get_default(flag))
            classes.append(find_class(package, name, f"--{flag}"))
            with parser.section(f"{flag.removesuffix('_mode')} {name}"):
                classes[-1].modify_commandline_options(parser, self.is_train)
        parser.add_argument("-h", "--help", action="help", help="show this and exit")
        parser.owner, parser.also = self.owner_of, self.also

        # Second pass, strict: parse one source after another into one namespace.
        carried, flags = self.carried_options(parser), _given(parser, argv)
        if builtin and (labels := {**config, **flags}.get("label_dir")):
            preset = {"dataroot": labels}  # of --dataset_mode labels: not the built-in data
        config = self.own_values(parser, config)
        if not self.is_train:
            data_options = ("dataroot", "direction")  # a run has sizes of its own
            preset = {k: v for k, v in preset.items() if k in (data_options if saved else carried)}
        saved = {k: v for k, v in saved.items() if k in carried and k in parser.options()}
        opt = Options()
        opt.defaults = vars(parser.parse_args([]))
        opt.roles = parser.roles(self.phase) | {"isTrain": "launch"}
        _apply(parser, opt, preset, f"{BUILTIN_PRESET}: ")
        _apply(parser, opt, saved, "the run's saved options: ")
        hooks = [cls.modify_commandline_options for cls in classes]
        foreign = self.foreign_options(hooks) - set(parser.options()) if config else set()
        config = {k: v for k, v in config.items() if k not in foreign}
        _apply(parser, opt, config, f"{given.get('config')}: ")
        parser.parse_args(argv, opt)
        opt.given, opt.inferred = {*config, *flags}, dict(self.inferred)
        opt.saved = typed_values(parser, saved)
        resumed = saved and by_hand.get("continue_train")
        opt.name = named if resumed or not self.is_train else _named(vars(opt))
        self.finish(parser, opt)
        check_unused_flags(parser, opt, flags)
        classes[0].check_options(opt)
        derived = getattr(classes[-1], "derived_options", None)  # a user's dataset may lack it
        vars(opt).update(derived(opt) if derived else {})
        return opt

    def finish(self, parser: FlagParser, opt: Options) -> None:
        """Fill in derived options and make the checks that need several options."""
        opt.isTrain = self.is_train
        if not opt.name or not opt.name.isprintable():
            parser.error(f"--name {opt.name!r}: must be a valid folder name")
        if len(os.fsencode(os.path.basename(opt.name))) > LONGEST_NAME:
            parser.error(f"--name {opt.name}: is longer than {LONGEST_NAME} bytes")
        path = os.path.normpath(opt.name)
        if os.path.isabs(path) or path.split(os.sep)[0] in ("..", "."):
            parser.error(
                f"--name {opt.name}: points outside the folder --checkpoints_dir; use a plain name"
            )
        for flag in ("phase", "epoch"):
            value = getattr(opt, flag)
            if not value or value != os.path.basename(value) or value in (".", ".."):
                parser.error(f"--{flag} {value}: must be a plain name without slashes")
        resizes = opt.preprocess in ("resize_and_crop", "scale_width_and_crop")
        if resizes and opt.load_size < opt.crop_size:
            parser.error(
                f"--load_size {opt.load_size}: smaller than --crop_size {opt.crop_size}; "
                f"images are cropped after they are resized"
            )


def _apply(parser: FlagParser, opt: Options, values: dict[str, Any], source: str) -> None:
    """Parse `values` into `opt` as if they were flags, so that argparse checks all of them."""
    parser.source = source
    actions, tokens = parser.options(), []
    for name, value in values.items():
        if name not in actions:
            parser.error(f"{name}: unknown option{closest(name, list(actions))}")
        action, lower = actions[name], str(value).lower()
        several = action.nargs not in (None, 0, "?") or isinstance(action.default, list)
        if action.nargs == 0 and action.const not in (True, False):  # store_const
            setattr(opt, name, value)
        elif action.nargs == 0 or action.type is bool:
            if lower not in YES and lower not in NO:
                parser.error(f"{name}: {value!r} must be true or false")
            setattr(opt, name, lower in YES)
        elif several and isinstance(value, list) and action.type in (None, int, float, str):
            setattr(opt, name, value)
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            tokens.append(f"{action.option_strings[0]}={text}")
    parser.parse_args(tokens, opt)
    parser.source = ""


def typed_values(parser: FlagParser, values: dict[str, Any], source: str = "") -> dict[str, Any]:
    """Return the values, the texts among them as the parser reads them if it has their options."""
    texts = {k: v for k, v in values.items() if k in parser.options() and isinstance(v, str | list)}
    opt = Options()
    _apply(parser, opt, texts, source)
    return {**values, **{name: getattr(opt, name) for name in texts}}


def _given(parser: FlagParser, argv: list[str]) -> dict[str, Any]:
    """Return the options given on the command line, parsed; ignore those the parser lacks."""
    appends = argparse._AppendAction  # to a copy of a list
    missing: dict[str, Any] = {
        name: [] if isinstance(action, appends) else _MISSING
        for name, action in parser.options().items()
    }
    namespace = argparse.Namespace(**missing)
    parser.parse_known_args(argv, namespace)
    return {k: v for k, v in vars(namespace).items() if v is not missing[k]}


def train_parser(model: str) -> FlagParser:
    """Return a parser with the flags of train.py and of a model; ValueError if it is unknown."""
    parser = FlagParser()
    add_shared_flags(parser)
    add_train_flags(parser)
    find_class("models", model, "--model").modify_commandline_options(parser, model != "test")
    return parser


def _existing_name(values: dict[str, Any], by_hand: dict[str, Any], argv: list[str]) -> str:
    """Return the name that train.py gives a run with a --suffix, by these flags alone.

    The run's saved options are found by this name. --model test translates with a run of any other
    model: the first name that exists is taken.
    """
    model = values["model"]
    names = _names_of("pix2pix" if model == "test" else model, by_hand, argv)
    for other in known("models") if model == "test" else ():
        with contextlib.suppress(Exception):  # a user's file may not import, or lack an option
            names += _names_of(other, by_hand, argv)
    existing = (name for name in names if Path(values["checkpoints_dir"], name).is_dir())
    return next(existing, names[0])


def _names_of(model: str, by_hand: dict[str, Any], argv: list[str]) -> list[str]:
    """Return the names that train.py gives a run of a model; without --dataroot also that of one
    on the built-in images, whose preset has other defaults.
    """
    by_hand = {**by_hand, "model": model}
    parser = train_parser(model)
    dataset = by_hand.get("dataset_mode", parser.get_default("dataset_mode"))
    find_class("data", dataset, "--dataset_mode").modify_commandline_options(parser, True)
    defaults = {name: action.default for name, action in parser.options().items()}
    # With the flags of the model and the dataset.
    by_hand = {**by_hand, **_given(parser, argv), "model": model}
    if source := by_hand.get("init_from"):  # whose networks the run has
        roles = parser.roles("train")
        networks = {k: v for k, v in read_run(Path(source)).items() if roles.get(k) == "network"}
        by_hand = {**networks, **by_hand}
    presets = [{}] if by_hand.get("dataroot") else [{}, read_builtin(model)]
    texts = ({**preset, **by_hand} for preset in presets)
    return [_named({**defaults, **typed_values(parser, text)}) for text in texts]


def _named(values: dict[str, Any]) -> str:
    """Return the run's name: --name, then --suffix with its {option} fields filled in."""
    if not values["suffix"]:
        return values["name"]
    try:
        return f"{values['name']}_{values['suffix'].format(**values)}"
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(
            f"--suffix {values['suffix']}: {error} is not an option; write e.g. {{model}}_{{netG}}"
        ) from None


def _plain(value: Any) -> Any:
    return commas(value) or "-1" if isinstance(value, list) else value
