"""What users type, import and find on disk, compared with the lists in tests/data/surface.

Whoever changes a flag, a state-dict key, the name of a written file or a Python signature on
purpose rewrites the lists with `python tests/test_surface.py` and commits them with the change.
"""

import hashlib
import importlib
import inspect
import json
import math
import os
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if __name__ == "__main__":  # before conftest, which pytest has to import itself
    os.environ["REWRITE_SURFACE"] = "1"
    raise SystemExit(pytest.main([__file__, "-q", "-n", "0"]))

import torch
from conftest import TINY, draw_pairs, draw_sets

from models.networks import DISCRIMINATORS, GENERATORS, NORMS, define_D, define_G
from options.test_options import TestOptions
from options.train_options import TrainOptions

Command = Callable[..., SimpleNamespace]
LISTS = Path(__file__).resolve().parent / "data" / "surface"
REWRITE = "python tests/test_surface.py"


def flattened(value: Any, path: str = "") -> dict[str, str]:
    """Return nested dicts as one, `outer inner` -> value; an item of a list is a key itself."""
    if isinstance(value, list):
        return {f"{path} {item}".strip(): "" for item in value}
    if not isinstance(value, dict):
        return {path: json.dumps(value)}
    found: dict[str, str] = {}
    for key, item in value.items():
        found |= flattened(item, f"{path} {key}".strip())
    return found


def differences(listed: Any, found: Any) -> list[str]:
    """Return a line for each entry that is new, gone or has another value."""
    old, new = flattened(listed), flattened(found)
    lines = []
    for key in sorted(old.keys() | new.keys()):
        if key not in new:
            lines.append(f"gone: {key} {old[key]}".rstrip())
        elif key not in old:
            lines.append(f"new: {key} {new[key]}".rstrip())
        elif old[key] != new[key]:
            lines.append(f"changed: {key}: {old[key]} -> {new[key]}")
    return lines


def assert_listed(name: str, found: Any) -> None:
    """Compare with tests/data/surface/NAME.json, or rewrite that file."""
    path = LISTS / f"{name}.json"
    if os.environ.get("REWRITE_SURFACE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    lines = differences(json.loads(path.read_text(encoding="utf-8")), found)
    if lines:
        more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
        pytest.fail(
            "\n".join(
                [f"The code differs from tests/data/surface/{name}.json:", *lines[:20], *more]
                + [f"If users are meant to see this change: {REWRITE}, and commit the list."]
            ),
            pytrace=False,
        )


def test_differences_name_what_is_new_gone_and_changed() -> None:
    listed = {"train.py": {"lr": 0.1, "old": None}, "files": ["a", "b"]}
    found = {"train.py": {"lr": 0.2, "extra": ""}, "files": ["b"]}
    assert differences(listed, found) == [
        "gone: files a",
        'new: train.py extra ""',
        "changed: train.py lr: 0.1 -> 0.2",
        "gone: train.py old null",
    ]


# Flags -----------------------------------------------------------------------------------

MODELS = {
    name: ["--model", name] for name in ("pix2pix", "cycle_gan", "colorization", "test", "template")
}
MODELS["template, dataset template"] = [*MODELS["template"], "--dataset_mode", "template"]
MODELS["pix2pix, dataset labels"] = [*MODELS["pix2pix"], "--dataset_mode", "labels"]
COMMANDS = {"train.py": TrainOptions, "test.py": TestOptions}
WAYS = [  # model test does not train
    (model, command)
    for model, command in product(MODELS, COMMANDS)
    if (model, command) != ("test", "train.py")
]


def plain(value: Any) -> Any:
    """Return a default as JSON can hold it."""
    return "inf" if isinstance(value, float) and math.isinf(value) else value


def test_flags_and_their_defaults_are_listed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, dict[str, Any]] = {}
    for model, command in WAYS:
        opt = COMMANDS[command]().read([*MODELS[model], "--dataroot", "data"])
        of_model = {name: plain(value) for name, value in opt.defaults.items()}
        found.setdefault(model, {})[command] = of_model
    assert_listed("flags", found)


def test_choices_of_flags_are_listed(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # so that argparse breaks no line
    found: dict[str, dict[str, list[str]]] = {}
    for model, command in WAYS:
        with pytest.raises(SystemExit):
            COMMANDS[command]().read([*MODELS[model], "--help"])
        for flag, choices in re.findall(r"^  --(\w+) {(.*?)}", capsys.readouterr().out, re.M):
            found.setdefault(command, {})[flag] = choices.split(",")
    assert_listed("choices", found)


# State dicts -----------------------------------------------------------------------------


def digest(net: torch.nn.Module) -> str:
    """Return the number of tensors and a hash of their names, shapes and types, in order."""
    lines = [f"{k} {tuple(v.shape)} {v.dtype}" for k, v in net.state_dict().items()]
    return f"{len(lines)} tensors, {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"


def test_state_dicts_of_all_networks_are_listed() -> None:
    """state_dicts.json beside the lists holds those of published weights key by key."""
    found = {}
    for netG, norm, dropout, up in product(
        GENERATORS, NORMS, (False, True), ("transpose", "resize")
    ):
        net = define_G(3, 2, 1, netG, norm, use_dropout=dropout, upsample=up)
        found[f"{netG}/{norm}/dropout={dropout}/{up}"] = digest(net)
    for netD, norm in product(DISCRIMINATORS, NORMS):
        for n_layers in range(1, 7) if netD == "n_layers" else [3]:
            found[f"{netD}{n_layers}/{norm}"] = digest(define_D(5, 1, netD, n_layers, norm))
    assert_listed("networks", found)


# Files -----------------------------------------------------------------------------------

RUNS = {
    "pix2pix": "--ema 0.9 --val_freq 1 --save_epoch_freq 1",
    "cycle_gan": "--netG resnet_6blocks --ndf 1 --ema 0.9 --val_freq 1 --save_epoch_freq 1",
    "colorization": "",
}


def files_in(folder: Path) -> list[str]:
    """Return the relative names of all files below a folder."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_files_of_runs_and_of_results_are_listed(command: Command) -> None:
    draw_pairs(Path("pairs"), count=2)
    draw_sets(Path("sets"), counts=(2, 1))
    cpu = ["--gpu_ids", "-1", "--num_threads", "0"]
    found = {}
    for model, flags in RUNS.items():
        data = "sets" if model == "cycle_gan" else "pairs"
        place = ["--dataroot", data, "--name", model, "--model", model]
        result = command("train", *TINY, *place, *flags.split())
        assert result.status == 0, result.err
        assert command("test", "--name", model, *cpu).status == 0
        found[f"checkpoints/{model}"] = files_in(Path("checkpoints", model))
        found[f"results/{model}"] = files_in(Path("results", model))
    one_way = ["--name", "pix2pix", "--model", "test", "--dataroot", "pairs/test", *cpu]
    results = Path("results_of_model_test")
    assert command("test", *one_way, "--results_dir", results, "--use_ema").status == 0
    found["results/pix2pix, model test, --use_ema"] = files_in(results / "pix2pix")
    shard = ["--name", "pix2pix", *cpu, "--num_shards", "2", "--shard_id", "0"]
    assert command("test", *shard, "--results_dir", "shards").status == 0
    found["results/pix2pix, shard 0 of 2"] = files_in(Path("shards/pix2pix"))
    assert_listed("files", found)


# Python names ----------------------------------------------------------------------------

# A module: its names; behind a class, its methods, of which the constructor is always listed.
NAMES = {
    "options.train_options": {"TrainOptions": "parse read"},
    "options.test_options": {"TestOptions": "parse read"},
    "options.base_options": {"BaseOptions": "parse read"},
    "data": {"create_dataset": ""},
    "data.base_dataset": {
        "BaseDataset": "modify_commandline_options",
        "get_params": "",
        "get_transform": "",
    },
    "data.image_folder": {"make_dataset": ""},
    "data.transforms": {"load_picture": ""},
    "models": {"create_model": ""},
    "models.base_model": {
        "BaseModel": "setup set_input forward optimize_parameters test eval compute_visuals "
        "get_current_visuals get_current_losses get_image_paths save_networks load_networks "
        "update_learning_rate modify_commandline_options"
    },
    "models.by_name": {"NamedModel": "setup set_requires_grad"},
    "models.networks": {
        **dict.fromkeys(("define_G", "define_D", "GANLoss", "get_scheduler"), ""),
        **dict.fromkeys(("get_norm_layer", "init_net", "UnetGenerator", "ResnetGenerator"), ""),
        **dict.fromkeys(("NLayerDiscriminator", "PixelDiscriminator"), ""),
    },
    "util.util": {"tensor2im": "", "save_image": "", "mkdirs": ""},
    "util.visualizer": {
        "Visualizer": "reset display_current_results print_current_losses plot_current_losses",
        "save_images": "",
    },
    "util.html": {"HTML": "add_header add_images save get_image_dir"},
    "util.image_pool": {"ImagePool": "query"},
    "translator": {"Translator": "load __call__ each translate"},
}


def signature(function: Any) -> str:
    """Return the parameters' names, order and defaults, without annotations."""
    found = inspect.signature(function)
    empty = inspect.Parameter.empty
    parameters = [p.replace(annotation=empty) for p in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=empty))


def test_python_names_and_their_signatures_are_listed() -> None:
    found = {}
    for module, names in NAMES.items():
        for name, methods in names.items():
            thing = getattr(importlib.import_module(module), name)
            found[f"{module}.{name}"] = signature(thing)
            for method in methods.split():
                found[f"{module}.{name}.{method}"] = signature(getattr(thing, method))
    assert_listed("python", found)
