"""What all tests share: frozen options, drawn images, runs of the two commands."""

import contextlib
import copy
import importlib
import io
import logging
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import uvicorn
from PIL import Image
from support.feature_net import FeatureNet
from support.training_plans import double_batch, double_nets
from torch import nn

import data
import models
from data import builtin_facades
from models import create_model, efficientnet_lite
from models.base_model import BaseModel
from options.base_options import BaseOptions, Options
from options.train_options import TrainOptions
from scripts.evaluation import feature_distances, outputs
from scripts.evaluation import flags as evaluation_flags
from scripts.sweeps import train_runs
from util import registry
from util.command import run_command

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
FACADES = SHARED / "datasets" / "facades"
needs_facades = pytest.mark.skipif(not FACADES.is_dir(), reason="the CMP facades are not here")

# Tiny networks, and a test process for each core: threads that wait for each other only cost.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
# They start twice as fast where torch has been compiled to bytecode once, as it usually is.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Networks small enough for a test, on the CPU.
TINY = [
    *("--netG", "unet_64", "--ngf", "4", "--ndf", "4", "--gpu_ids", "-1", "--num_threads", "0"),
    *("--load_size", "72", "--crop_size", "64", "--n_epochs", "1", "--n_epochs_decay", "0"),
]


def labelled(loss: Callable, label: float) -> Callable:
    """Return a loss of logits against one label."""
    return lambda x: loss(x, torch.full_like(x, label))


# What D wants of its logits for real images and for fakes, and G of those for its fakes.
GAN_LOSSES = {
    "vanilla": [labelled(F.binary_cross_entropy_with_logits, label) for label in (1, 0, 1)],
    "lsgan": [labelled(F.mse_loss, label) for label in (1, 0, 1)],
    "hinge": [lambda x: F.relu(1 - x).mean(), lambda x: F.relu(1 + x).mean(), lambda x: -x.mean()],
}


class FrozenOptions(Options):
    """Options that nobody can write to."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"our own code wrote to opt.{name}")


def freeze(opt: Options) -> FrozenOptions:
    """Return a frozen copy of parsed options."""
    frozen = FrozenOptions.__new__(FrozenOptions)
    vars(frozen).update(vars(opt))
    for slot in Options.__slots__:
        object.__setattr__(frozen, slot, getattr(opt, slot))
    return frozen


@pytest.fixture(autouse=True)
def frozen_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Freeze whatever the commands parse."""
    read = BaseOptions.read
    monkeypatch.setattr(BaseOptions, "read", lambda self, args: freeze(read(self, args)))


@pytest.fixture(autouse=True)
def plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands that are printed be the same whoever runs the tests."""
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "pytest"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Iterator[None]:
    """Escape names that are no UTF-8 in what tests print, which test processes cannot send."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Capture what the commands log."""
    caplog.set_level(logging.INFO)


def draw(size: tuple[int, int], seed: int = 0) -> Image.Image:
    """Draw a smooth RGB image of `size` (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def draw_pairs(root: Path, count: int = 3, size: tuple[int, int] = (96, 80)) -> Path:
    """Write `count` A|B images, `size` each half, into root/{train,val,test}; B is A inverted."""
    for n, phase in enumerate(("train", "val", "test")):
        (root / phase).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            A = draw(size, seed=100 * n + i)
            pair = Image.new("RGB", (2 * size[0], size[1]))
            pair.paste(A, (0, 0))
            pair.paste(Image.eval(A, lambda value: 255 - value), (size[0], 0))
            pair.save(root / phase / f"{i}.png", compress_level=1)
    return root


def draw_sets(root: Path, counts: tuple[int, int] = (3, 2)) -> Path:
    """Write unpaired images a0.png … and b0.png … into root/{train,val,test}{A,B}."""
    for n, phase in enumerate(("train", "val", "test")):
        for m, (side, count) in enumerate(zip("AB", counts, strict=True)):
            (root / f"{phase}{side}").mkdir(parents=True)
            for i in range(count):
                image = draw((80, 72), seed=1000 * n + 100 * m + i)
                path = root / f"{phase}{side}" / f"{side.lower()}{i}.png"
                image.save(path, compress_level=1)
    return root


# What makes a command of the documents small.
SMALL = {
    "train": "--gpu_ids -1 --num_threads 0 --netG unet_64 --ngf 4 --ndf 4 --n_epochs 5 "
    "--n_epochs_decay 1 --max_dataset_size 1 --load_size 64 --crop_size 64",
    "test": "--gpu_ids -1 --num_threads 0",
    "scripts.make_pairs": "--num_threads 1",
    "scripts.doctor": "--num_threads 1",
    "scripts.download": "",  # of data that the test has put there: it says so and ends
    "scripts.evaluate": "--gpu_ids -1 --num_threads 1",
    "scripts.draw": "--gpu_ids -1 --port 0",
    "scripts.export": "",
    "scripts.translate": "--gpu_ids -1",
    "scripts.video": "--gpu_ids -1",
    "scripts.sweep": "--gpu_ids -1 --num_threads 0 --netG unet_64 --ngf 4 --ndf 4 "
    "--max_dataset_size 1 --load_size 64 --crop_size 64",
}


def small(line: str) -> tuple[str, list[str]]:
    """Return what a command line runs and its flags, with small sizes unless it sets them."""
    _, script, *flags = [part for part in shlex.split(line) if part != "-m"]
    name = script.removesuffix(".py")
    extra = shlex.split(SMALL[name])
    own = re.search(r"(--model |presets/)(spade|pix2pixHD|inpaint)", line)
    if name == "train" and own:
        del extra[(at := extra.index("--netG")) : at + 2]
        flags += ["--cnum", "4"] if own[2] == "inpaint" else ["--no_vgg_loss"]
    for flag, value in zip(extra[::2], extra[1::2], strict=True):
        if flag not in flags:
            flags += [flag, value]
    for flag in ("--n_epochs", "--n_epochs_decay"):
        if flag in flags:
            place = flags.index(flag) + 1
            flags[place] = str(min(int(flags[place]), 7))
    return name, flags


def random_batch(
    seed: int = 0, *, size: int = 1, channels: tuple[int, int] = (3, 3), names: str = "AB"
) -> dict[str, Any]:
    """Make a batch of noise, (size, channels, 64, 64) in [-1, 1], as a dataset gives it."""
    torch.manual_seed(100 + seed)
    images = {
        name: torch.rand(size, count, 64, 64) * 2 - 1
        for name, count in zip("AB", channels, strict=True)
    }
    paths = {name: [f"{name}_{seed}_{i}.png" for i in range(size)] for name in "AB"}
    return {n: images[n] for n in names} | {f"{n}_paths": paths[n] for n in names}


def doubled(model: BaseModel, count: int = 3) -> tuple[dict[str, nn.Module], list[dict[str, Any]]]:
    """Turn a model to float64, so that Adam does not blow rounding up; return copies of its
    networks, and `count` batches of 2 to train both on.
    """
    double_nets(model)
    batches = [double_batch(random_batch(seed, size=2)) for seed in range(count)]
    return copy.deepcopy(model.nets), batches


def step(model: BaseModel, batch: dict[str, Any]) -> BaseModel:
    """Train a model for one step on a batch."""
    model.set_input(batch)
    model.optimize_parameters()
    return model


def result_images(
    run: str, page: str = "test_latest", results: str = "results"
) -> dict[str, np.ndarray]:
    """Return the images that test.py left of a run, by file name."""
    folder = Path(results) / run / page / "images"
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def near(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Return whether images are equal to a grey level: rounding depends on batch and layout."""
    return one.keys() == other.keys() and all(
        one[k].shape == other[k].shape and np.abs(one[k].astype(int) - other[k]).max() <= 1
        for k in one
    )


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(pids: set[int], seconds: float = 15) -> bool:
    """Wait for processes to end."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.1)
    return not any(map(alive, pids))


def refusal(action: Callable[[], Any], *words: str) -> None:
    """Expect a one-line ValueError that holds all `words`."""
    with pytest.raises(ValueError) as error:
        action()
    message = str(error.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A small aligned data set."""
    return draw_pairs(tmp_path / "pairs")


@pytest.fixture
def run_script(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Run a shell script with a `python` that only writes its arguments down: status, arguments."""

    def run(script: Path, *args: str, status: int = 0) -> tuple[int, list[str]]:
        fake = tmp_path / "python"
        fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > called\nexit {status}\n')
        fake.chmod(0o755)
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run([script, *args], cwd=tmp_path, env=environment)
        return done.returncode, (tmp_path / "called").read_text().splitlines()

    return run


class InThisProcess:
    """Stands for a process that runs train.py or test.py: they are called, which is faster."""

    def __init__(self, command: list[str], stdout: Any = None, **how: Any):
        main = importlib.import_module(Path(command[1]).stem).main
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.returncode = run_command(main, command[2:])
        self.stderr = said.getvalue()
        if stdout:
            stdout.write(self.stderr)

    def poll(self) -> int:
        return self.returncode


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scripts call train.py and test.py in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setattr(train_runs.subprocess, "Popen", InThisProcess)
    monkeypatch.setattr(outputs.subprocess, "run", InThisProcess)


@pytest.fixture
def feature_net(monkeypatch: pytest.MonkeyPatch) -> Iterator[FeatureNet]:
    """Let the metrics of EfficientNet-Lite0 read a small network, which needs no package."""
    net = FeatureNet()
    monkeypatch.setattr(efficientnet_lite, "efficientnet_lite0", lambda flag: net)
    monkeypatch.setattr(evaluation_flags, "require_packages", lambda flag: None)
    feature_distances.reader_on.cache_clear()
    yield net
    feature_distances.reader_on.cache_clear()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that scripts.draw would have served, in place of serving them."""
    addresses: list[str] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        addresses.append(sockets[0].getsockname()[0])

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return addresses


@pytest.fixture
def few_builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the built-in image set small, so that drawing it takes no time."""
    monkeypatch.setattr(builtin_facades, "SPLITS", {"train": 2, "val": 1, "test": 2})


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """Build a model that is ready, from flags; its run lies in tmp_path/run."""

    def build(*flags: Any, options: type[BaseOptions] = TrainOptions) -> BaseModel:
        tiny = TINY if options is TrainOptions else ["--gpu_ids", "-1"]
        places = ("--dataroot", tmp_path, "--checkpoints_dir", tmp_path, "--name", "run")
        opt = options().read([*tiny, *places, *flags])
        torch.manual_seed(0)
        model = create_model(opt)
        model.setup(opt)
        return model

    return build


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Put a file into `models/` or `data/`; nothing of it stays."""
    folders = {"models": models, "data": data}
    for name, package in folders.items():
        (tmp_path / "more" / name).mkdir(parents=True)
        path = [*package.__path__, str(tmp_path / "more" / name)]
        monkeypatch.setattr(package, "__path__", path)
    known = registry.known
    before = set(sys.modules)

    def also_dropped(package: str) -> list[str]:
        suffix = {"models": "_model", "data": "_dataset"}[package]
        files = (tmp_path / "more" / package).glob(f"*{suffix}.py")
        return [*known(package), *(f.stem.removesuffix(suffix) for f in files)]

    monkeypatch.setattr(registry, "known", also_dropped)
    yield lambda name, source: (tmp_path / "more" / name).write_text(source)
    for name in set(sys.modules) - before:
        package, _, module = name.partition(".")
        if package in folders:
            del sys.modules[name]
            vars(folders[package]).pop(module, None)


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., SimpleNamespace]:
    """Run train.py or test.py in this process in an empty folder: status, out, err."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(name: str, *args: Any) -> SimpleNamespace:
        main = importlib.import_module(name).main
        capfd.readouterr()
        try:
            status = run_command(main, [str(a) for a in args])
        except SystemExit as stop:
            status = stop.code
        out, err = capfd.readouterr()
        return SimpleNamespace(status=status, out=out, err=err, cwd=Path(os.getcwd()))

    return run
