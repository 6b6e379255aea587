"""The check of scripts/export.py: a graph translates as test.py does, at several sizes."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from models.networks import Generator
from translator import Translator
from util.errors import one_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

NOTHING = "nothing is written"


class ExportError(NamedTuple):
    """How far a batch's translation is from PyTorch's: the largest difference, in [-1, 1] or, of
    uint8, in grey levels, and the share of values that differ.
    """

    batch: int
    height: int
    width: int
    difference: float
    share: float


class Check:
    """Compares graphs with a translator, on images of noise."""

    def __init__(
        self,
        translator: Translator,
        *,
        size: tuple[int, int] | None,
        processing: bool,
        tolerance: float,
    ):
        """`size` is the graph's (height, width) if it takes no other, `processing` that it takes
        uint8 (N, H, W, C).
        """
        self.translator, self.size, self.tolerance = translator, size, tolerance
        self.processing = processing

    def batch(self, count: int, height: int, width: int) -> np.ndarray:
        """Draw images as the graph takes them."""
        rng, opt = np.random.default_rng(0), self.translator.opt
        if not self.processing:
            shape = (count, opt.input_nc, height, width)
            return rng.uniform(-1, 1, shape).astype(np.float32)
        channels = 3 if opt.model == "colorization" else opt.input_nc
        return rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)

    def example(self) -> np.ndarray:
        """Return a batch to trace the network with."""
        crop = self.translator.opt.crop_size
        return self.batch(2, *(self.size or (crop, 2 * crop)))

    def sizes(self) -> list[tuple[int, int, int]]:
        """Return the (batch, height, width) to compare, the training's first."""
        if self.size:
            return [(count, *self.size) for count in (1, 2, 3)]
        crop, net = self.translator.opt.crop_size, self.translator.model.generator()
        if not isinstance(net, Generator):  # which may not take every size
            return [(1, crop, crop), (2, crop, 2 * crop), (3, 2 * crop, crop)]
        odd, above = (2, crop - 1, crop // 2 + 3), (1, net.stride + 1, net.stride // 2 + 1)
        # Not 3x2: repeated until they fill the stride, so few pixels are one colour to the norms,
        # of which rounding errors are all that is left.
        return [(1, crop, crop), odd, above, (3, 9, 7), (1, 1, 33)]

    def compare(self, path: Path) -> list[ExportError]:
        """Return the differences of the graph in a file; ValueError if one is too large.

        An output at the edge of a grey level may fall on its other side: of uint8, values may be
        one level off, but no more of them than a difference of the tolerance would make.
        """
        session, rows = session_of(path), []
        log.info("largest differences from PyTorch:")
        for size in self.sizes():
            rows.append(self.measured(session, self.batch(*size)))
            log.info("  %s", self.said(rows[-1]))
        worst = ExportError(*np.max(rows, axis=0))  # NaN, if there is one
        most, share = (1, 127.5 * self.tolerance) if self.processing else (self.tolerance, 1)
        if not (worst.difference <= most and worst.share <= share):
            raise ValueError(
                f"the graph differs from PyTorch by {self.how_far(worst)}, more than --tolerance "
                f"{self.tolerance:g} allows: {NOTHING}; try another --opset, or --size"
            )
        log.info("overall: %s", self.how_far(worst))
        return rows

    def measured(self, session: "InferenceSession", x: np.ndarray) -> ExportError:
        """Return how far a session's translation of a batch is from the translator's."""
        found = run_graph(session, x)
        if self.processing:
            wanted = np.stack(self.translator(list(x)))
        else:
            wanted = self.translator.translate(torch.from_numpy(x)).numpy()
        if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"the graph gives {found.dtype} {found.shape}, PyTorch {wanted.dtype} "
                f"{wanted.shape}: {NOTHING}"
            )
        apart = np.abs(found.astype(np.float32) - wanted.astype(np.float32))
        height, width = x.shape[1:3] if self.processing else x.shape[2:]
        return ExportError(len(x), height, width, float(apart.max()), float((apart != 0).mean()))

    def compare_noise(self, path: Path) -> None:
        """Run the noisy graph in a file twice; ValueError unless the images differ."""
        x, session = self.batch(*self.sizes()[0]), session_of(path)
        runs = np.stack([run_graph(session, x), run_graph(session, x)]).astype(np.float32)
        if not np.isfinite(runs).all() or not (apart := np.abs(runs[0] - runs[1])).any():
            raise ValueError(f"--dropout: the graph makes no noise, {NOTHING}; leave it out")
        unit = " grey levels" if self.processing else ""
        log.info("with dropout, two runs differ by %.2g%s on average", apart.mean(), unit)

    def said(self, row: ExportError) -> str:
        """Return a row in words."""
        return f"{row.batch} of {row.height}x{row.width} pixels: {self.how_far(row)}"

    def how_far(self, row: ExportError) -> str:
        """Return a row's difference in words."""
        if self.processing:
            return f"{row.difference:.0f} grey levels, {100 * row.share:.2g}% of the values"
        return f"{row.difference:.2g}"


def session_of(path: Path) -> "InferenceSession":
    """Load a file as its users do; ValueError if onnx or onnxruntime find fault with it."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    try:
        onnx.checker.check_model(path, full_check=True)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of classes of their own
        raise ValueError(
            f"onnx or onnxruntime cannot load the graph, {NOTHING}; try --opset 18 "
            f"({one_line(error)})"
        ) from None


def run_graph(session: "InferenceSession", x: np.ndarray) -> np.ndarray:
    """Translate a batch; ValueError if onnxruntime cannot."""
    try:
        return session.run(None, {"input": x})[0]
    except Exception as error:
        raise ValueError(
            f"onnxruntime cannot run the graph on {x.shape}, {NOTHING}; --size HEIGHT,WIDTH "
            f"asks for less ({one_line(error)})"
        ) from None
