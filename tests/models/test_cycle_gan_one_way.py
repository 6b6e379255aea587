"""--model test on a CycleGAN run: the direction chooses the generator."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import draw_sets, near, result_images
from PIL import Image

from data.files.image_files import split_pair
from data.transforms import to_tensor
from models import networks
from options.test_options import TestOptions
from translator import Translator
from util.util import tensor2im

CYCLE = ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--lambda_identity", "0"]
ONE_WAY = ["--model", "test", "--gpu_ids", "-1", "--num_threads", "0"]
LOUD = ["--init_gain", "0.1"]  # outputs that differ visibly
WEIGHTS_ONLY = ["--crop_size", "64"]


@pytest.fixture
def run(make, tmp_path: Path):
    """Save an untrained CycleGAN run of some flags; return its folder."""

    def save(*flags: Any) -> Path:
        make(*CYCLE, *LOUD, *flags).save_networks("latest")
        return tmp_path / "run"

    return save


@pytest.fixture
def translate(command, tmp_path: Path):
    """Translate testA or testB with `test.py --model test`: the fakes by stem, in (H, W, C)."""
    sets = draw_sets(tmp_path / "sets", (2, 2))

    def test(side: str, *flags: Any) -> dict[str, np.ndarray]:
        where = ["--checkpoints_dir", tmp_path, "--name", "run"]
        result = command("test", *ONE_WAY, *where, "--dataroot", sets / f"test{side}", *flags)
        assert result.status == 0, result.err
        images = result_images("run")
        stems = [f"{side.lower()}{i}" for i in range(2)]
        assert set(images) == {
            f"{stem}_{label}.png" for stem in stems for label in ("real", "fake")
        }
        return {stem: images[f"{stem}_fake.png"] for stem in stems}

    return test


def by_hand(folder: Path, net: str, side: str, channels: tuple[int, int] = (3, 3)) -> dict:
    """What a generator of a run makes of testA or testB."""
    netG = networks.define_G(*channels, 4, "resnet_6blocks", "instance")
    netG.load_state_dict(torch.load(folder / f"latest_net_{net}.pth", weights_only=True))
    fakes = {}
    for i in range(2):
        stem = f"{side.lower()}{i}"
        image = Image.open(folder.parent / "sets" / f"test{side}" / f"{stem}.png")
        image = image.convert("L" if channels[0] == 1 else "RGB")
        real = to_tensor(image.resize((64, 64), Image.Resampling.BICUBIC))
        with torch.no_grad():
            fakes[stem] = np.squeeze(tensor2im(netG(real[None])))
    return fakes


@pytest.mark.parametrize("trained", ["AtoB", "BtoA"])
@pytest.mark.parametrize("wanted", ["AtoB", "BtoA"])
def test_the_direction_chooses_the_generator_that_goes_there(run, translate, trained, wanted):
    folder = run("--direction", trained)
    right, wrong = ("G_A", "G_B") if wanted == trained else ("G_B", "G_A")
    fakes = translate(wanted[0], "--direction", wanted)
    assert near(fakes, by_hand(folder, right, wanted[0]))
    assert not near(fakes, by_hand(folder, wrong, wanted[0]))


@pytest.mark.parametrize("trained", ["AtoB", "BtoA"])
def test_without_a_direction_it_goes_as_it_was_trained(run, translate, trained):
    folder = run("--direction", trained, "--input_nc", "1", "--output_nc", "3")
    fakes = translate(trained[0])
    assert near(fakes, by_hand(folder, "G_A", trained[0], (1, 3)))


@pytest.mark.parametrize("trained", ["AtoB", "BtoA"])
@pytest.mark.parametrize("wanted", ["AtoB", "BtoA"])
def test_the_channels_are_those_of_the_generator(run, translate, trained, wanted):
    folder = run("--direction", trained, "--input_nc", "1", "--output_nc", "3")
    net, channels = ("G_A", (1, 3)) if wanted == trained else ("G_B", (3, 1))
    fakes = translate(wanted[0], "--direction", wanted)
    assert near(fakes, by_hand(folder, net, wanted[0], channels))


@pytest.mark.parametrize("direction", [[], ["--direction", "BtoA"]])
@pytest.mark.parametrize(("suffix", "side"), [("_A", "A"), ("_B", "B")])
def test_a_suffix_by_hand_goes_before_the_direction(run, translate, suffix, side, direction):
    folder = run()
    fakes = translate(side, "--model_suffix", suffix, *direction)
    assert near(fakes, by_hand(folder, f"G{suffix}", side))


@pytest.mark.parametrize("trained", ["AtoB", "BtoA"])
@pytest.mark.parametrize(("suffix", "channels"), [("_A", (1, 3)), ("_B", (3, 1))])
def test_a_suffix_by_hand_brings_its_channels(run, translate, trained, suffix, channels):
    folder = run("--direction", trained, "--input_nc", "1", "--output_nc", "3")
    fakes = translate("A", "--model_suffix", suffix)
    assert near(fakes, by_hand(folder, f"G{suffix}", "A", channels))


@pytest.mark.parametrize(("direction", "net"), [("AtoB", "G_A"), ("BtoA", "G_B")])
@pytest.mark.parametrize("input_nc", [1, 3])
def test_weights_without_options_are_enough(run, translate, direction, net, input_nc):
    folder = run("--input_nc", input_nc)
    for path in folder.glob("train_opt.*"):
        path.unlink()
    channels = (input_nc, 3) if net == "G_A" else (3, input_nc)
    fakes = translate(direction[0], "--direction", direction, *WEIGHTS_ONLY)
    assert near(fakes, by_hand(folder, net, direction[0], channels))


@pytest.mark.parametrize(("direction", "net"), [("AtoB", "G_A"), ("BtoA", "G_B")])
@pytest.mark.parametrize("input_nc", [1, 3])
def test_the_one_generators_file_is_enough(run, translate, direction, net, input_nc):
    folder = run("--input_nc", input_nc)
    for path in folder.iterdir():
        if path.name != f"latest_net_{net}.pth":
            path.unlink()
    channels = (input_nc, 3) if net == "G_A" else (3, input_nc)
    fakes = translate(direction[0], "--direction", direction, *WEIGHTS_ONLY)
    assert near(fakes, by_hand(folder, net, direction[0], channels))


def test_weights_renamed_as_published_are_those_of_any_model(run, translate):
    folder = run()
    (folder / "latest_net_G_A.pth").rename(folder / "latest_net_G.pth")
    for path in folder.iterdir():
        if path.name != "latest_net_G.pth":
            path.unlink()
    fakes = translate("A", *WEIGHTS_ONLY)
    (folder / "latest_net_G.pth").rename(folder / "latest_net_G_A.pth")
    assert near(fakes, by_hand(folder, "G_A", "A"))


def test_a_generator_copied_to_the_name_of_the_one_comes_first(run, translate, caplog):
    folder = run()
    shutil.copy(folder / "latest_net_G_B.pth", folder / "latest_net_G.pth")
    assert near(translate("B"), by_hand(folder, "G_B", "B"))
    assert "translates with" in caplog.text and "latest_net_G.pth" in caplog.text
    assert near(translate("A", "--model_suffix", "_A"), by_hand(folder, "G_A", "A"))


def test_the_translator_takes_the_same_flags(run, translate, tmp_path):
    folder = run()
    flags = ["--direction", "BtoA", "--dataroot", tmp_path / "sets" / "testB"]
    translator = Translator.load(folder, *ONE_WAY, *flags)
    image = Image.open(tmp_path / "sets" / "testB" / "b0.png")
    real = to_tensor(image.resize((64, 64), Image.Resampling.BICUBIC))[None]
    fake = np.squeeze(tensor2im(translator.translate(real)))
    assert near({"b0": fake}, {"b0": by_hand(folder, "G_B", "B")["b0"]})


# How the run was trained and tested; the half of the pair that is to be read. The built-in preset
# goes from the labels (1, right) to the photo (0, left).
BUILT_IN = {"": {"": 1, "AtoB": 0, "BtoA": 1}, "AtoB": {"": 0, "AtoB": 0, "BtoA": 1}}


@pytest.mark.parametrize(
    ("trained", "tested", "half"),
    [(a, b, n) for a, row in BUILT_IN.items() for b, n in row.items()],
)
def test_on_the_built_in_pairs_the_half_is_that_which_the_generator_reads(
    command, few_builtin, trained, tested, half
):
    small = ["--ngf", "4", "--ndf", "4", "--n_epochs", "1", "--n_epochs_decay", "0", "--no_html"]
    small += ["--gpu_ids", "-1", "--num_threads", "0", *LOUD]
    trained, tested = (["--direction", way] if way else [] for way in (trained, tested))
    result = command("train", "--model", "cycle_gan", "--name", "b", *small, *trained)
    assert result.status == 0, result.err
    result = command("test", "--name", "b", *ONE_WAY, *tested)
    assert result.status == 0, result.err
    images = result_images("b")
    image = split_pair("datasets/builtin_facades/test/0001.png")[half]
    real = to_tensor(image.resize((64, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(images["0001_real.png"], tensor2im(real))
    netG = networks.define_G(3, 3, 4, "resnet_6blocks", "instance")
    net = "G_A" if half == (0 if trained else 1) else "G_B"
    netG.load_state_dict(torch.load(f"checkpoints/b/latest_net_{net}.pth", weights_only=True))
    with torch.no_grad():
        assert near({"": images["0001_fake.png"]}, {"": tensor2im(netG(real[None]))})


@pytest.mark.parametrize("trained", ["AtoB", "BtoA"])
@pytest.mark.parametrize("wanted", ["AtoB", "BtoA"])
def test_the_full_test_too_gives_each_side_to_the_generator_that_reads_it(
    run, command, tmp_path, trained, wanted
):
    folder = run("--direction", trained, "--input_nc", "1", "--output_nc", "3")
    sets = draw_sets(tmp_path / "sets", (2, 2))
    flags = ["--checkpoints_dir", tmp_path, "--name", "run", "--dataroot", sets]
    result = command("test", *ONE_WAY[2:], *flags, "--direction", wanted)
    assert result.status == 0, result.err
    images = result_images("run")
    net, channels = ("G_A", (1, 3)) if wanted == trained else ("G_B", (3, 1))
    stems = [f"{wanted[0].lower()}{i}" for i in range(2)]
    fakes = {stem: images[f"{stem}_fake_B.png"] for stem in stems}
    assert near(fakes, by_hand(folder, net, wanted[0], channels))


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_images_alone_go_through_the_generator_of_the_direction(make, direction):
    """--dataset_mode single calls them A, whatever they are."""
    flags = ["--model", "cycle_gan", "--netG", "unet_64", "--direction", direction]
    trained = make(*flags)
    trained.save_networks("latest")
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    outputs = []
    for more in (["--model", "cycle_gan"], ["--model", "test"]):
        model = make(*more, "--dataset_mode", "single", "--eval", options=TestOptions)
        model.set_input({"A": image, "A_paths": ["a.png"]})
        model.test()
        visuals = model.get_current_visuals()
        outputs.append(visuals.get("fake_B", visuals.get("fake")))
    assert torch.equal(*outputs)
