"""docs/migrating.md is true: files written for the "CycleGAN and pix2pix" repository work here."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY, draw
from PIL import Image

from options.test_options import TestOptions
from options.train_options import TrainOptions

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "migrating.md").read_text("utf-8")

DATASET = '''
import random
import os

from PIL import Image

from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset


class PairDataset(BaseDataset):
    """Two folders, images paired by their order."""

    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument("--shuffle_B", action="store_true", help="break the pairs")
        parser.set_defaults(max_dataset_size=10)
        return parser

    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.A_paths = sorted(make_dataset(os.path.join(self.root, "a"), opt.max_dataset_size))
        self.B_paths = sorted(make_dataset(os.path.join(opt.dataroot, "b"), opt.max_dataset_size))
        self.input_nc = self.opt.output_nc if self.opt.direction == "BtoA" else self.opt.input_nc
        self.alone = get_transform(opt, None, False, Image.BICUBIC, True)

    def __getitem__(self, index):
        A_path = self.A_paths[index % len(self.A_paths)]
        B_path = random.choice(self.B_paths) if self.opt.shuffle_B else self.B_paths[index]
        A, B = (Image.open(path).convert("RGB") for path in (A_path, B_path))
        params = get_params(self.opt, A.size)
        transform = get_transform(self.opt, params, grayscale=(self.input_nc == 1))
        assert self.alone(A).shape[0] == 3
        return {"A": transform(A), "B": transform(B), "A_paths": A_path, "B_paths": B_path}

    def __len__(self):
        return len(self.A_paths)
'''


def block(name: str, language: str) -> str:
    (code,) = re.findall(rf"<!-- migrating: {name} -->\n```{language}\n(.*?)```", PAGE, re.DOTALL)
    return code


def folders_a_and_b(root: Path) -> Path:
    for n, side in enumerate("ab"):
        (root / side).mkdir(parents=True)
        for i in range(2):
            draw((80, 72), seed=10 * n + i).save(root / side / f"{i}.png")
    return root


def test_a_dataset_file_works_unchanged(
    command: Callable[..., SimpleNamespace], drop: Callable, tmp_path: Path
) -> None:
    drop("data/pair_dataset.py", DATASET)
    root = folders_a_and_b(tmp_path / "two")
    flags = ["--dataroot", root, "--dataset_mode", "pair", "--name", "r", "--shuffle_B"]
    result = command("train", *TINY, *flags)
    assert result.status == 0, result.err
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    names = {p.name for p in Path("results/r/test_latest/images").iterdir()}
    assert names == {f"{i}_{k}.png" for i in "01" for k in ("real_A", "fake_B", "real_B")}


def test_the_diff_is_one_line_of_the_model() -> None:
    removed, added = block("diff", "diff").splitlines()
    assert block("model", "python").count(removed.removeprefix("-") + "\n") == 1
    assert added.startswith("+")


def test_the_model_of_the_page_works_with_its_diff(
    command: Callable[..., SimpleNamespace], drop: Callable, pairs: Path
) -> None:
    removed, added = (line[1:] for line in block("diff", "diff").splitlines())
    drop("models/edge_model.py", block("model", "python").replace(removed, added))
    flags = ["--dataroot", pairs, "--model", "edge", "--name", "r", "--print_freq", "1"]
    result = command("train", *TINY, *flags)
    assert result.status == 0, result.err
    lines = Path("checkpoints/r/loss_log.txt").read_text().splitlines()
    assert len(lines) == 4 and re.search(r"\) G_GAN: \S+ G_edge: \S+ D: \S+$", lines[1])
    first = torch.load("checkpoints/r/latest_net_G.pth", weights_only=True)
    again = command("train", *TINY, *flags, "--continue_train", "--n_epochs", "2")
    assert again.status == 0, again.err
    second = torch.load("checkpoints/r/latest_net_G.pth", weights_only=True)
    assert any(not torch.equal(first[k], second[k]) for k in first)
    assert Path("checkpoints/r/latest_net_D.pth").exists()
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    assert len(list(Path("results/r/test_latest/images").iterdir())) == 9


def test_training_and_test_loops_of_old_work(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # people write to the options
    names = "options.train_options options.test_options data models util.visualizer util.html"
    train_options, test_options, data, models, visualizer, html = map(
        importlib.import_module, names.split()
    )
    places = ["--dataroot", str(pairs), "--checkpoints_dir", str(tmp_path), "--name", "old"]
    opt = train_options.TrainOptions().parse([*TINY, *places])
    assert opt.isTrain and opt.gpu_ids == []
    opt.num_threads = 0
    dataset = data.create_dataset(opt)
    model = models.create_model(opt)
    model.setup(opt)
    shown = visualizer.Visualizer(opt)
    for epoch in range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1):
        shown.reset()
        for i, batch in enumerate(dataset):
            model.set_input(batch)
            model.optimize_parameters()
            losses = model.get_current_losses()
            shown.print_current_losses(epoch, i, losses, 0.1, 0.1)
            shown.plot_current_losses(epoch, i / len(dataset), losses)
        shown.display_current_results(model.get_current_visuals(), epoch, True)
        model.save_networks("latest")
        model.update_learning_rate()
    assert (tmp_path / "old" / "web" / "index.html").exists()

    opt = test_options.TestOptions().parse([*places, "--gpu_ids", "-1", *TINY[:4]])
    opt.crop_size = opt.load_size = 64
    opt.num_threads, opt.batch_size, opt.display_id = 0, 1, -1
    opt.serial_batches = opt.no_flip = True
    model = models.create_model(opt)
    model.setup(opt)
    page = html.HTML(str(tmp_path / "page"), "title")
    for batch in data.create_dataset(opt):
        model.set_input(batch)
        model.test()
        visuals, paths = model.get_current_visuals(), model.get_image_paths()
        visualizer.save_images(page, visuals, paths, aspect_ratio=1.0, width=256, use_wandb=False)
    page.save()
    assert len(list((tmp_path / "page" / "images").iterdir())) == 9


LOOP = """
import time
from data import create_dataset
from models import create_model
from options.train_options import TrainOptions
from util.visualizer import Visualizer

opt = TrainOptions().parse()
dataset = create_dataset(opt)
model = create_model(opt)
model.setup(opt)
visualizer = Visualizer(opt)
for data in dataset:
    model.set_input(data)
    model.optimize_parameters()
    visualizer.print_current_losses(1, 1, model.get_current_losses(), 0.1, 0.2)
"""


def test_a_training_loop_of_ones_own_prints_its_losses(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)
    flags = [*map(str, TINY), "--dataroot", str(pairs), "--name", "r", "--max_dataset_size", "1"]
    done = subprocess.run(
        [sys.executable, "loop.py", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "(epoch: 1, iters: 1, time: 0.100, data: 0.200" in done.stdout
    assert "network G: " in done.stdout


OLD_STYLE = """
import numpy as np
import torch

from models import networks
from models.by_name import NamedModel


class OldModel(NamedModel):
    def __init__(self, opt):
        NamedModel.__init__(self, opt)
        self.loss_names, self.model_names = ["G", "rare", "zero"], ["G"]
        self.visual_names = ["real_A", "fake_B", "twice", "colours"]
        self.netG = networks.define_G(3, 3, 4, "unet_64", "batch")
        self.steps, self.loss_zero = 0, 0
        if self.isTrain:
            self.optimizer_G = torch.optim.Adam(self.netG.parameters())
            self.optimizers = [self.optimizer_G]

    def set_input(self, input):
        self.real_A, self.image_paths = input["A"].to(self.device), input["A_paths"]

    def forward(self, again=False):
        self.fake_B = self.netG(self.real_A)

    def compute_visuals(self):
        self.twice = self.netG(self.fake_B)
        first = self.fake_B[0].permute(1, 2, 0).cpu().numpy()
        self.colours = ((first + 1) * 127.5).astype(np.uint8)

    def update_learning_rate(self):
        NamedModel.update_learning_rate(self)

    def optimize_parameters(self, epoch=0):
        self.forward(again=True)
        self.optimizer_G.zero_grad()
        self.loss_G = self.fake_B.abs().mean()
        self.loss_G.backward()
        self.optimizer_G.step()
        self.steps += 1
        if self.steps % 3 == 0:
            self.loss_rare = self.loss_G.detach() * 2
"""


def test_habits_of_old_model_files_work(
    command: Callable[..., SimpleNamespace], drop: Callable, pairs: Path
) -> None:
    """Visuals that a network makes, or an array of the first image; losses of some steps; methods
    with other arguments.
    """
    drop("models/old_model.py", OLD_STYLE)
    flags = ["--dataroot", pairs, "--model", "old", "--name", "r", "--print_freq", "1"]
    result = command("train", *TINY, *flags, "--dataset_mode", "aligned")
    assert result.status == 0, result.err
    lines = Path("checkpoints/r/loss_log.txt").read_text().splitlines()
    assert "rare" not in lines[1] and re.search(r"G: \S+ rare: \S+ zero: 0.000$", lines[3])
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    for path in Path("results/r/test_latest/images").iterdir():
        assert Image.open(path).size == (64, 64), path
    fake, colours = (
        np.asarray(Image.open(f"results/r/test_latest/images/0_{name}.png")).astype(int)
        for name in ("fake_B", "colours")
    )
    assert np.abs(fake - colours).max() <= 1


OWN_STEP = """
    def backward_G(self):
        self.forward()
        self.update_G()
"""


def test_steps_that_nothing_would_call_are_refused(
    command: Callable[..., SimpleNamespace], drop: Callable, pairs: Path
) -> None:
    source = "from models.pix2pix_model import Pix2PixModel\n\n\nclass SubModel(Pix2PixModel):\n"
    drop("models/sub_model.py", source + "    def backward_G(self):\n        raise SystemExit\n")
    result = command("train", *TINY, "--dataroot", pairs, "--model", "sub")
    assert result.status == 2 and "--model sub: nothing calls its backward_G" in result.err
    own = "    def optimize_parameters(self):\n        self.backward_G()\n"
    drop("models/whole_model.py", source.replace("Sub", "Whole") + own + OWN_STEP)
    result = command("train", *TINY, "--dataroot", pairs, "--model", "whole")
    assert result.status == 0, result.err


def test_a_script_without_files_translates_and_goes_on(make: Callable) -> None:
    """Its batch may name no file; what `test` returns can be learned from and changed in place."""
    for options in (TrainOptions, TestOptions):
        more = [] if options is TrainOptions else ["--model", "test"]
        model = make(*more, options=options)
        if options is TrainOptions:
            model.save_networks("latest")
        for paths in (None, "", [], "a.png"):
            model.set_input(
                {"A": torch.zeros(1, 3, 64, 64), "B": torch.zeros(1, 3, 64, 64)}
                | {"A_paths": paths}
            )
            model.test()
            visuals = model.get_current_visuals()
            image = visuals.get("fake_B", visuals.get("fake"))
            image.add_(1)
            torch.nn.Conv2d(3, 1, 1)(image).sum().backward()
    assert model.netG is model.generator()
