"""The colorization model: its images, its refusals, its files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, draw, random_batch, refusal, result_images, step
from PIL import Image
from skimage.color import rgb2lab

from data import builtin_facades, create_dataset
from data.colorization_dataset import ColorizationDataset
from inference.visuals import visuals_of
from models.pix2pix_model import Pix2PixModel
from models.weights import infer_options
from options.test_options import TestOptions
from options.train_options import TrainOptions
from translator import Translator
from util.util import tensor2im

COLORIZE = ["--model", "colorization"]
TEST = ["--gpu_ids", "-1", "--num_threads", "0"]
LABELS = ["real_A", "real_B_rgb", "fake_B_rgb"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two training and two test images."""
    for n, phase in enumerate(("train", "test")):
        (tmp_path / "photos" / phase).mkdir(parents=True)
        for i in range(2):
            draw((90, 70), seed=10 * n + i).save(tmp_path / "photos" / phase / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def trained(command, photos):
    """A run `c` on the photos, for a moment."""
    result = command("train", *TINY, *COLORIZE, "--dataroot", photos, "--name", "c")
    assert result.status == 0, result.err
    return command


def lab_batch(root: Path) -> dict:
    """A batch of the two training photos, whole."""
    flags = ["--dataroot", root, *COLORIZE, "--preprocess", "none", "--no_flip"]
    (batch,) = create_dataset(TrainOptions().read([*TINY, *flags, "--batch_size", "2"]))
    return batch


def show(model: Pix2PixModel, batch: dict) -> dict[str, torch.Tensor]:
    model.set_input(batch)
    model.test()
    return model.get_current_visuals()


# The model -------------------------------------------------------------------------------


def test_it_is_pix2pix_from_one_channel_to_two(make):
    model = make(*COLORIZE)
    assert isinstance(model, Pix2PixModel)
    assert (model.opt.dataset_mode, model.opt.norm) == ("colorization", "batch")
    assert (model.opt.gan_mode, model.opt.pool_size) == ("vanilla", 0)
    losses = step(model, random_batch(channels=(1, 2))).get_current_losses()
    assert list(losses) == ["G_GAN", "G_L1", "D_real", "D_fake"]
    assert model.fake_B.shape == (1, 2, 64, 64)
    G, D = model.netG.state_dict(), model.netD.state_dict()
    assert G["model.model.0.weight"].shape[1] == 1 and D["model.0.weight"].shape[1] == 3


def test_the_image_of_the_real_lightness_and_colour_is_the_photo_again(make, photos):
    batch = lab_batch(photos)
    visuals = show(make(*COLORIZE), batch)
    assert list(visuals) == LABELS
    for i, path in enumerate(batch["A_paths"]):
        again = tensor2im(visuals["real_B_rgb"][i]).astype(int)
        assert np.abs(again - np.asarray(Image.open(path), int)).max() <= 1


def test_the_shown_lightness_is_the_input(make, photos):
    batch = lab_batch(photos)
    assert torch.equal(show(make(*COLORIZE), batch)["real_A"], batch["A"])


def test_the_fake_has_the_lightness_of_the_input_and_the_colour_of_g(make):
    model = make(*COLORIZE)
    batch = random_batch(channels=(1, 2))
    batch["A"] = torch.zeros(1, 1, 64, 64)  # L = 50: what is next to it can be shown
    visuals = show(model, batch)
    assert model.fake_B.abs().max() < 0.5
    rgb = (visuals["fake_B_rgb"][0].permute(1, 2, 0).numpy() + 1) / 2
    lab = torch.from_numpy(rgb2lab(rgb)).permute(2, 0, 1)
    inside = ((rgb > 0) & (rgb < 1)).all(-1)
    assert inside.mean() > 0.9
    assert (lab[0, inside] - 50).abs().max() < 1e-3
    colour = model.fake_B[0].double() * 110
    assert (lab[1:, inside] - colour[:, inside]).abs().max() < 1e-2


def test_a_batch_of_three_shows_what_three_batches_of_one_show(make):
    # Instance norm: each image's own statistics, so that only the showing is compared.
    model = make(*COLORIZE, "--norm", "instance", "--no_dropout")
    batch = random_batch(size=3, channels=(1, 2))
    together = show(model, batch)
    for i in range(3):
        alone = show(model, {name: value[i : i + 1] for name, value in batch.items()})
        for label in LABELS:
            torch.testing.assert_close(together[label][i : i + 1], alone[label])
    assert [v.shape for v in together.values()] == [(3, n, 64, 64) for n in (1, 3, 3)]


def test_the_shown_images_carry_no_gradient(make):
    model = step(make(*COLORIZE), random_batch(channels=(1, 2)))
    visuals = model.get_current_visuals()
    assert not any(image.requires_grad for image in visuals.values())
    assert all(image.min() >= -1 and image.max() <= 1 for image in visuals.values())


# Mistakes --------------------------------------------------------------------------------


def test_the_other_direction_is_refused(make):
    refusal(lambda: make(*COLORIZE, "--direction", "BtoA"), "--direction BtoA", "leave it out")


@pytest.mark.parametrize("flag", ["--input_nc", "--output_nc"])
def test_other_channel_counts_are_one_line(command, photos, flag):
    result = command("train", *TINY, *COLORIZE, "--dataroot", photos, flag, "3")
    assert result.status == 2 and result.err.count("\n") == 1
    assert f"{flag} 3" in result.err and "colorization" in result.err


def test_images_that_are_not_lightness_and_colour_are_one_line(command, pairs):
    flags = ["--dataroot", pairs, "--dataset_mode", "aligned"]
    result = command("train", *TINY, *COLORIZE, *flags)
    assert result.status == 2 and result.err.count("\n") == 1
    assert "--dataset_mode" in result.err or "--input_nc" in result.err, result.err


# The commands ----------------------------------------------------------------------------


def test_results_have_the_published_names_and_a_grey_input(trained):
    result = trained("test", "--name", "c", *TEST)
    assert result.status == 0, result.err
    images = result_images("c")
    assert set(images) == {f"{i}_{label}.png" for i in range(2) for label in LABELS}
    for name, image in images.items():
        assert image.shape == ((64, 64) if name.endswith("real_A.png") else (64, 64, 3))
    file = Image.open("results/c/test_latest/images/0_real_A.png")
    assert (file.format, file.mode) == ("PNG", "L")


def test_the_result_of_the_target_is_the_photo_and_of_the_input_its_lightness(trained, photos):
    trained("test", "--name", "c", *TEST, "--preprocess", "none")
    images = result_images("c")
    for i in range(2):
        photo = np.asarray(Image.open(photos / "test" / f"{i}.png"), int)
        assert np.abs(images[f"{i}_real_B_rgb.png"] - photo).max() <= 1
        item = ColorizationDataset(
            TestOptions().read(["--name", "c", *TEST, "--preprocess", "none"])
        )[i]
        assert np.array_equal(images[f"{i}_real_A.png"], tensor2im(item["A"])[..., 0])


def test_the_page_of_training_shows_the_images(trained):
    shown = {path.name for path in Path("checkpoints/c/web/images").iterdir()}
    assert {f"epoch001_{label}.png" for label in LABELS} <= shown


def test_weights_without_options_are_known_as_colorization(trained, photos):
    run = Path("checkpoints/c")
    for path in run.glob("train_opt.*"):
        path.unlink()
    found = infer_options(run)
    assert (found["model"], found["input_nc"], found["output_nc"]) == ("colorization", 1, 2)
    result = trained("test", "--name", "c", "--dataroot", photos, "--crop_size", "64", *TEST)
    assert result.status == 0, result.err
    assert "0_fake_B_rgb.png" in result_images("c")


def test_the_translator_gives_the_two_colour_channels(trained, photos):
    translator = Translator.load("checkpoints/c", *TEST)
    batch = next(iter(create_dataset(translator.opt)))
    ab = translator.translate(batch["A"], batch["A_paths"])
    assert ab.shape == (1, 2, 64, 64)
    visuals_of(translator, batch)
    assert torch.equal(translator.model.fake_B, ab)


def test_built_in_data_are_colorized_without_further_flags(command, few_builtin):
    result = command("train", *TINY, *COLORIZE, "--name", "b")
    assert result.status == 0, result.err
    result = command("test", "--name", "b", *TEST)
    assert result.status == 0, result.err
    images = result_images("b")
    assert set(images) == {f"{i:04d}_{label}.png" for i in (1, 2) for label in LABELS}
    pair = Image.open("datasets/builtin_facades/test/0001.png")
    photo = pair.crop((0, 0, builtin_facades.SIZE, builtin_facades.SIZE))
    photo = np.asarray(photo.resize((64, 64), Image.Resampling.BICUBIC), int)
    assert np.abs(images["0001_real_B_rgb.png"] - photo).max() <= 1


def test_grey_images_are_no_lightness(make):
    refusal(
        lambda: make("--model", "colorization", "--dataset_mode", "single", options=TestOptions),
        "--dataset_mode single",
        "needs L",
    )
