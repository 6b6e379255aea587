"""Read options from YAML files and from the folder of a run."""

import codecs
import contextlib
import json
import locale
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from util.errors import one_line

# Encodings by the mark at a file's start; that of UTF-32 starts with that of UTF-16.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")  # of flags without a value
PRESETS = Path(__file__).parent / "presets"
# The options of a run on the built-in data, small enough for two CPU cores. An optional
# builtin_MODEL.yaml overrides some of them for that model.
BUILTIN_PRESET = PRESETS / "builtin.yaml"


def builtin_files(model: str) -> list[Path]:
    """Return the files of the preset for a model on the built-in data; the last one overrides."""
    model_preset = PRESETS / f"builtin_{model}.yaml"
    return [BUILTIN_PRESET, *([model_preset] if model_preset.is_file() else [])]


def read_builtin(model: str) -> dict[str, str]:
    """Return the preset for a model on the built-in data."""
    return {k: v for file in builtin_files(model) for k, v in read_yaml(file).items()}


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
        text = decoded(Path(path).read_bytes())
        yaml.safe_load(text)  # refuses tags that would construct Python objects
        values = yaml.load(text, Loader=_Loader) or {}
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not valid YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{where}: must contain lines such as `ngf: 32`")
    return values


def decoded(content: bytes) -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, else in the encoding of this machine.

    Lines end in a newline alone. ValueError if the mark at the start is wrong.
    """
    return _text(content).replace("\r\n", "\n")


def _text(content: bytes) -> str:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding)
    if b"\0" in content[:2]:  # UTF-16 without a mark
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le")
    for encoding in ("utf-8", locale.getpreferredencoding(False)):
        with contextlib.suppress(UnicodeDecodeError, LookupError):
            return content.decode(encoding)
    return content.decode("latin-1")


def flat(values: dict[Any, Any], where: str) -> dict[str, str]:
    """Return options as text, lists joined by commas; ValueError for a nested value."""
    return {name: _one_value(name, value, where) for name, value in values.items()}


def _one_value(name: Any, value: Any, where: str) -> str:
    parts = value if isinstance(value, list) else [value]
    if not isinstance(name, str) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{where}: {name}: must be a single value")
    return ",".join(parts)


def existing_run(run: Any, flag: str = "") -> Path:
    """Return the folder of a run; ValueError, with a suggestion, if it is not a folder."""
    path = Path(run).absolute() if isinstance(run, str | Path) and run != "" else None
    if path and path.is_dir():
        return path
    candidates = [Path("checkpoints") / path.name, path.parent] if path else []
    hint = next((f"; did you mean {p}?" for p in candidates if any(p.glob("*_net_*.pth"))), "")
    start = f"{flag} {run!s}" if flag else f"{run!s}"
    raise ValueError(f"{start}: not the folder of a run, such as checkpoints/facades{hint}")


def read_run(run: Path) -> dict[str, Any]:
    """Return the options saved beside a run's weights; {} if there are none.

    `train_opt.json` is ours; the reference implementation writes a text table `train_opt.txt`.
    """
    for name, read in (("train_opt.json", _read_json), ("train_opt.txt", _read_table)):
        if (run / name).is_file():
            try:
                return read(decoded((run / name).read_bytes()))
            except (ValueError, RecursionError) as error:
                has_table = name.endswith(".json") and (run / "train_opt.txt").is_file()
                instead = (
                    "; train_opt.txt is then read"
                    if has_table
                    else (" and repeat the flags of the training on the command line")
                )
                message = f"{run / name}: damaged ({one_line(error)}); delete it{instead}"
                raise ValueError(message) from None
    return {}


def _read_json(text: str) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("not a mapping")
    return {name: value for name, value in values.items() if value is not None}


def _read_table(text: str) -> dict[str, str]:
    lines = re.findall(r"^ *(\w+): ?(.*?) *(?:\t\[default: .*\])?$", text, re.MULTILINE)
    if not lines:
        start = repr(text.strip()[:40]) if text.strip() else "nothing"
        raise ValueError(f"holds {start} in place of a table of options")
    return {name: value for name, value in lines if value not in ("", "None")}
