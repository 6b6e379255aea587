"""Read uploaded image files, which may be made to cost time and memory."""

import io
import warnings
from collections.abc import AsyncIterator, Callable, Sequence

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import Headers, QueryParams
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from data.files.image_files import in_mode, reason, upright_rgb
from data.files.image_types import has_high_depth
from data.files.metadata import orientation, upright, upright_size
from data.labels.reader import ONE_CHANNEL

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MOST_PIXELS = 64 * 10**6  # maximum size of an uploaded image, and of the resized one


class FormInMemory(MultiPartParser):
    """Parses a form without writing its file to the disk."""

    spool_max_size = 0  # tempfile.SpooledTemporaryFile then never writes to the disk


async def file_in_form(body: bytes, headers: Headers) -> bytes:
    """Return the bytes of the only file in a multipart form; HTTPException for any other form."""
    try:
        import python_multipart  # noqa: F401  of starlette's parser
    except ModuleNotFoundError:
        raise HTTPException(
            501, "forms need `pip install python-multipart` on the server; or send the bare file"
        ) from None

    async def whole() -> AsyncIterator[bytes]:
        yield body

    why = "it has none"
    try:
        form = await FormInMemory(headers, whole(), max_files=1, max_fields=0).parse()
        for _, file in form.multi_items():
            return await file.read()
    except (MultiPartException, ValueError) as error:  # by the version of starlette
        why = getattr(error, "message", str(error)).rstrip(".")
    raise HTTPException(400, f"the form must be one file, as of curl -F image=@sketch.png ({why})")


def image_in(
    body: bytes,
    check_size: Callable[[tuple[int, int]], None],
    one_channel: bool = False,
    alpha: bool = False,
) -> Image.Image:
    """Return the image in a file's bytes, rotated upright, as RGB; HTTPException if unreadable.

    With `one_channel`, an image of one keeps its values; with `alpha`, one that may be transparent
    is RGBA. `check_size` is called with the upright (width, height) before anything is
    decoded.
    """
    if not body:
        raise HTTPException(400, "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL warns about large images and odd tags
            with Image.open(io.BytesIO(body), formats=FORMATS) as file:
                if file.width * file.height > MOST_PIXELS:
                    size = f"{file.width}x{file.height}"
                    raise HTTPException(413, f"{size} pixels are too many; make it smaller")
                check_size(upright_size(file))
            # Opened again, since what was read of the header may hide what stands at the end.
            with Image.open(io.BytesIO(body), formats=FORMATS) as file:
                if has_high_depth(file):
                    raise HTTPException(
                        415, "the image has more than 8 bits a channel; convert it first"
                    )
                if one_channel and file.mode in ONE_CHANNEL and file.format != "JPEG":
                    file.load()
                    return upright(file, orientation(file))
                if alpha and file.has_transparency_data:
                    file.load()
                    return in_mode(upright(file, orientation(file)), "RGBA")
                return upright_rgb(file)
    except Image.DecompressionBombError:
        raise HTTPException(413, "the image has too many pixels; make it smaller") from None
    except UnidentifiedImageError:
        raise HTTPException(415, f"not an image ({', '.join(FORMATS)})") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise HTTPException(422, f"the image is damaged ({reason(error)})") from None


def parts_of(query: QueryParams, known: Sequence[str]) -> list[str]:
    """Return the parts that lie below the image in a file, from the top, as ?parts= names them.

    `known` are those of the run. HTTPException unless all of them are named; a mask may be left
    out, as the hole may be transparent.
    """
    words = ",".join(query.getlist("parts")).split(",")
    parts = [word.strip() for word in words if word.strip()]
    missing = {*known} - {*parts, "mask"}
    if parts and (missing or {*parts} - {*known} or len(parts) > len({*parts})):
        takes = f"parts={','.join(known)}" if known else "no parts"
        fix = "; a black sketch has no lines" if missing == {"sketch"} else ""
        raise HTTPException(400, f"parts={','.join(parts)}: this run takes {takes}{fix}")
    return parts


def height_of_each(size: tuple[int, int], count: int) -> int:
    """Return the height of `count` images below each other; HTTPException if they have none."""
    if size[1] % count:
        raise HTTPException(400, f"parts: {size[1]} rows are no {count} images of one height")
    return size[1] // count


def stacked(image: Image.Image, count: int) -> list[Image.Image]:
    """Return `count` images of one height that lie below each other in an image."""
    width, height = image.width, height_of_each(image.size, count)
    return [image.crop((0, i * height, width, (i + 1) * height)) for i in range(count)]
