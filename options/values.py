"""Values of files and of the command line, as a parser reads them."""

import argparse
from typing import Any

from options.config_files import NO, YES
from options.parser import FlagParser, closest

MISSING: Any = object()


def apply_values(parser: FlagParser, opt: Any, values: dict[str, Any], source: str) -> None:
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
    opt = argparse.Namespace()
    apply_values(parser, opt, texts, source)
    return {**values, **{name: getattr(opt, name) for name in texts}}


def given_values(parser: FlagParser, argv: list[str]) -> dict[str, Any]:
    """Return the options given on the command line, parsed; ignore those the parser lacks."""
    appends = argparse._AppendAction  # to a copy of a list
    missing: dict[str, Any] = {
        name: [] if isinstance(action, appends) else MISSING
        for name, action in parser.options().items()
    }
    namespace = argparse.Namespace(**missing)
    parser.parse_known_args(argv, namespace)
    return {k: v for k, v in vars(namespace).items() if v is not missing[k]}
