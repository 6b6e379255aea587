"""Read options from YAML files and from the folder of a run."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from util.errors import one_line

PRESETS = Path(__file__).parent / "presets"
# The options of a run on the built-in data, small enough for two CPU cores. An optional
# builtin_MODEL.yaml overrides some of them for that model.
BUILTIN_PRESET = PRESETS / "builtin.yaml"


def read_builtin(model: str) -> dict[str, str]:
    """Return the preset for a model on the built-in data."""
    own = PRESETS / f"builtin_{model}.yaml"
    return read_yaml(BUILTIN_PRESET) | (read_yaml(own) if own.is_file() else {})


def read_yaml(path: str | Path) -> dict[str, str]:
    """Return a flat YAML mapping; scalars stay text for argparse to convert, lists get commas.

    ValueError names the file if it cannot be read, is not YAML, or is not flat.
    """
    return flat(read_mapping(path, f"--config {path}"), f"--config {path}")


class _Loader(yaml.BaseLoader):
    """Keeps scalars as text, and refuses duplicate keys instead of using the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for name, times in Counter(str(key.value) for key, _ in node.value).items():
            if times > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name} is given {times} times", node.start_mark
                )
        return super().construct_mapping(node, deep)


def read_mapping(path: str | Path, where: str) -> dict[Any, Any]:
    """Return a YAML mapping of any depth, with scalars as text; errors start with `where`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        yaml.safe_load(text)  # refuses tags that would construct Python objects
        values = yaml.load(text, Loader=_Loader) or {}
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not valid YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{where}: must contain lines such as `ngf: 32`")
    return values


def flat(values: dict[Any, Any], where: str) -> dict[str, str]:
    """Return options as text, lists joined by commas; ValueError for a nested value."""
    return {name: _one_value(name, value, where) for name, value in values.items()}


def _one_value(name: Any, value: Any, where: str) -> str:
    parts = value if isinstance(value, list) else [value]
    if not isinstance(name, str) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{where}: {name}: must be a single value")
    return ",".join(parts)


def read_run(run: Path) -> dict[str, Any]:
    """Return the options saved beside a run's weights; {} if there are none.

    `train_opt.json` is ours; the reference implementation writes a text table `train_opt.txt`.
    """
    try:
        if (run / "train_opt.json").is_file():
            values = json.loads((run / "train_opt.json").read_text(encoding="utf-8"))
            if isinstance(values, dict):
                return {k: v for k, v in values.items() if v is not None}
            raise ValueError("not a mapping")
        if (run / "train_opt.txt").is_file():
            return _read_table((run / "train_opt.txt").read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{run / 'train_opt.json'}: damaged ({one_line(error)}); delete it and repeat "
            f"the flags of the training on the command line"
        ) from None
    return {}


def _read_table(text: str) -> dict[str, str]:
    lines = re.findall(r"^ *(\w+): ?(.*?) *(?:\t\[default: .*\])?$", text, re.MULTILINE)
    return {name: value for name, value in lines if value not in ("", "None")}
