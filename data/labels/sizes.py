"""The sizes of label maps, their images and instance maps, compared before a training."""

import contextlib
from collections.abc import Iterator, Sequence

from data.files.image_files import BadImageError, image_size, sizes_of
from data.labels.folders import is_coloured
from data.labels.reader import read_instances

EQUAL_SIZES = "make the sizes equal or use --preprocess resize_and_crop"
ONE_SIZE = "both maps of an image need one size"
FEWER = 2  # sides of a label map by those of its image, from which on a remark is made
OTHER_SHAPE = 1.1  # the same for the ratios of their sides
Size = tuple[int, int]  # (width, height)


def check_sizes(one: Size, path: str, other: Size, other_path: str, fix: str) -> None:
    """Raise a ValueError if two images of an item differ in size."""
    if one != other:
        raise ValueError(
            f"{path} has {one[0]}x{one[1]} pixels and {other_path} {other[0]}x{other[1]}: {fix}"
        )


def check_images(images: Sequence[str], labels: Sequence[str]) -> None:
    """Raise a ValueError if an image has another size than its label map, as far as a second
    shows.
    """
    for path, size, label, label_size in compared(images, labels):
        check_sizes(size, path, label_size, label, EQUAL_SIZES)


def check_instances(instances: Sequence[str], labels: Sequence[str], max_pixels: float) -> None:
    """Raise a ValueError if an instance map has another size than its label map, or colours, as
    far as a second shows.
    """
    for path, size, label, label_size in compared(instances, labels):
        check_sizes(size, path, label_size, label, ONE_SIZE)
        if is_coloured(path):
            read_instances(path, max_pixels)  # which says what is wrong


def size_remarks(images: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return a remark if images have another shape than their label maps, or far fewer pixels."""
    mismatches = []
    for path, size, label, label_size in compared(images, labels):
        shape = size[0] * label_size[1] / (size[1] * label_size[0])
        if max(shape, 1 / shape) > OTHER_SHAPE or min(label_size) >= FEWER * min(size):
            (w, h), (label_w, label_h) = size, label_size
            mismatches.append(f"{path} has {w}x{h} pixels and {label} {label_w}x{label_h}")
    if not mismatches:
        return []
    rest = f" ({len(mismatches)} such pairs)" if mismatches[1:] else ""
    return [f"labels: {mismatches[0]}: another shape or far fewer pixels than the label map{rest}"]


def compared(files: Sequence[str], labels: Sequence[str]) -> Iterator[tuple[str, Size, str, Size]]:
    """Yield files and their sizes, with their label maps and their sizes."""
    label_of = dict(zip(files, labels, strict=False))  # there may be no files
    for path, size in sizes_of(files).items():
        with contextlib.suppress(BadImageError):  # reported elsewhere
            yield path, size, label_of[path], image_size(label_of[path])
