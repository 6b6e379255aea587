"""An argparse parser with sections, one-line errors and value checks."""

import argparse
import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from options.other_flag_names import (
    ELSEWHERE,
    RENAMED,
    VALUES_ELSEWHERE,
    WITHOUT_COUNTERPART,
)
from options.roles import ROLES
from util.command import words_of
from util.flag_types import gpu_list, number, pixel_range  # noqa: F401, found here too

# argparse's own words
REQUIRED = "the following arguments are required"
INVALID_CHOICE = re.compile(r"(--\w+): invalid choice: '([^']*)'")


class OneLineParser(argparse.ArgumentParser):
    """ArgumentParser without abbreviations; every error is a ValueError with one line."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)
        # Values such as -1024,3071 are numbers, not flags.
        self._negative_number_matcher = re.compile(r"-\.?\d[\d.,eE+-]*$")
        self.source = ""  # prefix of errors: the file being parsed, "" for the command line
        self.words: list[str] = []  # what is being parsed
        self.also: Sequence[str] = ()  # flags of the calling script, for suggestions
        self.owner: Callable[[str], str] = lambda flag: ""  # says where an unknown flag belongs

    def flags(self) -> list[str]:
        """Return all flags: "--name", …"""
        return list(self._option_string_actions)

    def takes_value(self, flag: str) -> bool:
        """Return whether a flag is followed by a value."""
        return self._option_string_actions[flag].nargs != 0

    def error(self, message: str) -> NoReturn:
        """Raise a ValueError that starts with the flag or the file."""
        message = message.removeprefix("argument ")
        message = message.replace("ignored explicit argument", "takes no value, leave out")
        if message.startswith(REQUIRED) and (mistyped := self.mistyped()):
            message = self.describe_unknown(mistyped)
        if match := INVALID_CHOICE.match(message):
            flag, value = match.groups()
            choices = [str(choice) for choice in self._option_string_actions[flag].choices]
            our_value = VALUES_ELSEWHERE.get(flag, {}).get(value.lower())
            message += f"; did you mean {our_value}?" if our_value else nearest(value, choices)
        raise ValueError(self.source + " ".join(message.split()))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = words_of(args)
        return super().parse_known_args(self.words, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(self.describe_unknown(unknown))
        return parsed

    def describe_unknown(self, unknown: Sequence[str]) -> str:
        """Return what is wrong with the words that the parser does not know: its flags, or the
        first word that is none.
        """
        flags = dict.fromkeys(word.partition("=")[0] for word in unknown if word.startswith("-"))
        return " ".join(map(self._unknown_flag, flags)) or self._stray_word(unknown[0])

    def mistyped(self) -> list[str]:
        """Return the unknown flags that are spelled nearly as a known one."""
        flags = [word.partition("=")[0] for word in self.words if word.startswith("--")]
        unknown = [flag for flag in flags if flag not in self._option_string_actions]
        return [flag for flag in unknown if "did you mean" in self._unknown_flag(flag)]

    def _unknown_flag(self, flag: str) -> str:
        actions = self._option_string_actions
        if owner := self.owner(flag.removeprefix("--")):
            return f"{flag}: {owner}"
        if flag in WITHOUT_COUNTERPART:
            return f"{flag}: unknown flag; {WITHOUT_COUNTERPART[flag]}"
        hint = closest(flag, [*actions, *self.also])
        suggestions = (RENAMED.get(flag) or ELSEWHERE.get(flag, "")).split(" or ")
        if usable := [name for name in suggestions if name.partition(" ")[0] in actions]:
            hint = f"; did you mean {usable[0]}?"
        return f"{flag}: unknown flag{hint}"

    def _stray_word(self, word: str) -> str:
        """Return what is wrong with a word that is neither a flag nor the value of one."""
        actions = self._option_string_actions
        padded = ["", "", *self.words]
        owner, before = next(
            (a, b)
            for a, b, c in zip(padded, padded[1:], self.words, strict=False)
            if c == word and (b not in actions or actions[b].nargs == 0)
        )
        if before in actions:
            return f"{before} {word}: {before} is a switch and takes no value"
        if owner in actions and not before.startswith("-"):
            are_numbers = before.isdecimal() and word.isdecimal()
            fix = f"a list is {before},{word}" if are_numbers else f"quote it: '{before} {word}'"
            return f"{owner} {before} {word}: {owner} takes one value; {fix}"
        example = "--dataroot" if os.path.isdir(word) else "--name"
        if example not in actions:
            return f"{word}: not a flag, and one word too many; see --help"
        return f"{word}: not a flag; write a flag before the value, as in {example} {word}"


class FlagParser(OneLineParser):
    """The parser of train.py and test.py; its flags have sections and roles."""

    def __init__(self, **kwargs: Any):
        usage, formatter = "%(prog)s [flags]", _HelpFormatter
        super().__init__(add_help=False, usage=usage, formatter_class=formatter, **kwargs)
        self.carried: set[str] = set()
        self.carried_with_model: set[str] = set()
        self.given_roles: dict[str, str | dict[str, str]] = {}
        self._section: argparse._ArgumentGroup | None = None
        self._section_role: str | None = None

    @contextlib.contextmanager
    def section(self, title: str, role: str | None = None) -> Iterator[None]:
        """Group the flags added inside under `title` in the help, with `role` as their default.

        A title that is there already gets more flags.
        """
        before = self._section, self._section_role
        existing = next((group for group in self._action_groups if group.title == title), None)
        self._section, self._section_role = existing or self.add_argument_group(title), role
        try:
            yield
        finally:
            self._section, self._section_role = before

    def add_argument(
        self,
        *args: Any,
        role: str | dict[str, str] | None = None,
        carry: bool | str = False,
        **kwargs: Any,
    ) -> argparse.Action:
        """Add a flag as argparse does.

        `role` is a key of `ROLES`, or {"train": …, "test": …}. With `carry`, test.py uses the
        run's saved value; with "with_model" only if `--model` is the run's model.
        """
        role = role or self._section_role
        for name in role.values() if isinstance(role, dict) else [role] if role else []:
            if name not in ROLES:
                raise ValueError(
                    f"{args[0]}: role {name!r} is unknown; known roles: {', '.join(ROLES)}"
                )
        add = super().add_argument if self._section is None else self._section.add_argument
        try:
            action = add(*args, **kwargs)
        except argparse.ArgumentError as error:
            raise ValueError(
                f"{args[0]}: a model or data set adds it, and train.py or test.py has it already; "
                f"leave it out there, or rename it ({error.message})"
            ) from None
        if role:
            self.given_roles[action.dest] = role
        if carry:
            (self.carried_with_model if carry == "with_model" else self.carried).add(action.dest)
        return action

    def roles(self, command: str) -> dict[str, str]:
        """Return each option's role in `command` ("train" or "test"); the default is "training"."""
        roles = {}
        for name in self.options():
            role = self.given_roles.get(name, "training")
            roles[name] = role.get(command, "training") if isinstance(role, dict) else role
        return roles

    def carry(self, *names: str) -> None:
        """Let test.py use the run's saved values of these options."""
        self.carried.update(names)

    def options(self) -> dict[str, argparse.Action]:
        """Return the actions by option name (dest), without help."""
        return {a.dest: a for a in self._actions if a.dest != "help"}


class _HelpFormatter(argparse.HelpFormatter):
    """Shows the default of each flag except switches."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.nargs == 0 or action.default in (None, "")
        return action.help if silent else f"{action.help} (default: %(default)s)"


def flags_of(*hooks: Callable[..., Any], values: tuple = ()) -> set[str]:
    """Return the names of all options that `hook(parser, *values)` adds, over these hooks."""
    parser = FlagParser()
    for hook in hooks:
        with contextlib.suppress(Exception):  # a user's file may not run
            hook(parser, *values)
    return set(parser.options())


def closest(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for the closest known word, else a hint at --help."""
    return nearest(word, known) or "; see --help for the known ones"


def nearest(word: str, known: Sequence[str]) -> str:
    """Return "; did you mean X?" for the closest known word; "" if none is close."""
    matches = [name for name in known if name.lower() == word.lower()]
    matches = matches or difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {matches[0]}?" if matches else ""
