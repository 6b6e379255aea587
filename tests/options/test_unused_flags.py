"""A flag that does nothing is said: in one line, or as an error if no other program has it."""

import logging

import pytest
from conftest import TINY, refusal

from options.test_options import TestOptions
from options.train_options import TrainOptions
from options.unused_flags import OUR_FLAGS, REFERENCE_FLAGS

BASE = ["--gpu_ids", "-1"]
SAID = [
    ("--n_layers_D 5", "--n_layers_D does nothing without --netD n_layers"),
    ("--preprocess none --load_size 70", "--load_size does nothing without a --preprocess that"),
    ("--preprocess crop --load_size 300", "--load_size does nothing without a --preprocess that"),
    ("--preprocess none --crop_size 64", "--crop_size does nothing without a --preprocess other"),
    ("--lr_decay_iters 10", "--lr_decay_iters does nothing without --lr_policy step"),
    ("--init_type kaiming --init_gain 1", "--init_gain does nothing without an --init_type other"),
    ("--pixel_loss none --lambda_L1 9", "--lambda_L1 does nothing without a --pixel_loss other"),
    ("--lambda_GAN 0 --ndf 8 --netD pixel", "--netD, --ndf do nothing without --lambda_GAN"),
    ("--lambda_GAN 0 --pool_size 5", "--pool_size does nothing without --lambda_GAN above 0, and"),
    ("--model spade --pool_size 5", "--pool_size does nothing without --lambda_GAN above 0, and"),
    ("--display_port 1 --display_env x", "--display_port, --display_env do nothing without --dis"),
    ("--wandb_project_name x", "--wandb_project_name does nothing without --use_wandb"),
    ("--model inpaint --ngf 32", "--ngf does nothing without a --netG other than inpaint, whose"),
    ("--model inpaint --norm batch", "--norm does nothing without a --netG other than inpaint"),
    ("--model spade --norm batch", "--norm does nothing without a --netG other than inpaint, w"),
    ("--model pix2pixHD --no_dropout", "--no_dropout does nothing without a ResNet, a U-Net or"),
    ("--model pix2pixHD --n_blocks_local 4", "--n_blocks_local does nothing without --netG local"),
    ("--model pix2pixHD --nef 8", "--nef does nothing without --instance_feat"),
    ("--model spade --lambda_kld 1", "--lambda_kld does nothing without --use_vae"),
    ("--model spade --no_vgg_loss --lambda_vgg 5", "--lambda_vgg does nothing without the perce"),
    ("--no_html --update_html_freq 9", "--update_html_freq does nothing without the page"),
]
UNSAID = [
    "--netD n_layers --n_layers_D 5",
    "--preprocess scale_width --load_size 300 --crop_size 64",
    "--preprocess crop --crop_size 64",
    "--lr_policy step --lr_decay_iters 10",
    "--display_id 1 --display_port 1",
    "--model cycle_gan --pool_size 9 --netD pixel",
    "--model pix2pixHD --ngf 32 --norm batch",
    "--model spade --ngf 32",
    "--model spade --use_vae --lambda_kld 1 --preprocess none --crop_size 64",
    "--model pix2pixHD --netG local --n_local_enhancers 1",
    "--n_epochs 7",
]


def remarks(flags: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING):
        TrainOptions().read([*BASE, *flags.split()])
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("flags", "said"), SAID)
def test_a_flag_of_old_scripts_that_does_nothing_is_said_in_one_line(flags, said, caplog):
    (line,) = remarks(flags, caplog)
    assert line.startswith(said)


@pytest.mark.parametrize("flags", UNSAID)
def test_nothing_is_said_of_flags_that_do_something(flags, caplog):
    assert remarks(flags, caplog) == []


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--lambda_GAN 0 --no_conditional_D", "--no_conditional_D: does nothing without --lambda"),
        (
            "--model inpaint --norm_D none",
            "--norm_D: does nothing without --lambda_GAN above 0, and",
        ),
        ("--model inpaint --upsample resize", "--upsample: does nothing without a ResNet, a U-Net"),
        ("--vgg_weights x.pth", "--vgg_weights: does nothing without --lambda_vgg above 0"),
    ],
)
def test_our_own_flag_that_does_nothing_is_an_error(flags: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        TrainOptions().read([*BASE, *flags.split()])


def test_flags_of_a_run_or_of_a_file_are_not_said(tmp_path, caplog) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("preprocess: none\nload_size: 70\nn_layers_D: 5\n")
    assert remarks(f"--config {path}", caplog) == []


def test_the_commands_of_a_test_take_them_too(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        TestOptions().read([*BASE, "--preprocess", "none", "--load_size", "70"])
    assert [r.getMessage()[:30] for r in caplog.records] == ["--load_size does nothing witho"]


def test_every_flag_of_the_tables_exists() -> None:
    models = [[], *(["--model", name] for name in ("spade", "pix2pixHD", "inpaint"))]
    known = {name for flags in models for name in vars(TrainOptions().read([*BASE, *flags]))}
    known |= vars(TestOptions().read([*BASE, "--model", "pix2pixHD"])).keys()
    assert {**REFERENCE_FLAGS, **OUR_FLAGS}.keys() <= known


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "--model spade --fcn_epochs 3 --val_freq 0",
            "--fcn_epochs: does nothing without --val_freq",
        ),
        ("--model spade --z_dim 8", "--z_dim: does nothing without --use_vae"),
        ("--model pix2pixHD --niter_fix_global 2", "nothing without --netG local"),
        ("--model pix2pixHD --no_vgg_loss --vgg_weights x.pth", "or with --no_vgg_loss"),
    ],
)
def test_flags_of_label_maps_that_do_nothing_are_refused(flags: str, said: str) -> None:
    base = [flag for flag in BASE if flag not in ("--netG", "unet_64")]
    refusal(lambda: TrainOptions().read([*base, *flags.split()]), said)


def test_usual_flags_of_the_tests_all_do_something(caplog) -> None:
    assert remarks(" ".join(TINY), caplog) == []
