"""Sketches that steer what fills a hole: edges of an image, or lines in a file."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.channels import eight_bits
from data.files.image_types import ImageLike
from data.files.pixel_limit import MAX_PIXELS
from data.holes.mask_files import load_map, share_within, white_of

SIGMA = 2.0  # pixels that Canny's edges are blurred by before they are found
LIGHT = 128  # of 0 to 255: from here on, a pixel of a sketch is light
GREY = 64, 191  # values that neither lines nor the paper have
MOST_GREY = 0.5  # share of the pixels, more than scans of pencil lines have; most photos have it


def require_edges(phase: str) -> None:
    """Raise a ValueError if the package that finds edges is missing."""
    try:
        import skimage.feature  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--guided: {error}; edges of photos need `pip install scikit-image`, or put lines "
            f"into {phase}_sketch/"
        ) from None


def edges_of(image: np.ndarray) -> np.ndarray:
    """Return Canny's edges of an image (H, W, 3) of uint8: bool (H, W)."""
    from skimage.feature import canny

    grey = image.astype(float) @ np.array([0.299, 0.587, 0.114]) / 255
    return canny(grey, sigma=SIGMA)


def load_sketch(
    path: str | Path, max_pixels: float = MAX_PIXELS, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read the lines of a sketch, bool (H, W); ValueError names a file that is no image, or one
    that is a photo or has another (width, height) than its image.
    """
    return load_map(path, lines_of, max_pixels, size)


def lines_of(image: ImageLike) -> np.ndarray:
    """Return the lines of a sketch, bool (H, W): what is dark on light, or light on dark.

    What is transparent is white. ValueError for an image of more than 8 bits, and for a photo.
    """
    image = eight_bits(image)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    values = np.asarray(image.convert("RGB").convert("L"), float)
    values = values * 255 / white_of(values.max())
    grey = share_within(values, *GREY)
    if grey > MOST_GREY:
        raise ValueError(
            f"{grey:.0%} of the sketch are grey values, {GREY[0]} to {GREY[1]}, as in a photo (at "
            f"most {MOST_GREY:.0%} may be); a sketch has dark lines on light, or light on dark: "
            f"raise its contrast, or give edges"
        )
    light = values >= LIGHT
    return ~light if light.mean() > 0.5 else light
