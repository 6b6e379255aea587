"""Small random distortions of label maps (--label_aug): of the whole map, and of each class.

G then sees other outlines in each epoch, and cannot learn the few exact ones by heart.
"""

import random

import numpy as np
from PIL import Image
from torch import Tensor

GRID = 5  # random displacements along each side; a cubic filter interpolates between them
OF_CLASS = 0.5  # size of a class's own displacements, relative to those of the whole map
MANY = 64  # an image of more colours has no classes that could move by themselves

Source = tuple[np.ndarray, np.ndarray]  # row and column (H, W) that each pixel is taken from


def draw_distortion(classes: np.ndarray, strength: float) -> Source:
    """Draw the distortion of a map of class numbers (H, W), from Python's `random`.

    `strength` is the standard deviation of the displacements, in parts of the shorter side. Each
    class, in a random order, covers the others where it comes to lie.
    """
    rng, size = np.random.default_rng(random.getrandbits(64)), classes.shape
    pixels = strength * min(size)
    whole = pixels * displacements(size, rng)
    rows, columns = source(whole)
    present = np.unique(classes)
    for number in rng.permutation(present) if present.size > 1 else ():
        y, x = source(whole + OF_CLASS * pixels * displacements(size, rng))
        covered = classes[y, x] == number
        rows[covered], columns[covered] = y[covered], x[covered]
    return rows, columns


def displacements(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Draw smooth displacements (2, H, W) of a standard deviation of about 1."""
    height, width = size
    knots = rng.standard_normal((2, GRID, GRID)).astype(np.float32)
    fields = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC) for plane in knots
    ]
    return np.stack([np.asarray(field) for field in fields])


def source(moved: np.ndarray) -> Source:
    """Return the nearest pixels to displaced places (2, H, W), within the map."""
    places = np.indices(moved.shape[1:]) + moved
    nearest = [
        np.rint(place).clip(0, n - 1) for place, n in zip(places, moved.shape[1:], strict=True)
    ]
    return nearest[0].astype(np.int64), nearest[1].astype(np.int64)


def classes_of(image: Tensor) -> np.ndarray:
    """Return the classes (H, W) of a label map in colours (C, H, W); one for all of an image with
    too many colours.
    """
    colours = image.flatten(1).T.numpy()
    if len(np.unique(colours[:: len(colours) // 1000 + 1], axis=0)) <= MANY:  # sorting takes long
        _, numbers = np.unique(colours, axis=0, return_inverse=True)
        if numbers.max() < MANY:
            return numbers.reshape(image.shape[1:])
    return np.zeros(image.shape[1:], int)


def moved(image: Tensor, where: Source) -> Tensor:
    """Return an image or a map (C, H, W), distorted."""
    return image[:, where[0], where[1]]
