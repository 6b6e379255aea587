"""Files of weights: written, read, and what they tell of the network that they are of."""

import logging
import re
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.inpaint_weights import describe_inpaint_discriminator, describe_inpaint_generator
from models.label_weights import (
    channel_flags,
    describe_encoder,
    describe_label_discriminator,
    describe_label_generator,
    is_the_same,
    is_within_local,
    of_published,
    within_local,
)
from util.checkpoint import (
    load_weights,
    mismatches,
    part_that_fits,
    save_weights,
    without_stale_statistics,
)

log = logging.getLogger(__name__)

UNETS = {6: "unet_64", 7: "unet_128", 8: "unet_256", 9: "unet_512", 10: "unet_1024"}
# Keys by which a generator is known; what comes before them is a prefix of all its keys.
FIRST = re.compile(
    r"(?:^|\.)((?:model\.(?:model\.0|\d+\.conv_block\.1)|conv_img|allconv17\.conv)\.weight)$"
)
RESNETS = ("resnet_6blocks", "resnet_9blocks")
ENCDECS = {6: "encdec_64", 7: "encdec_128", 8: "encdec_256"}


def describe_generator(weights: dict[str, Tensor], model: str = "") -> dict[str, Any]:
    """Return netG, ngf, norm, upsample, input_nc, output_nc, no_dropout of a generator's weights,
    or what the functions for other models find; empty for any other network.

    Dropout shows in a ResNet only, where it shifts the keys. A ResNet is also pix2pixHD's global
    generator with two halvings; `model` tells which.
    """
    weights = _below_prefix(weights)
    of_model = describe_inpaint_generator(weights) or describe_label_generator(weights)
    plain = _describe_plain(weights)
    if of_model and (model == of_model["model"] or plain.get("netG") not in RESNETS):
        return of_model
    return plain


def _describe_plain(weights: dict[str, Tensor]) -> dict[str, Any]:
    if any(key.endswith("1.weight") and w.dim() not in (1, 4) for key, w in weights.items()):
        return {}
    if "model.model.0.weight" in weights:
        return _describe_unet(weights)
    if any(key.startswith("model.10.conv_block.") for key in weights):
        return _describe_resnet(weights)
    return {}


def _below_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights below the one prefix, such as `generator.`, that a generator has."""
    prefixes = {key[: match.start(1)] for key in weights if (match := FIRST.search(key))}
    if len(prefixes) != 1:
        return weights
    (prefix,) = prefixes
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _describe_unet(weights: dict[str, Tensor]) -> dict[str, Any]:
    first, last = weights["model.model.0.weight"], weights.get("model.model.3.weight")
    # Level n's down-convolution lies n modules deep.
    depths = [key.count(".model.") for key in weights if key.endswith(".model.1.weight")]
    if last is None or not depths:
        return {}
    upsample = "resize" if last.shape[-1] == 3 else "transpose"
    # A skip doubles what the last up-convolution is given.
    skips = last.shape[1 if upsample == "resize" else 0] > first.shape[0]
    names = UNETS if skips else ENCDECS
    return {
        "netG": names.get(max(depths), f"{names[6][:-3]} of {max(depths)} levels"),
        "ngf": first.shape[0],
        "input_nc": first.shape[1],
        "output_nc": last.shape[0 if upsample == "resize" else 1],
        "norm": _norm(weights, "model.model.1.model.1.bias", "model.model.1.model.2.weight"),
        "upsample": upsample,
    }


def _describe_resnet(weights: dict[str, Tensor]) -> dict[str, Any]:
    blocks = {m[1] for key in weights if (m := re.match(r"model\.(\d+)\.conv_block\.", key))}
    after = 10 + len(blocks)
    up = weights.get(f"model.{after}.weight")
    last = weights.get(f"model.{after + 7}.weight")
    if up is None or last is None or "model.1.weight" not in weights:
        return {}
    second = weights.get("model.10.conv_block.6.weight")
    return {
        "netG": f"resnet_{len(blocks)}blocks",
        "ngf": weights["model.1.weight"].shape[0],
        "input_nc": weights["model.1.weight"].shape[1],
        "output_nc": last.shape[0],
        "norm": _norm(weights, "model.1.bias", "model.2.weight"),
        "upsample": "resize" if up.shape[0] < up.shape[1] else "transpose",
        "no_dropout": second is None or second.dim() != 4,
    }


def _norm(weights: dict[str, Tensor], conv_bias: str, norm_weight: str) -> str:
    if norm_weight in weights:
        return "batch"
    return "instance" if conv_bias in weights else "none"


def describe_discriminator(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Return netD, ndf, norm, n_layers_D of a discriminator's weights, or what
    the functions for other models find; empty for other networks.
    """
    if of_model := describe_label_discriminator(weights) or describe_inpaint_discriminator(weights):
        return of_model
    # The first and the last module are convolutions.
    net, places = ("net", (0, 5)) if "net.5.weight" in weights else ("model", _modules(weights))
    first, last = (weights.get(f"{net}.{place}.weight") for place in (places[0], places[-1]))
    if first is None or last is None or first.dim() != 4 or last.shape[:1] != (1,):
        return {}
    options = {"ndf": first.shape[0], "norm": _norm(weights, f"{net}.2.bias", f"{net}.3.weight")}
    if net == "net":
        return {"netD": "pixel", **options}
    layers = (places[-1] - 2) // 3  # of convolution, norm and activation, between the two
    return {"netD": "basic" if layers == 3 else "n_layers", "n_layers_D": layers, **options}


def _modules(weights: dict[str, Tensor]) -> list[int]:
    """Return the numbers of the modules `model.NUMBER` that have weights; [0] for none."""
    return sorted({int(m[1]) for key in weights if (m := re.match(r"model\.(\d+)\.w", key))}) or [0]


def differing_flags(weights: dict[str, Tensor], opt: Any) -> str:
    """Return the flags, as typed, in which a network's weights differ from the options."""
    model = getattr(opt, "model", "")
    described = describe_generator(weights, model)
    if described and "model" not in described and model in ("spade", "pix2pixHD", "inpaint"):
        described["model"] = "pix2pix"
    described = described or describe_discriminator(weights) or describe_encoder(weights)
    if is_within_local(described, opt):
        described = within_local(described, opt)
    different = []
    for name, value in described.items():
        current = getattr(opt, name, None if name == "semantic_nc" else value)
        if current == value or _is_the_same(name, described, opt):
            continue
        if name == "semantic_nc":
            different.append(channel_flags(value, opt))
        elif isinstance(value, bool):
            different.append(f"--{name}" if value else f"without --{name}")
        else:
            different.append(f"--{name} {value}")
    return " ".join(filter(None, different))


def _is_the_same(name: str, described: dict[str, Any], opt: Any) -> bool:
    """Return whether an option's value stands for the described one, which is spelled otherwise."""
    if name == "norm":
        return opt.norm.removeprefix("sync_") == described[name]
    if name == "netD":  # n_layers_D tells
        return (opt.netD, described[name]) == ("n_layers", "basic")
    return is_the_same(name, described, opt)


def check_fit(
    net: nn.Module, weights: dict[str, Tensor], path: Path, opt: Any
) -> dict[str, Tensor]:
    """Return the weights of a file as `net` takes them; ValueError names the flags that fit it."""
    expected = net.state_dict()
    loaded = without_stale_statistics(part_that_fits(weights, expected), expected)
    loaded = with_batch_counts(loaded, expected)
    odd = mismatches(loaded, expected)
    if odd:
        if describe_discriminator(loaded) and describe_generator(expected):
            raise ValueError(f"{path}: holds a discriminator in place of a generator")
        if describe_generator(loaded) and describe_discriminator(expected):
            raise ValueError(f"{path}: holds a generator in place of a discriminator")
        flags = differing_flags(loaded, opt)
        hint = f"it was made with {flags}; use the same flags" if flags else f"differing: {odd[0]}"
        if flags and is_within_local(describe_generator(loaded, opt.model), opt):
            hint = f"--netG local around it needs {flags}"
        raise ValueError(f"{path}: does not fit the network of these options; {hint}")
    if damaged := [name for name, value in loaded.items() if not value.isfinite().all()]:
        raise ValueError(f"{path}: {damaged[0]} holds NaN or infinite values; use an older epoch")
    return loaded


def with_batch_counts(loaded: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with the counts of batch norm, which PyTorch before 0.4.1 did not save."""
    count, mean = "num_batches_tracked", "running_mean"
    lacking = [key for key in expected if key.endswith(count) and key not in loaded]
    counts = {k: expected[k] * 0 for k in lacking if k.removesuffix(count) + mean in loaded}
    return loaded | counts


def infer_options(run: Path) -> dict[str, Any]:
    """Return the options that a run's weights show, for a run without saved options."""
    files = sorted(run.glob("*_net_G*.pth"), key=lambda p: (not p.name.startswith("latest"), p))
    if not files:
        return {}
    options = describe_generator(load_weights(files[0]))
    if options and files[0].stem.endswith(("_net_G_A", "_net_G_B")):
        options["model"] = "cycle_gan"
        options.setdefault("no_dropout", True)  # as CycleGAN has it
        if files[0].stem.endswith("B"):  # it goes the other way
            options["input_nc"], options["output_nc"] = options["output_nc"], options["input_nc"]
    elif (options.get("input_nc"), options.get("output_nc")) == (1, 2):
        options["model"] = "colorization"
    elif "semantic_nc" in options:
        options = of_published(run, files[0], options)
    elif options.get("model") == "inpaint":
        options["preprocess"] = "none"
    if options:
        log.info("%s has no saved options; its weights show %s", run, _as_typed(options))
    return options


def _as_typed(options: dict[str, Any]) -> str:
    """Return options as flags, and the channels of label maps, which are no flag, in words."""
    flags = [
        f"--{name}" if value is True else f"--{name} {value}"
        for name, value in options.items()
        if value is not False and name != "semantic_nc"
    ]
    if channels := options.get("semantic_nc"):
        flags.append(f"and label maps of {channels} channels")
    return " ".join(flags)


def write(nets: dict[str, nn.Module], tag: int | str, folder: Path) -> None:
    """Write `TAG_net_NAME.pth` for every network."""
    for name, net in nets.items():
        save_weights(net.state_dict(), folder / f"{tag}_net_{name}.pth")


def read(
    nets: dict[str, nn.Module], tag: int | str, folder: Path, opt: Any, *, grown: bool = False
) -> None:
    """Read `TAG_net_NAME.pth` for every network, as `BaseModel.load_networks` says.

    Networks that have `grown` since take what fits, and the rest of them starts from scratch.
    """
    for name, net in nets.items():
        ema = "_ema" if not opt.isTrain and opt.use_ema and name.startswith("G") else ""
        path = folder / f"{tag}_net_{name}{ema}.pth"
        if opt.isTrain and not name.startswith("G") and not path.exists():
            log.warning("network %s starts from scratch: %s does not exist", name, path)
            continue
        loaded = load_weights(path)
        if grown:
            loaded = with_grown_parts(net, loaded, name)
        net.load_state_dict(check_fit(net, loaded, path, opt))
        log.info("network %s: loaded %s", name, path)


def with_grown_parts(net: nn.Module, loaded: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the weights of a file, with those of a network that the file lacks; log which these
    are. A file of another network or width is returned as it is.
    """
    expected = net.state_dict()
    shared = {key: value for key, value in loaded.items() if key in expected}
    missing = expected.keys() - shared.keys()
    if (
        not shared
        or not missing
        or any(value.shape != expected[key].shape for key, value in shared.items())
    ):
        return loaded
    parts = ", ".join(sorted({key.partition(".")[0] for key in missing}))
    log.info("network %s: what the file lacks starts from scratch: %s", name, parts)
    return expected | shared
