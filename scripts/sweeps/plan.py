"""Read a sweep's YAML file of rows and seeds, and check every run before the first one."""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from models.weights import infer_options
from options.config_files import flat, read_mapping, read_run, read_yaml
from options.parser import closest
from options.roles import SAME_RESULTS, differences
from options.train_options import TrainOptions, last_epoch
from util.files import atomic_write, make_folder

KEYS = ["runs", "seeds", "flags", "evaluate"]
# Options that the sweep sets itself -> where they come from.
OURS = {
    "seed": "comes from the list `seeds: [0, 1]`, beside `runs`",
    "name": "is the name of the sweep's file and of the row",
    "checkpoints_dir": "is a flag of the sweep itself",
}


class Run(NamedTuple):
    """One training: a row of the table, `label`, with one seed."""

    label: str
    seed: int
    name: str
    folder: Path
    flags: tuple[str, ...]
    last_epoch: int


class Plan(NamedTuple):
    """A sweep: its trainings, seed by seed, and the flags of their evaluation."""

    name: str
    runs: list[Run]
    seeds: list[int]
    evaluate: dict[str, str]


def read_plan(path: Path, checkpoints_dir: Path, more: Sequence[str] = ()) -> Plan:
    """Read a sweep's file; `more` are flags for every training, which override the file.

    Writes the options of each row to CHECKPOINTS_DIR/NAME/LABEL.yaml for `train.py --config`;
    precedence: preset < the file's `flags` < the row's own. ValueError names the first mistake,
    before anything is trained.
    """
    content = read_mapping(path, str(path))
    if unknown := [key for key in content if key not in KEYS]:
        raise ValueError(f"{path}: {unknown[0]}: unknown{closest(unknown[0], KEYS)}")
    rows = _section(path, content, "runs")
    if not rows:
        raise ValueError(
            f"{path}: runs: must contain lines such as `L1: options/presets/loss_L1.yaml`"
        )
    seeds = _seeds(path, content.get("seeds", ["0"]))
    common = flat(_section(path, content, "flags"), f"{path}: flags")
    evaluate = flat(_section(path, content, "evaluate"), f"{path}: evaluate")
    refuse_ours(f"{path}: flags: ", common)
    names = [flag.partition("=")[0].removeprefix("--") for flag in more]
    refuse_ours("--", names, {**OURS, "config": "each row has its own"})
    options = {label: row_options(path, label, row, common) for label, row in rows.items()}
    epoch, emas = evaluate.get("epoch", "latest"), []
    for label, values in options.items():
        emas.append(check(f"{path}: runs: {label}", values, more, epoch).ema)
    if evaluate.get("use_ema") == "true" and not any(emas):
        raise ValueError(
            f"{path}: evaluate: use_ema: no run keeps an EMA; add `ema: 0.999` to flags"
        )
    folder = make_folder(checkpoints_dir / path.stem, "--checkpoints_dir")
    for label, values in options.items():
        write_yaml(values, folder / f"{label}.yaml")
    runs = [planned(label, seed, folder, more) for seed in seeds for label in rows]
    return Plan(path.stem, runs, seeds, evaluate)


def refuse_ours(where: str, names: Iterable[str], ours: Mapping[str, str] = OURS) -> None:
    """Raise a ValueError if an option is set by the sweep itself; it starts with `where`."""
    for name in names:
        if name in ours:
            raise ValueError(f"{where}{name}: {ours[name]}")


def write_yaml(values: dict[str, str], path: Path) -> None:
    with atomic_write(path) as file:
        file.write(yaml.safe_dump(values, sort_keys=False).encode())


def check(where: str, values: dict[str, str], more: Sequence[str], epoch: str) -> Any:
    """Return the parsed options of a row; ValueError names it if train.py rejects them.

    Also if the training will not save the epoch to evaluate.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "row.yaml"
        write_yaml(values, config)
        try:
            places = ("--checkpoints_dir", folder)
            opt = TrainOptions(infer_options).read(["--config", str(config), *more, *places])
        except ValueError as error:
            raise ValueError(f"{where}: {str(error).removeprefix(f'{config}: ')}") from None
    if epoch == "best" and not opt.val_freq:
        raise ValueError(
            f"{where}: evaluate: epoch: best needs val_freq, which saves the best epoch"
        )
    saved = epoch.isdecimal() and int(epoch) % opt.save_epoch_freq == 0
    if epoch not in ("latest", "best") and not (saved and int(epoch) <= last_epoch(opt)):
        raise ValueError(
            f"{where}: evaluate: epoch: {epoch}: will not be saved; choose latest or best"
        )
    return opt


def _seeds(path: Path, seeds: Any) -> list[int]:
    valid = isinstance(seeds, list) and all(re.fullmatch(r"\d+", str(seed)) for seed in seeds)
    if not valid or not seeds:
        raise ValueError(f"{path}: seeds: must be a list such as [0, 1]")
    return list(dict.fromkeys(int(seed) for seed in seeds))


def _section(path: Path, content: dict[str, Any], key: str) -> dict[Any, Any]:
    section = content.get(key) or {}
    if not isinstance(section, dict):
        raise ValueError(f"{path}: {key}: must contain lines such as `name: value`")
    return section


def row_options(path: Path, label: str, row: Any, common: dict[str, str]) -> dict[str, str]:
    """Return the options of a row: a preset file, or options that may include `config`; so may
    those of all rows, `common`.
    """
    if not re.fullmatch(r"\w[\w.+-]*", label):
        raise ValueError(f"{path}: runs: {label!r}: must be a valid folder name")
    where = f"{path}: runs: {label}"
    if not isinstance(row, dict):
        row = {"config": row} if row else {}
    own = flat(row, where)
    refuse_ours(f"{where}: ", own)
    file = own.pop("config", common.get("config"))
    try:
        preset = read_yaml(file) if file else {}
    except ValueError as error:
        raise ValueError(f"{where}: {str(error).removeprefix('--config ')}") from None
    return preset | {name: value for name, value in common.items() if name != "config"} | own


def planned(label: str, seed: int, folder: Path, more: Sequence[str]) -> Run:
    """Return one run of the sweep.

    ValueError if train.py rejects its flags, or if its folder holds a training with other flags.
    """
    name = f"{folder.name}/{label}_seed{seed}"
    places = ("--name", name, "--checkpoints_dir", str(folder.parent))
    flags = ("--config", str(folder / f"{label}.yaml"), *more, "--seed", str(seed), *places)
    opt = TrainOptions(infer_options).read(flags)
    run = Run(label, seed, name, folder.parent / name, flags, last_epoch(opt))
    if (run.folder / "latest_state.pth").exists():
        differing = differences(opt, read_run(run.folder), SAME_RESULTS)
        changed = [f"--{name} {before} -> {now}" for name, (before, now) in differing.items()]
        if changed:
            raise ValueError(
                f"{run.folder}: was trained with other flags ({', '.join(changed)}); delete it or "
                f"rename the sweep's file"
            )
    return run
