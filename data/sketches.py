"""Sketches that steer what fills a hole: edges of an image, or lines in a file."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.base_dataset import prefix_errors
from data.image_files import DEEP, load_unconverted
from data.image_types import ImageArray, ImageLike
from data.pixel_limit import MAX_PIXELS

SIGMA = 2.0  # pixels that Canny's edges are blurred by before they are found
LIGHT = 128  # of 0 to 255: from here on, a pixel of a sketch is light


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


def load_sketch(path: str | Path, max_pixels: float = MAX_PIXELS) -> np.ndarray:
    """Read the lines of a sketch, bool (H, W); ValueError names a file that is no image."""
    with prefix_errors(str(path)):
        return lines_of(load_unconverted(path, max_pixels))


def lines_of(image: ImageLike) -> np.ndarray:
    """Return the lines of a sketch, bool (H, W): what is dark on light, or light on dark.

    What is transparent is white. ValueError for an image of more than 8 bits.
    """
    if isinstance(image, ImageArray):
        raise ValueError(DEEP)
    if "A" in image.getbands():
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    light = np.asarray(image.convert("RGB").convert("L")) >= LIGHT
    return ~light if light.mean() > 0.5 else light
