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

from options.config_files import BUILTIN_PRESET, builtin_files, read_builtin, read_yaml
from options.parser import FlagParser, flags_of
from options.roles import SAME_RESULTS, as_flags, commas, differences
from options.run_names import existing_name, run_name
from options.shared_flags import add_shared_flags
from options.test_flags import add_test_flags
from options.train_flags import add_train_flags
from options.unused_flags import check_unused_flags
from options.values import apply_values, given_values, typed_values
from util.command import setup_logging, words_of, write_any_text
from util.registry import find_class, known

COMMANDS = {"train": add_train_flags, "test": add_test_flags}
LONGEST_NAME = 220  # bytes; a file system takes 255, and an earlier run is given a longer name


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

    def options_of_config(self, parser: FlagParser, config: dict[str, Any]) -> dict[str, Any]:
        """Return the options of a --config file that are meant for this command."""
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
        given = given_values(parser, argv)
        config = read_yaml(given["config"]) if given.get("config") else {}
        by_hand = {**typed_values(parser, config, f"{given.get('config')}: "), **given}
        defaults = {name: action.default for name, action in parser.options().items()}
        values = {**defaults, **by_hand}
        named = existing_name(values, by_hand, argv) if values["suffix"] else values["name"]
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
        carried, flags = self.carried_options(parser), given_values(parser, argv)
        if builtin and (labels := {**config, **flags}.get("label_dir")):
            preset = {"dataroot": labels}  # of --dataset_mode labels: not the built-in data
        config = self.options_of_config(parser, config)
        if not self.is_train:
            data_options = ("dataroot", "direction")  # a run has sizes of its own
            preset = {k: v for k, v in preset.items() if k in (data_options if saved else carried)}
        saved = {k: v for k, v in saved.items() if k in carried and k in parser.options()}
        opt = Options()
        opt.defaults = vars(parser.parse_args([]))
        opt.roles = parser.roles(self.phase) | {"isTrain": "launch"}
        apply_values(parser, opt, preset, f"{BUILTIN_PRESET}: ")
        apply_values(parser, opt, saved, "the run's saved options: ")
        hooks = [cls.modify_commandline_options for cls in classes]
        foreign = self.foreign_options(hooks) - set(parser.options()) if config else set()
        config = {k: v for k, v in config.items() if k not in foreign}
        apply_values(parser, opt, config, f"{given.get('config')}: ")
        parser.parse_args(argv, opt)
        opt.given, opt.inferred = {*config, *flags}, dict(self.inferred)
        opt.saved = typed_values(parser, saved)
        resumed = saved and by_hand.get("continue_train")
        opt.name = named if resumed or not self.is_train else run_name(vars(opt))
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


def _plain(value: Any) -> Any:
    return commas(value) or "-1" if isinstance(value, list) else value
