"""Flags that were given but do nothing beside the other flags."""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from options.parser import FlagParser

log = logging.getLogger(__name__)


class Need(NamedTuple):
    """A condition without which a flag does nothing: `text` names it, `met` tests it."""

    text: str
    met: Callable[[Any], bool]


def has_D(opt: Any) -> bool:
    """Return whether a model trains a discriminator."""
    return getattr(opt, "lambda_GAN", 1) > 0


def compares_features(opt: Any) -> bool:
    """Return whether a model has a perceptual loss."""
    return opt.lambda_vgg > 0 and not getattr(opt, "no_vgg_loss", False)


def uses_crop_size(opt: Any) -> bool:
    """Return whether images are cropped, or something else has that size."""
    windows = opt.dataset_mode == "measurements"  # of rasters
    return opt.preprocess != "none" or getattr(opt, "use_vae", False) or windows


DISCRIMINATOR = Need("--lambda_GAN above 0", has_D)
RESIZING = Need(
    "a --preprocess that resizes to it", lambda opt: opt.preprocess.startswith(("resize", "scale"))
)
OTHER_GENERATORS = ("inpaint", "spade", "global", "local")  # values of --netG
GENERATOR = Need(
    "a ResNet, a U-Net or an encoder-decoder (--netG)", lambda opt: opt.netG not in OTHER_GENERATORS
)
LOCAL = Need("--netG local", lambda opt: opt.netG == "local")
ENCODER = Need("--instance_feat", lambda opt: opt.instance_feat)
VAE = Need("--use_vae", lambda opt: opt.use_vae)
VISDOM = Need("--display_id above 0", lambda opt: opt.display_id > 0)
PAGE = Need("the page, which --no_html turns off", lambda opt: not opt.no_html)

# Flags that the published programs have too: users' scripts pass them along, so a line says that
# they do nothing.
REFERENCE_FLAGS = {
    "load_size": RESIZING,
    "crop_size": Need("a --preprocess other than none", uses_crop_size),
    "n_layers_D": Need(
        "--netD n_layers or multiscale",
        lambda opt: opt.netD in ("n_layers", "multiscale") and has_D(opt),
    ),
    "ngf": Need(
        "a --netG other than inpaint, whose width is --cnum", lambda opt: opt.netG != "inpaint"
    ),
    "norm": Need(
        "a --netG other than inpaint, which has none, and spade, which has --norm_G",
        lambda opt: opt.netG not in ("inpaint", "spade"),
    ),
    "no_dropout": GENERATOR,
    "netD": DISCRIMINATOR,
    "ndf": DISCRIMINATOR,
    "gan_mode": DISCRIMINATOR,
    "pool_size": Need(
        "--lambda_GAN above 0, and a --model other than spade and inpaint, which keep no fakes",
        lambda opt: has_D(opt) and opt.model not in ("spade", "inpaint"),
    ),
    "init_gain": Need("an --init_type other than kaiming", lambda opt: opt.init_type != "kaiming"),
    "aspect_ratio": Need(  # of test.py it also stretches the results
        "--preprocess fixed", lambda opt: not opt.isTrain or opt.preprocess == "fixed"
    ),
    "input_nc": Need(
        "a --dataset_mode other than labels (--label_nc is the number of classes)",
        lambda opt: opt.dataset_mode != "labels",
    ),
    "lambda_L1": Need(
        "a --pixel_loss other than none", lambda opt: getattr(opt, "pixel_loss", "") != "none"
    ),
    "lr_decay_iters": Need("--lr_policy step", lambda opt: opt.lr_policy == "step"),
    "display_server": VISDOM,
    "display_port": VISDOM,
    "display_env": VISDOM,
    "display_ncols": VISDOM,
    "wandb_project_name": Need("--use_wandb", lambda opt: opt.use_wandb),
    "update_html_freq": PAGE,
    "n_local_enhancers": LOCAL,
    "n_blocks_local": LOCAL,
    "feat_num": ENCODER,
    "n_downsample_E": ENCODER,
    "nef": ENCODER,
    "lambda_kld": VAE,
    "lambda_vgg": Need(
        "the perceptual loss, which --no_vgg_loss turns off",
        lambda opt: not getattr(opt, "no_vgg_loss", False),
    ),
}
# Flags that only this framework has: giving one that does nothing is a mistake, and an error.
OUR_FLAGS = {
    "num_D": Need("--netD multiscale", lambda opt: opt.netD == "multiscale" and has_D(opt)),
    "norm_D": Need(
        "--lambda_GAN above 0, and a --netD other than sn_patch",
        lambda opt: has_D(opt) and opt.netD != "sn_patch",
    ),
    "upsample": GENERATOR,
    "lr_D": DISCRIMINATOR,
    "diffaug": DISCRIMINATOR,
    "lambda_r1": DISCRIMINATOR,
    "lambda_feat": Need("--netD multiscale", lambda opt: opt.netD == "multiscale" and has_D(opt)),
    "no_conditional_D": DISCRIMINATOR,
    "vgg_weights": Need(
        "--lambda_vgg above 0, or with --no_vgg_loss, or another --perceptual",
        lambda opt: compares_features(opt) and opt.perceptual == "vgg19",
    ),
    "perceptual": Need("--lambda_vgg above 0, or with --no_vgg_loss", compares_features),
    "fcn_epochs": Need("--val_freq", lambda opt: opt.val_freq > 0 or not opt.fcn_epochs),
    "val_metrics": Need("--val_freq", lambda opt: opt.val_freq > 0),
    "use_encoded_image": ENCODER,
    "z_dim": VAE,
    "niter_fix_global": LOCAL,
    "masks": Need("drawn holes, which --mask_dir replaces", lambda opt: not opt.mask_dir),
}


def check_unused_flags(parser: FlagParser, opt: Any, given: Collection[str]) -> None:
    """Warn of flags that were given on the command line and do nothing.

    ValueError if only this framework has them.
    """
    unused = {
        name: need.text
        for name, need in {**REFERENCE_FLAGS, **OUR_FLAGS}.items()
        if name in given and hasattr(opt, name) and not need.met(opt)
    }
    for name in OUR_FLAGS.keys() & unused.keys():
        parser.error(f"--{name}: does nothing without {unused[name]}")
    by_need: dict[str, list[str]] = {}
    for name, need in unused.items():
        by_need.setdefault(need, []).append(f"--{name}")
    for need, flags in by_need.items():
        verb = "do" if flags[1:] else "does"
        log.warning("%s %s nothing without %s", ", ".join(flags), verb, need)


# Flags that choose test.py's images, and what it writes; commands that are given files have both.
OF_TEST_PY = {
    *("--num_test", "--max_dataset_size", "--num_variants", "--on_bad_image", "--results_dir"),
    *("--num_shards", "--shard_id", "--skip_finished", "--page_only"),
}


def refuse_flags_of_test(words: Sequence[str], takes: str, known: Collection[str] = ()) -> None:
    """Raise a ValueError for a flag that only test.py has, among flags that are passed to it.

    `takes` says what the command does; it has the flags in `known`.
    """
    for word in words:
        if (flag := word.partition("=")[0]) in OF_TEST_PY - {*known}:
            raise ValueError(f"{flag}: is for test.py; {takes}; leave it out")
