"""options/presets: every row of the paper's tables, and the built-in runs."""

from pathlib import Path

import pytest
import torch
from conftest import TINY
from torch import nn

from options.config_files import PRESETS, read_builtin, read_run, read_yaml
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.displays.loss_log import parse_line

COND, UNCOND, NO_D = 6, 3, None  # what D sees: channels of input and output, or of output
GAN, L1, D = ["G_GAN"], ["G_L1"], ["D_real", "D_fake"]
# A row of the paper: the printed losses, what D sees, and the generator.
PAPER = {
    # Table 1: losses.
    "loss_L1": (L1, NO_D, "unet_256"),
    "loss_GAN": (GAN + D, UNCOND, "unet_256"),
    "loss_cGAN": (GAN + D, COND, "unet_256"),
    "loss_L1_GAN": (GAN + L1 + D, UNCOND, "unet_256"),
    "loss_L1_cGAN": (GAN + L1 + D, COND, "unet_256"),
    # Table 2: generators.
    "generator_encdec_L1": (L1, NO_D, "encdec_256"),
    "generator_encdec_L1_cGAN": (GAN + L1 + D, COND, "encdec_256"),
    "generator_unet_L1": (L1, NO_D, "unet_256"),
    "generator_unet_L1_cGAN": (GAN + L1 + D, COND, "unet_256"),
    # Table 3: patch sizes.
    **{f"patch_{n}": (GAN + L1 + D, COND, "unet_256") for n in (1, 16, 70, 286)},
}
BUILTIN = {"builtin"} | {
    f"builtin_{model}" for model in ("cycle_gan", "colorization", "spade", "pix2pixHD", "inpaint")
}
# SPADE and pix2pixHD as published: classes and unknown, edges or not, epochs, and what else counts.
FAMILY = {
    "spade_coco": ("spade", 183, True, 100, {"num_upsampling_layers": "normal"}),
    "spade_ade20k": ("spade", 151, False, 200, {"num_upsampling_layers": "normal"}),
    "spade_cityscapes": (
        *("spade", 35, True, 200),
        {"num_upsampling_layers": "more", "crop_size": 512, "aspect_ratio": 2.0},
    ),
    "pix2pixHD_cityscapes": ("pix2pixHD", 35, True, 200, {"netG": "global", "ngf": 64}),
    "pix2pixHD_cityscapes_2048": (
        *("pix2pixHD", 35, True, 200),
        {"netG": "local", "ngf": 32, "num_D": 3, "niter_fix_global": 20},
    ),
    "spade_facades": ("spade", None, True, 200, {"direction": "BtoA"}),
    "pix2pixHD_facades": ("pix2pixHD", None, True, 200, {"direction": "BtoA"}),
}


def config(name: str) -> list[str]:
    return ["--config", str(PRESETS / f"{name}.yaml")]


def tiny(name: str) -> list[str]:
    """Flags that make a preset's networks small; the deepest D wants 96 pixels."""
    flags = [*TINY, "--netG", PAPER[name][2].replace("256", "64"), "--batch_size", "1"]
    return [*flags, "--load_size", "96", "--crop_size", "96"] if name == "patch_286" else flags


def test_these_are_all_presets():
    assert {path.stem for path in PRESETS.glob("*.yaml")} == (
        PAPER.keys() | FAMILY.keys() | BUILTIN | {"recipe"}
    )


@pytest.mark.parametrize("name", PAPER)
def test_a_preset_gives_its_row_of_the_paper_in_training(name):
    opt = TrainOptions().read([*config(name), "--dataroot", "images"])
    losses, seen, netG = PAPER[name]
    assert (opt.model, opt.netG) == ("pix2pix", netG)
    assert bool(opt.lambda_GAN) == (seen is not NO_D)
    assert opt.no_conditional_D == (seen == UNCOND)
    assert (opt.pixel_loss, opt.lambda_L1) == ("l1" if "G_L1" in losses else "none", 100)
    assert opt.batch_size == (10 if name.startswith("generator") else 1)
    # What a row does not say is pix2pix's own default.
    plain = TrainOptions().read(["--dataroot", "images"])
    said = {*read_yaml(PRESETS / f"{name}.yaml"), "config"}
    assert {k for k in vars(opt) if getattr(opt, k) != getattr(plain, k)} <= said


@pytest.mark.parametrize("name", FAMILY)
def test_a_preset_gives_the_published_settings_of_a_family(name):
    opt = TrainOptions().read([*config(name), "--dataroot", "images"])
    model, classes, edges, epochs, more = FAMILY[name]
    assert opt.model == model and opt.n_epochs + opt.n_epochs_decay == epochs
    assert opt.no_instance != edges and {key: getattr(opt, key) for key in more} == more
    if classes:
        assert opt.label_nc + opt.contain_dontcare_label == classes


@pytest.mark.parametrize("name", PAPER)
def test_a_preset_serves_testing_too(name, tmp_path):
    no_run = ["--checkpoints_dir", str(tmp_path)]
    opt = TestOptions().read([*config(name), *no_run, "--dataroot", "images"])
    assert (opt.model, opt.netG) == ("pix2pix", PAPER[name][2])


@pytest.mark.parametrize("name", PAPER)
def test_a_preset_trains_a_step_and_tests(name, command, pairs):
    flags = [*config(name), *tiny(name), "--dataroot", pairs, "--name", "r", "--print_freq", "1"]
    result = command("train", *flags, "--max_dataset_size", "1", "--no_html")
    assert result.status == 0, result.err
    run = Path("checkpoints/r")
    (entry,) = filter(None, map(parse_line, (run / "loss_log.txt").read_text().splitlines()))
    losses, seen, netG = PAPER[name]
    assert list(entry.losses) == losses
    assert (run / "latest_net_D.pth").exists() == (seen is not NO_D)
    if seen is not NO_D:
        weights = torch.load(run / "latest_net_D.pth", weights_only=True)
        assert next(iter(weights.values())).shape[1] == seen
    args = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0", "--num_test", "1"]
    assert command("test", *args).status == 0
    args += [*config(name), "--netG", netG.replace("256", "64"), "--dataroot", pairs]
    assert command("test", *args).status == 0


def test_the_recipe_trains_a_step_and_tests(command, pairs):
    said = read_yaml(PRESETS / "recipe.yaml")
    flags = [*config("recipe"), *TINY, "--dataroot", pairs, "--name", "r", "--no_html"]
    result = command("train", *flags, "--max_dataset_size", "1")
    assert result.status == 0, result.err
    opt = read_run(Path("checkpoints/r"))
    assert {name: str(opt[name]) for name in said} == said
    args = ["--name", "r", "--gpu_ids", "-1", "--num_threads", "0", "--num_test", "1"]
    assert command("test", *args, "--use_ema").status == 0


@pytest.mark.parametrize("field", [1, 16, 70, 286])
def test_a_patch_is_as_large_as_its_preset_says(field, make):
    name = f"patch_{field}"
    netD = make(*config(name), *tiny(name), "--norm", "none", "--ndf", "1").netD.double()
    for p in netD.parameters():
        nn.init.uniform_(p, 0.1, 1)  # positive, so that no gradient cancels
    size = 2 * field + 64
    x = torch.zeros(1, 6, size, size, dtype=torch.float64, requires_grad=True)
    logits = netD(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    for axis in (0, 1):
        touched = x.grad[0].sum(0).ne(0).any(axis).nonzero().flatten()
        assert touched[-1] - touched[0] + 1 == field


def test_a_models_own_preset_goes_over_the_built_in_one():
    plain = read_yaml(PRESETS / "builtin.yaml")
    assert read_builtin("pix2pix") == read_builtin("no such model") == plain
    assert read_builtin("cycle_gan") == {**plain, "netG": "resnet_6blocks"}
    assert read_builtin("colorization") == {**plain, "direction": "AtoB"}


@pytest.mark.parametrize("options", [TrainOptions, TestOptions])
def test_every_model_has_a_run_on_the_built_in_data(options, tmp_path):
    for model, dataset, netG, direction in (
        ("pix2pix", "aligned", "unet_64", "BtoA"),
        ("cycle_gan", "unaligned", "resnet_6blocks", "BtoA"),
        ("colorization", "colorization", "unet_64", "AtoB"),
        ("spade", "labels", "spade", "BtoA"),
        ("pix2pixHD", "labels", "global", "BtoA"),
        ("inpaint", "inpaint", "inpaint", "AtoB"),
    ):
        opt = options().read(["--model", model, "--checkpoints_dir", str(tmp_path)])
        assert (opt.dataset_mode, opt.netG, opt.direction) == (dataset, netG, direction)
        assert opt.crop_size == 64 and opt.dataroot == "./datasets/builtin_facades"


def test_a_dataroot_turns_a_models_own_preset_off_too():
    opt = TrainOptions().read(["--model", "cycle_gan", "--dataroot", "images"])
    assert (opt.netG, opt.crop_size, opt.direction) == ("resnet_9blocks", 256, "AtoB")
