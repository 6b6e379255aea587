"""Words of a command line that belong to no flag."""

import contextlib
from collections.abc import Collection, Sequence

from options.parser import FlagParser
from options.shared_flags import add_shared_flags
from options.test_flags import add_test_flags
from util.registry import find_class, known


def positionals(argv: Sequence[str], switches: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the words that belong to no flag, and the flags with their values.

    `switches` are the caller's own flags without a value; those of test.py, its models and its
    datasets are known.
    """
    parser = FlagParser()
    add_shared_flags(parser)
    add_test_flags(parser)
    known_switches = switches_of(parser)
    for package, chooser in (("models", "--model"), ("data", "--dataset_mode")):
        for name in known(package):
            with contextlib.suppress(Exception):  # a user's file may not import
                hook = find_class(package, name, chooser).modify_commandline_options
                hook(hook_parser := FlagParser(), False)
                known_switches |= switches_of(hook_parser)
    words, flags = [], []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "-" or not word.startswith("-"):
            words.append(word)
            continue
        flags.append(word)
        if "=" not in word and word not in {*known_switches, *switches, "-h", "--help"} and rest:
            flags.append(rest.pop(0))
    return words, flags


def switches_of(parser: FlagParser) -> set[str]:
    """Return the flags of a parser that take no value, such as --eval and --no_eval."""
    switches = [action for action in parser._actions if action.nargs == 0]
    return {flag for action in switches for flag in action.option_strings}
