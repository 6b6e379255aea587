"""The live displays: visdom, TensorBoard, Weights & Biases; their packages are optional."""

import importlib.util
from pathlib import Path
from typing import Any

from util.displays.display import BackgroundDisplay
from util.displays.tensorboard_display import TensorBoard
from util.displays.visdom_display import Visdom
from util.displays.wandb_display import Wandb

INSTALL = {
    "tensorboard": "pip install tensorboard",
    "wandb": "pip install wandb",
    "visdom": "echo 'setuptools<81' > old.txt && PIP_CONSTRAINT=old.txt PIP_BUILD_CONSTRAINT="
    "old.txt pip install visdom",
}


def live_displays(opt: Any, folder: Path) -> list[BackgroundDisplay]:
    """Return the displays that the flags enable; ValueError if a package is missing."""
    displays = []
    if opt.display_id > 0:
        _require("visdom", "--display_id")
        place = {"server": opt.display_server, "port": opt.display_port, "env": opt.display_env}
        look = {"window": opt.display_id, "columns": opt.display_ncols, "title": opt.name}
        name = f"visdom at {opt.display_server}:{opt.display_port}"
        unfinished = "does not answer; the run has ended before all updates were shown"
        displays.append(BackgroundDisplay(name, lambda: Visdom(**place, **look), unfinished))
    if opt.use_tensorboard:
        _require("tensorboard", "--use_tensorboard")
        board = folder / "tensorboard"
        unfinished = f"{board} could not be finished in time"
        displays.append(BackgroundDisplay("TensorBoard", lambda: TensorBoard(board), unfinished))
    if opt.use_wandb:
        _require("wandb", "--use_wandb")
        config = {k: v if v != float("inf") else "inf" for k, v in vars(opt).items()}
        run = {"project": opt.wandb_project_name, "name": opt.name, "config": config}
        unfinished = (
            "uploads for up to a minute; later, `wandb sync wandb/latest-run` uploads the rest"
        )
        displays.append(BackgroundDisplay("Weights & Biases", lambda: Wandb(**run), unfinished))
    return displays


def _require(package: str, flag: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a folder of that name, as wandb writes, is none
        raise ValueError(
            f"{flag}: needs the package {package}, which is not installed; {INSTALL[package]}"
        )
