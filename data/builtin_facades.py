"""The built-in image set: procedural building facades, drawn if --dataroot is not given.

Each file is a stitched pair A|B: photo, label map. The labels determine the photo except for fine
texture, noise and a mild tint of each house, so that a small network learns it in a minute.
"""

import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

logger = logging.getLogger(__name__)
ROOT = "./datasets/builtin_facades"
SPLITS = {"train": 200, "val": 20, "test": 40}
SIZE = 128  # side of each half, in pixels
SEED = 2017
GRID = 2 * SIZE  # scenes are drawn at twice the size, so that the photo has smooth edges
MARGIN = 32  # pixels drawn around the image, so that its borders cut through houses

# Class: its label colour, its photo colour, its height above the wall in pixels.
CLASSES = {
    "sky": ((0, 0, 170), (0.66, 0.81, 0.97), 0),
    "ground": ((96, 96, 96), (0.43, 0.42, 0.42), 0),
    "plaster": ((0, 85, 255), (0.92, 0.76, 0.46), 0),
    "brick": ((128, 0, 255), (0.60, 0.27, 0.19), 0),
    "roof": ((255, 0, 170), (0.25, 0.27, 0.33), 0),
    "cornice": ((255, 85, 0), (0.78, 0.73, 0.65), 5),
    "window": ((0, 170, 255), (0.13, 0.18, 0.25), -4),
    "moulding": ((85, 255, 170), (0.95, 0.93, 0.88), 2),
    "shutter": ((255, 255, 0), (0.13, 0.38, 0.30), 2),
    "door": ((0, 160, 60), (0.38, 0.19, 0.09), -4),
    "balcony": ((170, 255, 0), (0.22, 0.23, 0.25), 6),
    "shop": ((170, 0, 0), (0.30, 0.20, 0.13), -4),
    "pillar": ((255, 170, 170), (0.88, 0.83, 0.75), 2),
}
PALETTE: dict[str, tuple[int, int, int]] = {name: row[0] for name, row in CLASSES.items()}
INDEX = {name: index for index, name in enumerate(CLASSES)}
# Features of a house and their probabilities.
HABITS = {"arches": 0.3, "shutters": 0.4, "frames": 0.6, "pillars": 0.3, "belts": 0.5, "shops": 0.5}
Box = tuple[int, int, int, int]  # left, top, right, bottom on the fine grid


class Scene:
    """A scene: class indices and unlit paint, on the fine grid with its margin."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.tint = np.ones(3, np.float32)  # of the current house
        self.labels = np.zeros((GRID + 2 * MARGIN, GRID + 2 * MARGIN), np.uint8)
        self.paint = np.zeros((*self.labels.shape, 3), np.float32)

    def fill(self, name: str, box: Box, shape: np.ndarray | bool = True) -> None:
        """Paint a box, or its part where the mask `shape` is true, as class `name`."""
        x0, y0, x1, y1 = box
        self.labels[y0:y1, x0:x1][shape] = INDEX[name]
        self.paint[y0:y1, x0:x1][shape] = np.float32(CLASSES[name][1]) * self.tint


def draw_opening(scene: Scene, name: str, box: Box, style: set[str]) -> np.ndarray:
    """Draw an opening in the wall, with the arch and frame of `style`; return its mask."""
    for kind, rim in [("moulding", 4), (name, 0)] if "frames" in style else [(name, 0)]:
        x0, y0, x1, y1 = box[0] - rim, box[1] - rim, box[2] + rim, box[3]
        y, x = np.ogrid[0.5 : y1 - y0, 0.5 : x1 - x0]
        radius = (x1 - x0) / 2
        mask = (y > radius * ("arches" in style)) | (np.hypot(x - radius, y - radius) <= radius)
        scene.fill(kind, (x0, y0, x1, y1), mask)
    return mask


def draw_window(scene: Scene, box: Box, style: set[str]) -> None:
    """Draw a window: glass with a reflection of the sky, sashes, shutters, sill."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    glass = draw_opening(scene, "window", box, style)
    sash = np.zeros_like(glass)
    sash[:, [0, width // 2 - 1, width // 2, -1]] = sash[[0, height // 3, -1]] = True
    sky = np.clip(1 - np.linspace(0, 0.5, width) - np.linspace(0, 1.3, height)[:, None], 0, 1)
    paint = scene.paint[y0:y1, x0:x1]
    paint[glass] += sky[glass][:, None] * np.float32([0.20, 0.27, 0.32])
    paint[sash & glass] = (0.58, 0.57, 0.54)
    reach = width // 2 + 1 if "shutters" in style else 4
    if "shutters" in style:
        scene.fill("shutter", (x0 - reach, y0, x0 - 1, y1))
        scene.fill("shutter", (x1 + 1, y0, x1 + reach, y1))
    scene.fill("moulding", (x0 - reach, y1, x1 + reach, y1 + 4))


def draw_shop(scene: Scene, box: Box) -> None:
    """Draw a shop front: a sign board above lit panes between dark posts."""
    x0, y0, x1, y1 = box
    scene.fill("shop", box)
    scene.paint[y0 : y0 + 9, x0:x1] = (0.50, 0.15, 0.11)
    for left in range(x0 + 2, x1 - 8, 20):
        pane = scene.paint[y0 + 12 : y1 - 6, left : min(left + 18, x1 - 2)]
        pane[:] = np.linspace(1, 0.6, len(pane))[:, None, None] * (0.92, 0.70, 0.40)


def draw_roof(scene: Scene, wall: str, x0: int, x1: int, y: int) -> None:
    """Draw a roof on the wall's upper edge y: flat, pitched with dormers, gabled or stepped."""
    rng, width = scene.rng, x1 - x0
    kind = rng.choice(["flat", "pitched", "gabled", "stepped"], p=[0.2, 0.45, 0.2, 0.15])
    height = min(int(rng.integers(20, 50)), y - 12)
    ridge = rng.uniform(0.6, 1) if kind == "pitched" else 0.0  # its length relative to the eaves
    down, across = np.ogrid[1 : height + 1, 1 - width : width : 2]
    slope = np.abs(across) <= width * (ridge + (1 - ridge) * down / height)
    if kind == "pitched":
        for x in rng.integers(x0 + width // 4, x1 - width // 4 - 10, size=rng.integers(0, 3)):
            scene.fill("brick", (x, y - height - 8, x + 10, y))
        scene.fill("roof", (x0, y - height, x1, y), slope)
        for x in np.linspace(x0, x1, width // 40 + 2)[1:-1].astype(int) if height > 30 else []:
            draw_window(scene, (x - 6, y - 22, x + 6, y - 8), {"frames"})
    elif kind == "gabled":
        scene.fill("roof", (x0, y - height, x1, y), slope)
        scene.fill(wall, (x0, y - height + 8, x1, y), slope[:-8])
    elif kind == "stepped":
        for step in range(3):
            left, right, top = x0 + step * width // 7, x1 - step * width // 7, y - (step + 1) * 10
            scene.fill(wall, (left, top, right, y))
            scene.fill("cornice", (left, top, right, top + 4))
    scene.fill("cornice", (x0 - 4, y - 4, x1 + 4, y + 4))


def draw_house(scene: Scene, x0: int, x1: int, street: int) -> None:
    """Draw one house between x0 and x1, from the street upwards."""
    rng = scene.rng
    scene.tint = np.float32(rng.normal(1, 0.02) * rng.normal(1, 0.02, size=3))
    wall = str(rng.choice(["plaster", "brick"]))
    storey, first = int(rng.integers(38, 58)), street - int(rng.integers(48, 64))
    top = first - storey * int(rng.integers(1, (first - 32) // storey + 1))
    scene.fill(wall, (x0, top, x1, street))
    draw_roof(scene, wall, x0, x1, top)
    columns = max((x1 - x0 - 8) // int(rng.integers(36, 56)), 1)
    edges = np.linspace(x0 + 4, x1 - 4, columns + 1).astype(int)
    style = {habit for habit, chance in HABITS.items() if rng.random() < chance}
    room = (edges[1] - edges[0]) // (4 if "shutters" in style else 2)
    half = min(int(rng.integers(8, 15)), room - 2)
    for x in edges if "pillars" in style else []:
        scene.fill("pillar", (x - 3, top + 4, x + 3, street))
    for y in range(top + storey, first + 1, storey) if "belts" in style else [first]:
        scene.fill("cornice", (x0, y - 2, x1, y + 2))
    balconies, entrance = rng.choice([0, 0.3, 0.6]), rng.integers(columns)
    for column, x in enumerate((edges[:-1] + edges[1:]) // 2):
        for y in range(top + storey, first + 1, storey):
            draw_window(scene, (x - half, y - storey + 12, x + half, y - 8), style)
            if rng.random() < balconies:
                scene.fill("balcony", (x - half - 5, y - 18, x + half + 5, y - 4))
                scene.fill("cornice", (x - half - 7, y - 4, x + half + 7, y))
        if column == entrance:
            draw_opening(scene, "door", (x - 9, first + 14, x + 9, street), {"frames", *style})
            scene.fill("cornice", (x - 15, street - 4, x + 15, street))
        elif "shops" in style:
            draw_shop(scene, (edges[column] + 3, first + 8, edges[column + 1] - 3, street - 2))
        else:
            draw_window(scene, (x - half, first + 14, x + half, street - 14), style)


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a street of houses of random widths and heights under the sky."""
    scene = Scene(rng)
    end, street = len(scene.labels), MARGIN + int(rng.integers(196, 246))
    scene.paint[:] = np.linspace(CLASSES["sky"][1], (0.85, 0.91, 0.95), end)[:, None]
    scene.fill("ground", (0, street, end, end))
    scene.paint[street : street + 4] += 0.15
    x0 = int(rng.integers(8, 80))
    while (x1 := min(x0 + int(rng.integers(50, 190)), end - 8)) - x0 > 45:
        draw_house(scene, x0, x1, street)
        x0 = x1 + int(rng.choice([0, 0, 24]))
    return scene


def texture(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return the factor (GRID, GRID) that multiplies the paint with each class's texture."""
    y, x = np.ogrid[:GRID, :GRID]
    clouds, grain = (
        np.asarray(Image.fromarray(coarse).resize((GRID, GRID), Image.Resampling.BICUBIC))
        for coarse in (rng.standard_normal((cells, cells), np.float32) for cells in (7, 90))
    )
    tones, shifted = rng.normal(1.04, 0.06, size=(64, 64)), x + y // 6 % 2 * 6
    joints = (y % 6 == 0) | (shifted % 12 == 0)
    patterns = {
        "sky": 1 + 0.02 * clouds,
        "ground": 1 + 0.05 * grain,
        "plaster": 1 + 0.02 * clouds + 0.02 * grain,
        "brick": np.where(joints, 1.25, tones[y // 6, shifted // 12]),
        "roof": tones[y // 5, (x + y // 5 % 2 * 4) // 8] - 0.25 * (y % 5 == 0),
        "shutter": 1.1 - 0.3 * (y % 4 < 2),
        "door": 1.2 - 0.4 * ((x % 8 < 2) | (y % 16 < 2)),
        "balcony": 0.9 + 1.3 * (x % 4 < 1),
    }
    return np.select([labels == INDEX[name] for name in patterns], list(patterns.values()), 1.0)


def shadow(labels: np.ndarray) -> np.ndarray:
    """Return the mask of pixels in shadow; the sun is high on the left."""
    relief = np.int8([row[2] for row in CLASSES.values()])[labels]
    hidden = np.zeros(labels.shape, bool)
    for step in range(1, 9):
        stand = relief[:-step, : GRID - step // 2] - relief[step:, step // 2 :]
        hidden[step:, step // 2 :] |= stand >= step
    return hidden & (labels != INDEX["sky"])


def draw_pair(rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Draw one pair (photo, labels), each SIZE x SIZE in RGB."""
    scene = draw_scene(rng)
    labels, paint = (a[MARGIN:-MARGIN, MARGIN:-MARGIN] for a in (scene.labels, scene.paint))
    light = np.linspace(1.04, 0.95, GRID)[:, None] * (1 - 0.38 * shadow(labels))
    photo = paint * np.float32(light * texture(rng, labels))[..., None]
    photo = (photo[::2, ::2] + photo[1::2, ::2] + photo[::2, 1::2] + photo[1::2, 1::2]) / 4
    photo += 0.012 * rng.standard_normal(photo.shape, np.float32)
    pixels = (photo.clip(0, 1) * 255).round().astype(np.uint8)
    colours = np.uint8(list(PALETTE.values()))[labels[::2, ::2]]
    return Image.fromarray(pixels), Image.fromarray(colours)


def is_builtin(dataroot: str | Path) -> bool:
    """Return whether this path is the folder of the built-in images."""
    return Path(dataroot).resolve() == Path(ROOT).resolve()


def write_once(root: Path | str = ROOT) -> Path:
    """Draw the image set into `root` unless it exists; OSError if it cannot be written.

    The images go to a temporary folder that is then renamed. If two processes draw at the same
    time, the first to finish wins and both use its images.
    """
    root = Path(root)
    if root.exists():
        return root
    logger.info(f"drawing the built-in facades into {root}")
    root.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        for number, (split, count) in enumerate(SPLITS.items()):
            folder = scratch / "set" / split  # mkdtemp makes `scratch` unreadable for other users
            folder.mkdir(parents=True)
            for index in range(1, count + 1):
                pair = draw_pair(np.random.default_rng([SEED, number, index]))
                stitched = Image.fromarray(np.concatenate(pair, axis=1))
                stitched.save(folder / f"{index:04d}.png", compress_level=3)
        (scratch / "set").rename(root)
    except OSError:
        if not root.is_dir():
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root
