"""What weights tell of the networks of SPADE and pix2pixHD, and which flags build those."""

import logging
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from models.spade_networks import HALVINGS
from util.checkpoint import load_weights
from util.label_maps import KNOWN_CHANNELS, split_channels

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]
FEATURES = 3  # the default of --feat_num

# How the published weights were trained, where their shapes do not tell: by model and channels.
PUBLISHED: dict[tuple[str, int], dict[str, Any]] = {
    ("spade", 36): {  # Cityscapes
        "num_upsampling_layers": "more",
        "preprocess": "fixed",
        "crop_size": 512,
        "aspect_ratio": 2.0,
    },
    ("pix2pixHD", 36): {"preprocess": "none"},  # Cityscapes
}
ASPECTS = (1.0, 2.0, 0.5, 4 / 3, 0.75, 1.5)  # width by height, in the order in which they are tried


def describe_label_generator(weights: Weights) -> dict[str, Any]:
    """Return model, semantic_nc (the channels of its label maps, see `split_channels`) and the
    network's options of a generator of SPADE or pix2pixHD; empty for any other network.

    SPADE's normal and more have the same shapes; they are called normal.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    try:
        return _describe_spade(shapes) or _describe_pix2pixHD(shapes)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # keys around other shapes
        return {}


def _describe_spade(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    if not {"fc.weight", "conv_img.weight", "head_0.norm_0.mlp_shared.0.weight"} <= shapes.keys():
        return {}
    _, semantic_nc, kernel, _ = shapes["head_0.norm_0.mlp_shared.0.weight"]
    ngf = shapes["head_0.conv_0.bias"][0] // 16
    most = "up_4.conv_0.bias" in shapes
    spectral = "spectral" * ("head_0.conv_0.weight_orig" in shapes)
    statistics = "head_0.norm_0.param_free_norm.running_mean" in shapes
    norm = "syncbatch" if statistics else "instance"
    options = {
        "model": "spade",
        "netG": "spade",
        "ngf": ngf,
        "semantic_nc": semantic_nc,
        "output_nc": shapes["conv_img.bias"][0],
        "num_upsampling_layers": "most" if most else "normal",
        "norm_G": f"{spectral}spade{norm}{kernel}x{kernel}",
        "use_vae": len(shapes["fc.weight"]) == 2,
    }
    if options["use_vae"]:
        features, z_dim = shapes["fc.weight"]
        halvings = HALVINGS[options["num_upsampling_layers"]]
        options |= {"z_dim": z_dim, **_first_map(features // (16 * ngf), halvings)}
    return options


def _first_map(area: int, halvings: int) -> dict[str, Any]:
    """Return the crop_size and aspect_ratio whose first feature map has so many pixels."""
    for aspect in ASPECTS:
        width = round((area * aspect) ** 0.5)
        if width and width * round(width / aspect) == area:
            return {"crop_size": width << halvings, "aspect_ratio": aspect}
    return {"crop_size": area << halvings, "aspect_ratio": float(area)}


def _describe_pix2pixHD(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    blocks = _numbers(r"model\.(\d+)\.conv_block\.1\.weight", shapes)
    if not blocks or (first := shapes.get("model.1.weight", ()))[2:] != (7, 7):
        return {}
    downs, rest = divmod(blocks[0] - 4, 3)
    enhancers = _numbers(r"model(\d+)_1\.1\.weight", shapes)
    options = {"model": "pix2pixHD", "netG": "global", "ngf": first[0], "semantic_nc": first[1]}
    last = f"model.{blocks[-1] + 3 * downs + 2}.weight"
    if enhancers:
        outer = f"model{enhancers[-1]}"
        local = _numbers(rf"{outer}_2\.(\d+)\.conv_block\.1\.weight", shapes)
        last = f"{outer}_2.{len(local) + 4}.weight"
        options |= {"netG": "local", "ngf": shapes[f"{outer}_1.1.weight"][0]}
        options |= {"n_local_enhancers": enhancers[-1], "n_blocks_local": len(local)}
    if rest or len(blocks) != blocks[-1] - blocks[0] + 1 or last not in shapes:
        return {}
    return {
        **options,
        "output_nc": shapes[last][0],
        "norm": "batch" if "model.2.weight" in shapes else "instance",
        "n_downsample_global": downs,
        "n_blocks_global": len(blocks),
    }


def describe_label_discriminator(weights: Weights) -> dict[str, Any]:
    """Return netD, ndf, n_layers_D, num_D, norm_D of SPADE's or pix2pixHD's D; else empty.

    pix2pixHD's instance and none have the same shapes; they are called instance.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    if scales := _numbers(r"discriminator_(\d+)\.model0\.0\.weight", shapes):
        first, second = "discriminator_0.model0.0", "discriminator_0.model1.0"
        layers = _numbers(r"discriminator_0\.model(\d+)\.", shapes)[-1]
        conv = f"{second}.0" if any(key.startswith(f"{second}.0.") for key in shapes) else second
        norm = "instance" if f"{conv}.bias" not in shapes else ""
    elif scales := _numbers(r"scale(\d+)_layer0\.0\.weight", shapes):
        first, second = "scale0_layer0.0", "scale0_layer1"
        layers = _numbers(r"scale0_layer(\d+)\.", shapes)[-1] - 1
        conv, norm = f"{second}.0", "instance"
    else:
        return {}
    norm = "batch" if f"{second}.1.weight" in shapes else norm
    spectral = "spectral" * (f"{conv}.weight_orig" in shapes)
    options = {"netD": "multiscale", "ndf": (shapes.get(f"{first}.weight") or (0,))[0]}
    options |= {"n_layers_D": layers, "num_D": len(scales)}
    return {**options, "norm_D": spectral + norm or "none"}


def describe_encoder(weights: Weights) -> dict[str, Any]:
    """Return the options of an encoder: SPADE's z_dim, or pix2pixHD's feat_num, nef,
    n_downsample_E; empty for any other network.
    """
    shapes = {key: tuple(value.shape) for key, value in weights.items()}
    if len(shapes.get("fc_mu.weight", ())) == 2 and "layer1.0.weight_orig" in shapes:
        return {"ngf": shapes["layer1.0.weight_orig"][0], "z_dim": shapes["fc_mu.weight"][0]}
    convs = [shapes[f"model.{n}.weight"] for n in _numbers(r"model\.(\d+)\.weight", shapes)]
    convs = [shape for shape in convs if len(shape) == 4]
    if len(convs) < 4 or len(convs) % 2 or any("conv_block" in key for key in shapes):
        return {}
    if convs[0][2:] != (7, 7) or convs[-1][2:] != (7, 7):
        return {}
    downs = (len(convs) - 2) // 2
    return {"feat_num": convs[-1][0], "nef": convs[0][0], "n_downsample_E": downs}


def is_within_local(described: dict[str, Any], opt: Any) -> bool:
    """Return whether the weights are of a global generator, around which a training adds local
    enhancers.
    """
    grows = getattr(opt, "isTrain", False) and getattr(opt, "netG", "") == "local"
    return grows and described.get("netG") == "global"


def within_local(described: dict[str, Any], opt: Any) -> dict[str, Any]:
    """Return the options of a local enhancer around a global generator of this description: each
    enhancer halves the width (pix2pixHD §3.2).
    """
    return described | {"netG": "local", "ngf": described["ngf"] >> opt.n_local_enhancers}


def is_the_same(name: str, described: dict[str, Any], opt: Any) -> bool:
    """Return whether an option fits weights that are described otherwise, since their shapes do
    not tell.
    """
    value = described[name]
    if name in ("crop_size", "aspect_ratio"):
        return first_area(**vars(opt)) == first_area(**described)
    if name == "num_upsampling_layers":
        return (value, opt.num_upsampling_layers) == ("normal", "more")
    if name == "norm_G":
        return opt.norm_G.replace("spadebatch", "spadesyncbatch") == value
    if name == "norm_D":
        own = (opt.norm_D or opt.norm).removeprefix("sync_")
        if opt.model != "spade":  # whose convolutions keep no bias before a norm
            own, value = (re.sub("instance|none", "", norm) for norm in (own, value))
        return own == value
    if name == "semantic_nc" and getattr(opt, "label_nc", None):
        return value == opt.label_nc + opt.contain_dontcare_label + (not opt.no_instance)
    return name == "semantic_nc" and value == getattr(opt, "input_nc", None)


def first_area(*, crop_size: int, aspect_ratio: float, num_upsampling_layers: str, **_: Any) -> int:
    """Return the number of pixels of the first feature map that SPADE makes of a z."""
    width = crop_size >> HALVINGS[num_upsampling_layers]
    return width * round(width / aspect_ratio)


def channel_flags(count: int, opt: Any) -> str:
    """Return the flags of label maps, or images, of `count` channels that differ from the
    options; " or " stands between flags of which the channels do not tell.
    """
    if getattr(opt, "dataset_mode", "labels") != "labels" and opt.model == "pix2pixHD":
        return f"--input_nc {count}"
    label_nc = getattr(opt, "label_nc", None)
    switches = {n: bool(getattr(opt, n, False)) for n in ("contain_dontcare_label", "no_instance")}
    splits = [split_channels(count, label_nc), split_channels(count, None, *switches.values())]
    splits = [split for split in splits if split] or [split_channels(count)]
    known_split = KNOWN_CHANNELS.get(count, ("", None))[1]
    texts = []
    for split in [known_split] if known_split in splits else splits:
        flags = [] if label_nc == split.label_nc else [f"--label_nc {split.label_nc}"]
        for name, is_set in switches.items():
            if is_set != getattr(split, name):
                flags.append(f"without --{name}" if is_set else f"--{name}")
        texts.append(" ".join(flags))
    return " or ".join(dict.fromkeys(texts))


def of_published(run: Path, generator: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Add to a description what the run's other files, and the known published ones, tell."""
    encoder, features = (
        run / generator.name.replace("_net_G", f"_net_{name}") for name in ("E", "features")
    )
    count = found["semantic_nc"]
    if found["model"] == "pix2pixHD" and encoder.is_file():
        found |= {"instance_feat": True, **describe_encoder(load_weights(encoder))}
        found["semantic_nc"] -= found.get("feat_num", 0)
        if not features.is_file():
            log.warning(
                "%s is not there: --use_encoded_image takes the look of instances from images",
                features,
            )
    elif found["model"] == "pix2pixHD" and count - FEATURES in KNOWN_CHANNELS:
        log.warning(
            "%s takes %d channels, %d of %s and %d of features if it was trained with "
            "--instance_feat; then it needs %s and %s",
            *(generator, count, count - FEATURES, KNOWN_CHANNELS[count - FEATURES][0], FEATURES),
            *(encoder, features),
        )
    if (found["model"], found["semantic_nc"]) == ("pix2pixHD", 3):
        found |= {"dataset_mode": "aligned", "input_nc": 3, "label_nc": 0}  # of RGB images
    return found | PUBLISHED.get((found["model"], found["semantic_nc"]), {})


def _numbers(pattern: str, keys: Any) -> list[int]:
    """Return the numbers, in order, that a pattern's group has at the start of keys."""
    return sorted({int(match[1]) for key in keys if (match := re.match(pattern, key))})
