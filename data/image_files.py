"""Read image files, of ordinary and of high bit depth."""

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from data.image_types import ImageLike, has_high_depth, read_high_depth

ORIENTATION = 0x0112  # the EXIF tag


class BadImageError(ValueError):
    """Raised for a file that cannot be read as an image."""


def load_image(path: str | Path) -> Image.Image:
    """Read an image as RGB, with its EXIF orientation applied.

    ValueError names the file if it cannot be read or holds more than 8 bits per channel.
    """
    try:
        with Image.open(path) as file:
            high_depth = has_high_depth(file)
            image = upright_rgb(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadImageError(f"{path}: cannot be read as an image ({reason(error)})") from None
    if high_depth:
        raise ValueError(f"{path}: has more than 8 bits a channel; convert it to 8 bits")
    return image


def upright_rgb(file: Image.Image) -> Image.Image:
    """Return an open image as RGB, with its EXIF orientation applied."""
    turned = file.getexif().get(ORIENTATION, 1) != 1
    return in_mode(ImageOps.exif_transpose(file) if turned else file, "RGB")


def load_image_or_array(path: str | Path) -> ImageLike:
    """Read an image without loss: `load_image`, or an array for high bit depth or more channels."""
    try:
        image = read_high_depth(path)
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError) as error:
        raise BadImageError(f"{path}: cannot be read as an image ({reason(error)})") from None
    return image or load_image(path)


def split_pair(path: str | Path) -> tuple[ImageLike, ImageLike]:
    """Return the left and the right half of an image; ValueError if its width is odd."""
    pair = load_image_or_array(path)
    if pair.width % 2:
        raise ValueError(
            f"{path}: {pair.width} pixels wide; an A|B image has two halves of equal width; "
            f"put separate images into two folders, such as trainA/ and trainB/"
        )
    half = pair.width // 2
    return pair.crop((0, 0, half, pair.height)), pair.crop((half, 0, pair.width, pair.height))


def read_pair(A_path: str | Path, B_path: str | Path) -> tuple[ImageLike, ImageLike]:
    """Return A and B from two files, or the two halves if both paths are equal."""
    return (
        split_pair(A_path)
        if A_path == B_path
        else (load_image_or_array(A_path), load_image_or_array(B_path))
    )


def reason(error: Exception) -> str:
    """Return a short reason why an image cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return "unknown format"
    return getattr(error, "strerror", None) or str(error)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an open image in one of PIL's modes."""
    image.load()
    return image if image.mode == mode else image.convert(mode)  # convert would copy it
