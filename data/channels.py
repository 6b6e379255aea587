"""The channels of images: grey, RGB or other bands, and what becomes of alpha."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from data.files.image_files import DEEP, channels_of_some, in_mode
from data.files.image_types import KINDS, HighDepthImage, ImageArray, ImageLike
from data.files.pixel_limit import MAX_PIXELS

CHANNEL_MODES = {1: "L", 3: "RGB"}
BACKGROUNDS = {"ignore": None, "white": 1.0, "black": 0.0}  # of --alpha, in [0, 1]


def check_channels(
    channels: int, flag: str, files: Sequence[str] = (), max_pixels: float = MAX_PIXELS
) -> None:
    """Raise ValueError unless images, or these `files`, can have that many channels."""
    if channels in CHANNEL_MODES:
        return
    counts = set()
    for count in channels_of_some(files, max_pixels):
        if count == channels:
            return
        counts.add(count)
    others = sorted(counts - CHANNEL_MODES.keys())
    have = f", some of the files {' or '.join(map(str, others))}" if others else ""
    raise ValueError(f"--{flag} {channels}: images have 1 (grey) or 3 (RGB) channels{have}")


def to_channels(image: ImageLike, channels: int, alpha: str = "ignore") -> ImageLike:
    """Convert to exactly `channels` channels: 3 is RGB, 1 is grey (ITU-R 601 luma).

    `alpha`, a key of `BACKGROUNDS`, says what becomes of an alpha channel that is dropped.
    """
    background = BACKGROUNDS[alpha]
    if background is not None and channels in CHANNEL_MODES:
        image = on_background(image, background)
    if channels not in CHANNEL_MODES and not isinstance(image, HighDepthImage):
        image = HighDepthImage.of(np.asarray(image), ".png")  # with all bands of the file
    if isinstance(image, HighDepthImage):
        return image.with_channels(channels)
    return in_mode(image, CHANNEL_MODES[channels])


def eight_bits(image: ImageLike) -> Image.Image:
    """Return an image of 8 bits as one of PIL; ValueError if it has more, or other channels."""
    if not isinstance(image, HighDepthImage):
        return image
    if image.stored_type.dtype != "uint8":
        raise ValueError(DEEP)
    if image.kind not in KINDS.values() or image.looks_channels_first:
        raise ValueError(f"has {image.channels} channels; convert it to grey or RGB")
    array = image.array().astype(np.uint8)
    return Image.fromarray(array[..., 0] if image.channels == 1 else array)


def on_background(image: ImageLike, level: float) -> ImageLike:
    """Return an image without its alpha channel, on a grey background of `level` in [0, 1]."""
    if isinstance(image, HighDepthImage):
        return image.on_background(level)
    if isinstance(image, ImageArray) or not image.has_transparency_data:
        return image
    background = Image.new("RGBA", image.size, (*[round(255 * level)] * 3, 255))
    return Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")


def side_channels(opt: Any, files: Sequence[str]) -> dict[str, int]:
    """Return the numbers of channels of A and B; `--direction BtoA` makes B the input.

    ValueError names the flag if the files cannot have that many channels.
    """
    for flag in ("input_nc", "output_nc"):
        check_channels(getattr(opt, flag), flag, files, opt.max_pixels)
    source, target = "BA" if opt.direction == "BtoA" else "AB"
    return {source: opt.input_nc, target: opt.output_nc}
