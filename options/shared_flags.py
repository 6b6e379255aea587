"""The flags that train.py and test.py share."""

from collections.abc import Callable
from typing import Any

from options.parser import FlagParser, gpu_list, number, pixel_range
from util.registry import known

_COUNT = number(int, at_least=1)
_NORMS_D = ("instance", "batch", "none", "spectral", "spectralinstance", "spectralbatch")


def add_shared_flags(parser: FlagParser) -> None:
    """Add the flags that train.py and test.py share."""
    for add_section in (_add_run, _add_data, _add_images, _add_networks, _add_tracking):
        add_section(parser, parser.add_argument)


def _add_run(parser: FlagParser, add: Callable[..., Any]) -> None:
    with parser.section("run", role="launch"):
        add(
            "--name",
            default="experiment_name",
            help="name of the run and of its folder in --checkpoints_dir",
        )
        add("--checkpoints_dir", default="./checkpoints", help="folder of all runs")
        add("--suffix", default="", help="text appended to --name, e.g. {model}_{netG}")
        add("--config", help="YAML file of options; the command line overrides it")
        add(
            "--seed",
            type=number(int, 0, 2**63 - 1),
            default=0,
            role="training",
            help="random seed of weights, data and noise",
        )
        add(
            "--gpu_ids",
            type=gpu_list,
            default="0",
            help="indices of the GPUs, e.g. 0 or 0,1; -1: CPU",
        )
        add(
            "--precision",
            choices=["auto", "fp32", "tf32", "bf16"],
            default="auto",
            role="network",
            carry=True,
            help="arithmetic of the networks; auto: tf32 on CUDA, else fp32",
        )
        add("--epoch", default="latest", help="checkpoint to load: latest, best or an epoch")
        add(
            "--load_iter",
            type=number(int, 0),
            default=0,
            help="if > 0, load checkpoint iter_N instead",
        )
        add("--verbose", action="store_true", help="print networks and tracebacks")


def _add_data(parser: FlagParser, add: Callable[..., Any]) -> None:
    with parser.section("data", role="data"):
        add(
            "--dataroot",
            carry="with_model",
            help="folder of the images; by default the built-in facades, with the smaller "
            "defaults of options/presets/builtin.yaml",
        )
        add(
            "--dataset_mode",
            default="unaligned",
            carry="with_model",
            help=f"dataset, the NAME in data/NAME_dataset.py: {', '.join(known('data'))}",
        )
        add(
            "--direction",
            choices=["AtoB", "BtoA"],
            default="AtoB",
            carry="with_model",
            help="translate A to B or B to A",
        )
        add("--phase", default="train", help="subfolder of --dataroot: train, val or test")
        _add_batches(add)


def _add_batches(add: Callable[..., Any]) -> None:
    add(
        "--batch_size",
        type=_COUNT,
        default=1,
        role={"train": "training", "test": "speed"},
        help="images per batch, over all GPUs",
    )
    add("--serial_batches", action="store_true", help="read images in order, without shuffling")
    add(
        "--num_threads",
        type=number(int, 0),
        default=4,
        role="speed",
        help="number of data-loading processes",
    )
    add(
        "--max_dataset_size",
        type=number(int, 1, infinite=True),
        default=float("inf"),
        help="maximum number of images; the first ones are used",
    )


def _add_images(parser: FlagParser, add: Callable[..., Any]) -> None:
    with parser.section("images", role="data"):
        add(
            "--preprocess",
            choices=[
                *("resize_and_crop", "crop", "scale_width", "scale_width_and_crop"),
                *("fixed", "none"),
            ],
            default="resize_and_crop",
            carry=True,
            help="resizing and cropping before the network; fixed: to the width --crop_size and "
            "the height by --aspect_ratio; none keeps the size",
        )
        add(
            "--aspect_ratio",
            type=number(float, 0.01, 100),
            default=1.0,
            carry=True,
            help="width by height: of all images with --preprocess fixed; given to test.py with "
            "another --preprocess, the stretch of the result images",
        )
        add("--load_size", type=_COUNT, default=286, help="side in pixels after resizing")
        add("--crop_size", type=_COUNT, default=256, carry=True, help="crop to this size in pixels")
        add("--no_flip", action="store_true", help="no random horizontal flips")
        for side in ("input", "output"):
            help_text = f"{side} channels: 3 RGB, 1 grey"
            add(f"--{side}_nc", type=_COUNT, default=3, carry=True, help=help_text)
        for side in "AB":
            add(
                f"--range_{side}",
                type=pixel_range,
                default="auto",
                carry=True,
                help=f"values of {side} that become -1 and 1: auto (range of the file's number "
                "type; 0,1 for floats; of measurements that of their values), LOW,HIGH, or "
                "percentile; others are clipped",
            )
            add(
                f"--filter_{side}",
                choices=["bicubic", "nearest"],
                default="bicubic",
                carry=True,
                help=f"filter that resizes {side}; nearest keeps hard labels",
            )
        add(
            "--alpha",
            choices=["ignore", "white", "black"],
            default="ignore",
            carry=True,
            help="what becomes of an alpha channel: ignored, or the image put on white or black",
        )
        add(
            "--no_data_check",
            action="store_true",
            role="launch",
            help="do not look for data that nothing can be learned from",
        )
        add(
            "--on_bad_image",
            choices=["error", "skip"],
            default="error",
            help="unreadable images: stop, or log and skip them",
        )
        add(
            "--max_pixels",
            type=number(int, 1),
            default=10**9,
            help="largest image that is read, in pixels (width times height)",
        )
        add(
            "--display_winsize",
            type=_COUNT,
            default=256,
            role="display",
            help="width in pixels of images on HTML pages",
        )


def _add_networks(parser: FlagParser, add: Callable[..., Any]) -> None:
    with parser.section("networks", role="network"):
        add(
            "--model",
            default="pix2pix",
            carry=True,
            help=f"model, the NAME in models/NAME_model.py: {', '.join(known('models'))}",
        )
        add(
            "--netG",
            default="resnet_9blocks",
            carry=True,
            help="generator: resnet_6blocks, resnet_9blocks; unet_64, unet_128, unet_256, "
            "unet_512, unet_1024 by the size that they halve to one pixel; encdec_64, encdec_128, "
            "encdec_256: without skips",
        )
        add(
            "--netD",
            default="basic",
            help="discriminator: basic (70×70 patches), n_layers, pixel, or multiscale: --num_D of "
            "n_layers, each on the image halved once more",
        )
        add(
            "--ngf",
            type=_COUNT,
            default=64,
            carry=True,
            help="width of G: number of channels of its first convolution",
        )
        add(
            "--ndf",
            type=_COUNT,
            default=64,
            help="width of D: number of channels of its first convolution",
        )
        add(
            "--n_layers_D",
            type=_COUNT,
            default=3,
            help="number of layers of D with --netD n_layers or multiscale",
        )
        add("--num_D", type=_COUNT, default=2, help="number of scales of --netD multiscale")
        _add_layers(add)


def _add_layers(add: Callable[..., Any]) -> None:
    add(
        "--norm",
        choices=["instance", "batch", "sync_batch", "sync_instance", "none"],
        default="instance",
        carry=True,
        help="type of the normalisation layers",
    )
    add(
        "--norm_D",
        choices=_NORMS_D,
        help="normalisation in D: that of activations (instance, batch, none), of weights "
        "(spectral), or both (spectralinstance, spectralbatch); by default --norm",
    )
    add("--no_dropout", action="store_true", carry=True, help="no dropout in G")
    add(
        "--upsample",
        choices=["transpose", "resize"],
        default="transpose",
        carry=True,
        help="upsampling layer in G",
    )
    add(
        "--init_type",
        choices=["normal", "xavier", "kaiming", "orthogonal"],
        default="normal",
        help="distribution of the initial weights",
    )
    add("--init_gain", type=number(float, 0), default=0.02, help="scale of the initial weights")


def _add_tracking(parser: FlagParser, add: Callable[..., Any]) -> None:
    with parser.section("experiment tracking", role="display"):
        add("--use_wandb", action="store_true", help="log the training to Weights & Biases")
        add("--wandb_project_name", default="CycleGAN-and-pix2pix", help="Weights & Biases project")
