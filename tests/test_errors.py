"""A user's mistakes: one line that names the flag or the file, status 2, never a traceback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY, draw, draw_pairs
from PIL import Image

from models import networks

ROOT = Path(__file__).resolve().parent.parent


class Evil:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("it_ran"),))


def weights(*, netG: str = "unet_64", ngf: int = 4, norm: str = "batch") -> dict[str, Any]:
    return networks.define_G(3, 3, ngf, netG, norm).state_dict()


@pytest.fixture(scope="module")
def obstacles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the table below stumbles over."""
    root = tmp_path_factory.mktemp("obstacles")
    draw_pairs(root / "good")
    for name, width in (("odd", 131), ("small", 60)):
        (root / name / "train").mkdir(parents=True)
        draw((width, 40)).save(root / name / "train" / "1.png")
    (root / "empty" / "train").mkdir(parents=True)
    draw((64, 64)).save(root / "empty" / "loose.png")
    for side, stem in (("A", "1"), ("B", "2")):
        (root / "unmatched" / f"train{side}").mkdir(parents=True)
        draw((64, 64)).save(root / "unmatched" / f"train{side}" / f"{stem}.png")
    for name in ("unreadable", "truncated", "deep"):
        (root / name / "train").mkdir(parents=True)
    (root / "unreadable" / "train" / "1.png").write_text("no image")
    whole = (root / "good" / "train" / "0.png").read_bytes()
    (root / "truncated" / "train" / "1.png").write_bytes(whole[: len(whole) // 2])
    Image.new("I", (128, 64)).save(root / "deep" / "train" / "1.ppm")
    (root / "file").write_text("")
    (root / "typo.yaml").write_text("lamda_L1: 3\n")
    (root / "value.yaml").write_text("lr: fast\n")
    (root / "choice.yaml").write_text("norm: layer\n")
    (root / "switch.yaml").write_text("no_flip: perhaps\n")
    (root / "nested.yaml").write_text("train:\n  lr: 1\n")
    (root / "list.yaml").write_text("- lr\n")
    for side in "AB":
        (root / "sides" / side).mkdir(parents=True)
        draw((64, 64)).save(root / "sides" / side / "1.png")
    (root / "broken.yaml").write_text("lr: [\n")
    (root / "twice.yaml").write_text("ngf: 8\nlr: 0.1\nngf: 16\n")
    (root / "code.yaml").write_text("name: !!python/object/apply:os.system ['touch it_ran']\n")
    for name in ("fits", "other", "junk", "evil", "list", "damaged"):
        (root / "checkpoints" / name).mkdir(parents=True)
    file = "latest_net_G.pth"
    torch.save(weights(), root / "checkpoints" / "fits" / file)
    torch.save(weights(netG="unet_128", ngf=8, norm="instance"), root / "checkpoints/other" / file)
    (root / "checkpoints" / "other" / "train_opt.json").write_text(json.dumps({"ngf": 4}))
    (root / "checkpoints" / "junk" / file).write_bytes(b"junk" * 100)
    torch.save({"model.weight": Evil()}, root / "checkpoints" / "evil" / file)
    torch.save([1, 2], root / "checkpoints" / "list" / file)
    torch.save(weights(), root / "checkpoints" / "damaged" / file)
    (root / "checkpoints" / "damaged" / "train_opt.json").write_text("{")
    return root


@pytest.fixture
def command(
    command: Callable[..., SimpleNamespace], obstacles: Path
) -> Callable[..., SimpleNamespace]:
    """Run commands in a folder with a copy of the obstacles."""
    shutil.copytree(obstacles, Path.cwd(), dirs_exist_ok=True)
    return command


# command, flags, what the line must say
TRAIN = [
    ("--dataroot nowhere", ["--dataroot nowhere", "no such folder", "train/", "trainA/"]),
    ("--niter 100", ["--niter: unknown flag", "did you mean --n_epochs?"]),
    ("--dataroot goood", ["--dataroot goood", "did you mean good?"]),
    ("--dataroot good/train", ["expected train/", "3 images", "--dataroot good"]),
    ("--dataroot sides", ["found A/, B/", "scripts.make_pairs --task combine", "/sides_pairs"]),
    ("--dataroot good --phase tran", ["tran/", "found test/, train/, val/", "--phase train"]),
    ("--dataroot empty", ["empty/train", "holds no images", "found nothing"]),
    ("--dataroot empty --phase x", ["found train/, 1 images", "move the images A into empty/xA"]),
    ("--dataroot unreadable", ["unreadable/train/1.png", "unknown format"]),
    (
        "--dataroot truncated",
        ["truncated/train/1.png", "truncated", "scripts.doctor", "--on_bad_image skip"],
    ),
    ("--dataroot deep", ["--dataroot deep", "one colour"]),
    ("--dataroot odd", ["odd/train/1.png", "131 pixels wide", "trainA/"]),
    ("--dataroot unmatched", ["unmatched/trainA/1.png", "no partner", "unmatched/trainB"]),
    ("--dataroot small --preprocess crop", ["small/train/1.png", "30x40", "--crop_size 64"]),
    ("--dataroot good --model foo", ["--model foo", "pix2pix", "template"]),
    ("--dataroot good --model ../x", ["--model ../x", "pix2pix"]),
    ("--dataroot good --dataset_mode foo", ["--dataset_mode foo", "aligned", "single"]),
    ("--dataroot good --netG foo", ["--netG foo", "unet_256", "resnet_9blocks"]),
    ("--dataroot good --netD foo", ["--netD foo", "basic", "n_layers", "pixel"]),
    ("--dataroot good --norm foo", ["--norm", "'foo'", "instance", "batch"]),
    ("--dataroot good --load_size 32", ["--load_size 32", "--crop_size 64"]),
    ("--dataroot good --netD n_layers --n_layers_D 6", ["--n_layers_D", "192"]),
    ("--dataroot good --preprocess none --netD n_layers --n_layers_D 5", ["--n_layers_D", "96"]),
    ("--dataroot good --input_nc 7", ["--input_nc 7", "1 (grey)", "3 (RGB)"]),
    ("--dataroot good --model test", ["--model test", "translates only"]),
    ("--dataroot good --dataset_mode single", ["--dataset_mode single", "no images B"]),
    ("--dataroot good --lambda_L2 3", ["--lambda_L2", "unknown flag", "--lambda_L1"]),
    ("--dataroot good --lambda_L1 inf", ["--lambda_L1 inf", "from 0"]),
    ("--dataroot good --lambda_L1 -5", ["--lambda_L1 -5", "from 0"]),
    ("--dataroot good --n_epoch 3", ["--n_epoch", "unknown flag", "--n_epochs"]),
    ("--dataroot=good stray", ["stray", "not a flag"]),
    ("--dataroot good stray", ["--dataroot good stray", "takes one value", "'good stray'"]),
    ("--dataroot good --gpu_ids 0 1", ["--gpu_ids 0 1", "takes one value", "a list is 0,1"]),
    ("--dataroot good --lr", ["--lr", "expected one argument"]),
    ("--dataroot good --lr fast", ["--lr", "'fast'", "not a number"]),
    ("--dataroot good --lr nan", ["--lr", "nan", "finite"]),
    ("--dataroot good --lr -1", ["--lr", "-1", "at least 0"]),
    ("--dataroot good --beta1 1", ["--beta1", "out of range"]),
    ("--dataroot good --batch_size 0", ["--batch_size", "at least 1"]),
    ("--dataroot good --num_threads -1", ["--num_threads", "at least 0"]),
    ("--dataroot good --gpu_ids x", ["--gpu_ids", "'x'", "0,1"]),
    ("--dataroot good --n_epochs 0", ["--epoch_count 1", "nothing to train"]),
    ("--dataroot good --name ../x", ["--name ../x", "--checkpoints_dir"]),
    ("--dataroot good --name /x", ["--name /x", "--checkpoints_dir"]),
    ("--dataroot good --suffix {nose}", ["--suffix {nose}", "nose"]),
    ("--dataroot good --epoch a/b", ["--epoch a/b", "plain name"]),
    ("--dataroot good --checkpoints_dir file", ["--checkpoints_dir", "cannot be written"]),
    ("--dataroot good --continue_train", ["latest_net_G.pth", "no such checkpoint"]),
    ("--dataroot good --lr_policy plateau --phase val --dataroot odd", ["odd", "val"]),
    ("--config nowhere.yaml", ["--config nowhere.yaml", "No such file"]),
    ("--config typo.yaml", ["typo.yaml", "lamda_L1", "did you mean lambda_L1?"]),
    ("--config value.yaml", ["value.yaml", "--lr", "'fast'"]),
    ("--config choice.yaml", ["choice.yaml", "--norm", "'layer'"]),
    ("--config switch.yaml", ["switch.yaml", "no_flip", "must be true or false"]),
    ("--config nested.yaml", ["nested.yaml", "train", "single value"]),
    ("--config list.yaml", ["list.yaml", "must contain lines"]),
    ("--config twice.yaml", ["twice.yaml", "ngf is given 2 times"]),
    ("--config broken.yaml", ["broken.yaml", "not valid YAML"]),
    ("--config code.yaml", ["code.yaml", "not valid YAML"]),
]
TEST = [
    ("--name nothing", ["checkpoints/nothing/latest_net_G.pth", "no such checkpoint", "--name"]),
    ("--name checkpoints/fits", ["checkpoints/fits is no run", "did you mean --name fits?"]),
    ("--name fits --epoch latst", ["latst_net_G.pth: no such", "there are latest ("]),
    ("--name fit", ["checkpoints/fit/latest_net_G.pth", "did you mean --name fits?"]),
    ("--name fits --epoch 7", ["7_net_G.pth", "of this network there are latest (", "--epoch"]),
    ("--name other", ["other/latest_net_G.pth", "--netG unet_128", "--ngf 8", "--norm instance"]),
    ("--name junk", ["junk/latest_net_G.pth", "not a checkpoint"]),
    ("--name evil", ["evil/latest_net_G.pth", "could run code"]),
    ("--name list", ["list/latest_net_G.pth", "not a state dict"]),
    ("--name damaged", ["damaged/train_opt.json", "damaged", "on the command line"]),
    ("--name fits --model test --dataroot none", ["--dataroot none", "no such folder"]),
    ("--name fits --results_dir file", ["--results_dir", "cannot be written"]),
    ("--name fits --num_test 0", ["--num_test", "at least 1"]),
    ("--name fits --dataroot good --phase extra", ["extra/", "found test/"]),
]
SMALL_TEST = ["--gpu_ids", "-1", "--crop_size", "64", "--num_threads", "0"]


def one_line(result: SimpleNamespace, needles: list[str]) -> None:
    assert result.status == 2, result.out + result.err
    assert result.err.count("\n") == 1, result.err
    assert "error: " in result.err
    assert "Traceback" not in result.out + result.err
    for needle in needles:
        assert needle in result.err, result.err


@pytest.mark.parametrize(("flags", "needles"), TRAIN, ids=[flags for flags, _ in TRAIN])
def test_train(command: Callable[..., SimpleNamespace], flags: str, needles: list[str]) -> None:
    one_line(command("train", *TINY, *flags.split()), needles)
    assert not list(Path.cwd().rglob("experiment_name/*.pth"))
    assert not Path("it_ran").exists()


@pytest.mark.usefixtures("few_builtin")
@pytest.mark.parametrize(("flags", "needles"), TEST, ids=[flags for flags, _ in TEST])
def test_test(command: Callable[..., SimpleNamespace], flags: str, needles: list[str]) -> None:
    tiny = ["--netG", "unet_64"] if "other" in flags else []
    one_line(command("test", *SMALL_TEST, *tiny, *flags.split()), needles)
    assert not Path("it_ran").exists()


def test_worker_processes_report_on_one_line_too(command: Callable[..., SimpleNamespace]) -> None:
    flags = ["--dataroot", "unreadable", "--num_threads", "2"]
    one_line(command("train", *TINY, *flags), ["unreadable/train/1.png", "unknown format"])


def test_a_mistake_leaves_an_earlier_run_of_that_name_alone(
    command: Callable[..., SimpleNamespace],
) -> None:
    assert command("train", *TINY, "--dataroot", "good", "--name", "r").status == 0
    run = Path("checkpoints/r")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.suffix in (".pth", ".json")}
    assert len(before) == 5  # the weights, the state, the options, the names of the samples
    for flags in ("--dataroot unreadable --ngf 8", "--dataroot good --netG foo"):
        assert command("train", *TINY, "--name", "r", *flags.split()).status == 2
    assert {p: p.read_bytes() for p in before} == before


def test_verbose_adds_where_it_happened(
    command: Callable[..., SimpleNamespace], caplog: pytest.LogCaptureFixture
) -> None:
    command("train", *TINY, "--dataroot", "odd")
    assert "Traceback" not in caplog.text
    command("train", *TINY, "--dataroot", "odd", "--verbose")
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("script", ["train.py", pytest.param("test.py", marks=pytest.mark.slow)])
def test_the_real_command_exits_with_2(script: str, tmp_path: Path) -> None:
    flags = ["--gpu_ids", "-1", "--name", "nothing", "--dataroot", "nowhere"]
    done = subprocess.run(
        [sys.executable, ROOT / script, *flags], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"{script}: error: ")
