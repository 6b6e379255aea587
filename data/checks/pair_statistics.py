"""What a sample of items shows of their pairs: equal, cut out of one image, of other shapes."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from data.checks.side_statistics import CONTINUOUS, SampleImage, seam_contrast

LEAST_SEAMS = 4  # pairs with halves that show a seam
LEAST_HALVES = 2  # wide images with a seam in the middle
MOST_DISTORTION = 1.05  # ratio of the shapes of A and B


class PairStatistics:
    """Collects what the images of items have to do with each other, item by item."""

    def __init__(self) -> None:
        self.count = self.equal = 0
        self.seams: list[float] = []  # contrast between the halves of an A|B image
        self.halves: list[float] = []  # the same of wide images that are no pairs
        self.distorted: list[tuple[SampleImage, SampleImage]] = []  # A and B of another shape

    def add(self, found: dict[str, SampleImage]) -> None:
        """Add the images of an item, by side."""
        A, B = found.get("A"), found.get("B")
        if A is not None and B is not None:
            self.count, self.equal = self.count + 1, self.equal + np.array_equal(A.array, B.array)
            halves = A.path == B.path and A.array.shape[2] == B.array.shape[2]
            _keep(self.seams, seam_contrast(A.array, B.array) if halves else None)
            shapes = [image.array.shape[1] / image.array.shape[0] for image in (A, B)]
            if max(shapes) > MOST_DISTORTION * min(shapes):
                self.distorted.append((A, B))
        elif (single := A if B is None else B) is not None:  # of a run from B to A it is B
            height, width = single.array.shape[:2]
            if width % 2 == 0 and width >= 1.5 * height:
                _keep(self.halves, seam_contrast(*np.hsplit(single.array, 2)))

    def remarks(self, opt: Any) -> Iterator[str]:
        """Yield what is odd about the pairs."""
        if self.count and self.equal == self.count:
            yield f"A and B are equal in all {self.count} items that were looked at"
        if len(self.seams) >= LEAST_SEAMS and np.median(self.seams) < CONTINUOUS:
            yield (
                f"the halves of the images continue each other, as if single images were cut in "
                f"two; put A and B side by side, or into {opt.phase}A/ and {opt.phase}B/"
            )
        if self.distorted and opt.dataset_mode == "aligned":
            (A, B), count = self.distorted[0], len(self.distorted)
            yield (
                f"A and B have other shapes in {count} of {self.count} pairs, such as {_size(A)} "
                f"and {_size(B)}: resized to one square, their contents no longer lie on each "
                f"other; crop or pad one of them first"
            )
        if len(self.halves) >= LEAST_HALVES and np.median(self.halves) >= CONTINUOUS:
            yield (
                f"the images look like A|B pairs, and both halves are translated as one image; "
                f"leave out --model {opt.model} for pairs"
            )


def _keep(values: list[float], value: float | None) -> None:
    if value is not None:
        values.append(value)


def _size(image: SampleImage) -> str:
    height, width = image.array.shape[:2]
    return f"{image.path} ({width}x{height})"
