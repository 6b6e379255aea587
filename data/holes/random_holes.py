"""Random holes for images: boxes, brush strokes, or both.

Source: Yu et al., arXiv:1806.03589, §4.1 and its published code: lengths are of an image of 256
pixels there, and scaled with the image here. A mask is bool (H, W), True in the hole.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

BOX = 1 / 2  # side of a box, in sides of the image
MARGIN = 1 / 16  # most by which both ends of a box's side are moved in
STROKES = 1, 3  # of the brush, fewest and most
SEGMENTS = 4, 11  # of a stroke
WIDTHS = 12 / 256, 40 / 256  # of a stroke, in the image's shorter side
ANGLE, SPREAD = 2 * math.pi / 5, 2 * math.pi / 15
RADII = 1 / 8  # mean length of a segment, in the image's diagonal

Point = tuple[float, float]
Size = tuple[int, int]  # (width, height)


def box_mask(size: Size, rng: np.random.Generator) -> np.ndarray:
    """Draw a box that lies anywhere in the image."""
    mask = np.zeros(size[::-1], bool)
    spans = []
    for side in size[::-1]:
        length = max(round(BOX * side), 1)
        start = int(rng.integers(0, side - length + 1))
        inner = min(int(rng.integers(0, int(MARGIN * side) + 1)), (length - 1) // 2)
        spans.append(slice(start + inner, start + length - inner))
    mask[tuple(spans)] = True
    return mask


def brush_mask(size: Size, rng: np.random.Generator) -> np.ndarray:
    """Draw brush strokes with round joints; the whole may be mirrored."""
    canvas = Image.new("L", size)
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(STROKES[0], STROKES[1] + 1)):
        points = stroke(size, rng)
        width = max(int(min(size) * rng.uniform(*WIDTHS)), 1)
        draw.line(points, fill=1, width=width)
        for x, y in points:
            r = width // 2
            draw.ellipse((x - r, y - r, x + r, y + r), fill=1)
    mask = np.asarray(canvas) > 0
    mask = mask[:, ::-1] if rng.random() < 0.5 else mask
    return np.ascontiguousarray(mask[::-1] if rng.random() < 0.5 else mask)


def stroke(size: Size, rng: np.random.Generator) -> list[Point]:
    """Return the corners of a stroke, inside the image: every other angle is mirrored."""
    width, height = size
    radius = math.hypot(width, height) * RADII
    low, high = ANGLE - rng.uniform(0, SPREAD), ANGLE + rng.uniform(0, SPREAD)
    points = [(float(rng.integers(0, width)), float(rng.integers(0, height)))]
    for i in range(rng.integers(SEGMENTS[0], SEGMENTS[1] + 1)):
        angle = rng.uniform(low, high)
        angle = angle if i % 2 else 2 * math.pi - angle
        length = min(max(rng.normal(radius, radius / 2), 0), 2 * radius)
        x, y = points[-1]
        x, y = x + length * math.cos(angle), y + length * math.sin(angle)
        points.append((min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)))
    return points


def both_masks(size: Size, rng: np.random.Generator) -> np.ndarray:
    """Draw a box and brush strokes, as the published code does."""
    return box_mask(size, rng) | brush_mask(size, rng)


MASKS: dict[str, Callable[[Size, np.random.Generator], np.ndarray]] = {
    "box": box_mask,
    "brush": brush_mask,
    "both": both_masks,
}
