"""Drawings of classes, for a run on label maps: from colours on the canvas to class numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from data.labels.class_names import named_classes
from data.labels.reader import ONE_CHANNEL, LabelReader
from util.palette import as_hex, shown_colours

SAMPLE = 8  # label maps that tell the most frequent class


class ClassCanvas:
    """The classes of a run as the colours that stand for them on the canvas."""

    def __init__(self, opt: Any):
        """ValueError for a line of classes.txt that names no class."""
        count = opt.label_nc + opt.contain_dontcare_label
        self.colours = shown_colours(opt)[:count]  # the last one of unknown pixels
        self.of_numbers = not isinstance(opt.label_colours, list)
        self.files = LabelReader.from_options(opt)
        codes = tuple(as_hex(self.colours))
        self.canvas = LabelReader(count, dontcare=False, colours=codes)
        self.named = named_classes(opt) + [(codes[-1], "unknown")] * opt.contain_dontcare_label

    def classes(self, image: Image.Image) -> np.ndarray:
        """Return the class numbers (H, W) of a drawing, or of a file as the run's label maps are.

        ValueError for an image that is neither.
        """
        if self.of_numbers and image.mode in ONE_CHANNEL:
            return self.files.classes(image)
        return self.canvas.classes(image)

    def shown(self, labels: Tensor) -> np.ndarray:
        """Return class numbers (C, H, W), the first channel, as colours (H, W, 3) uint8."""
        return self.colours[labels[0].long().cpu().numpy()]

    def most_frequent(self, drawings: Sequence[np.ndarray]) -> np.ndarray:
        """Return the colour of the class with most pixels in some drawings (H, W, 3)."""
        counts = np.zeros(len(self.colours), np.int64)
        for drawing in drawings:
            classes = self.canvas.classes(Image.fromarray(drawing))
            counts += np.bincount(classes.ravel(), minlength=len(counts))
        return self.colours[counts.argmax()]
