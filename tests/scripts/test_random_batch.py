"""scripts/dev/random_batch.py: every model trains on its random batch."""

import math

import pytest
from conftest import TINY, refusal
from support.holes import INPAINT
from support.label_maps import HD, SPADE

from models import create_model
from scripts.dev.random_batch import options_of, random_batch

LABELS = ("--load_size", "64", "--crop_size", "64", "--label_nc", "3")


@pytest.mark.parametrize(
    "flags",
    [
        ["--input_nc", "1", "--direction", "BtoA", "--batch_size", "2"],
        ["--model", "cycle_gan", "--netG", "resnet_6blocks"],
        [*SPADE, *LABELS],
        [*HD, *LABELS, "--n_downsample_global", "2"],
        [*INPAINT, "--crop_size", "32"],
    ],
    ids=["pix2pix", "cycle_gan", "spade", "pix2pixHD", "inpaint"],
)
def test_a_random_batch_is_one_that_a_model_trains_on(flags, tmp_path):
    opt = options_of([*TINY, *flags], str(tmp_path))
    model = create_model(opt)
    model.setup(opt)
    model.train_on([random_batch(opt)])
    assert all(math.isfinite(value) for value in model.get_current_losses().values())


def test_what_has_no_random_batch_is_refused(tmp_path):
    opt = options_of(["--model", "colorization"], str(tmp_path))
    refusal(lambda: random_batch(opt), "--dataset_mode colorization")
