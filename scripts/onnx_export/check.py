"""Check that an exported graph translates as test.py does, at several sizes."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from data.holes.input import HoleInput
from data.holes.random_holes import box_mask
from data.labels.input import LabelInput
from models.semantic import FromLabels
from translator import Translator
from util.errors import one_line
from util.names import legible
from util.util import tensor2im

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

log = logging.getLogger(__name__)

NOTHING = "nothing is written"


class ExportError(NamedTuple):
    """The difference of a batch from PyTorch: the maximum and the fraction of values that differ.

    The maximum is in [-1, 1], or in grey levels for uint8.
    """

    batch: int
    height: int
    width: int
    difference: float
    share: float


class Check:
    """Compares graphs with a translator on random images."""

    def __init__(
        self,
        translator: Translator,
        *,
        size: tuple[int, int] | None,
        processing: bool,
        tolerance: float,
    ):
        """`size` is the (height, width) of a graph of fixed size. With `processing`, the graph
        takes uint8 (N, H, W, C).
        """
        self.translator, self.size, self.tolerance = translator, size, tolerance
        self.processing = processing

    def batch(self, count: int, height: int, width: int) -> np.ndarray:
        """Draw random images in the graph's input format."""
        rng, opt = np.random.default_rng(0), self.translator.opt
        if isinstance(labels := self.translator.input, LabelInput):
            return label_batch(labels, rng, (count, height, width), self.processing)
        if isinstance(holes := self.translator.input, HoleInput):
            return hole_batch(holes, rng, (count, height, width))
        if not self.processing:
            shape = (count, opt.input_nc, height, width)
            return rng.uniform(-1, 1, shape).astype(np.float32)
        channels = 3 if opt.model == "colorization" else opt.input_nc
        return rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)

    def example(self) -> np.ndarray:
        """Return a batch for tracing the network."""
        crop = self.translator.opt.crop_size
        return self.batch(2, *(self.size or (crop, 2 * crop)))

    def inputs(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the inputs of a graph by name, of a batch as `translate` takes it."""
        if not isinstance(self.translator.input, HoleInput):
            return {"input": batch}
        names = ["image", *self.translator.input.parts]
        return dict(zip(names, batch.split([3] + [1] * (len(names) - 1), 1), strict=True))

    def sizes(self) -> list[tuple[int, int, int]]:
        """Return the (batch, height, width) to compare, starting with the training size."""
        if self.size:
            return [(count, *self.size) for count in (1, 2, 3)]
        crop, net = self.translator.opt.crop_size, self.translator.model.generator()
        net = net.net if isinstance(net, FromLabels) and net.classes else net
        if not hasattr(net, "min_size"):  # may not accept every size
            return [(1, crop, crop), (2, crop, 2 * crop), (3, 2 * crop, crop)]
        odd, above = (2, crop - 1, crop // 2 + 3), (1, net.stride + 1, net.stride // 2 + 1)
        # Not 3x2: padding repeats so few pixels that a norm sees one colour and divides rounding
        # errors by rounding errors.
        return [(1, crop, crop), odd, above, (3, 9, 7), (1, 1, 33)]

    def compare(self, path: Path) -> list[ExportError]:
        """Return the differences of the graph in a file; ValueError if one is too large.

        For uint8, values may differ by one grey level, since a tiny difference can change the
        rounding; their fraction must not exceed what a difference of the tolerance causes.
        """
        session, rows = session_of(path), []
        log.info("largest differences from PyTorch:")
        for size in self.sizes():
            rows.append(self.measured(session, self.batch(*size)))
            log.info("  %s", self.said(rows[-1]))
        worst = ExportError(*np.max(rows, axis=0))  # NaN propagates
        most, share = (1, 127.5 * self.tolerance) if self.processing else (self.tolerance, 1)
        if not (worst.difference <= most and worst.share <= share):
            raise ValueError(
                f"the graph differs from PyTorch by {self.how_far(worst)}, more than --tolerance "
                f"{self.tolerance:g} allows: {NOTHING}; try another --opset or --size"
            )
        log.info("overall: %s", self.how_far(worst))
        return rows

    def measured(self, session: "InferenceSession", x: np.ndarray) -> ExportError:
        """Return the difference of a session's translation of a batch from the translator's."""
        inputs = self.inputs(torch.from_numpy(x))
        output = run_graph(session, {name: tensor.numpy() for name, tensor in inputs.items()})
        if getattr(self.translator.opt, "use_vae", False):
            expected = self.with_mean_style(x)
        elif self.processing:
            expected = np.stack(self.translator(list(x)))
        else:
            expected = self.translator.translate(torch.from_numpy(x)).numpy()
        if (output.shape, output.dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"the graph returns {output.dtype} {output.shape}, PyTorch {expected.dtype} "
                f"{expected.shape}: {NOTHING}"
            )
        difference = np.abs(output.astype(np.float32) - expected.astype(np.float32))
        height, width = x.shape[1:3] if self.processing else x.shape[2:]
        return ExportError(
            len(x), height, width, float(difference.max()), float((difference != 0).mean())
        )

    def with_mean_style(self, x: np.ndarray) -> np.ndarray:
        """Translate a batch with the style z = 0 of the graph of a VAE."""
        t, model = self.translator, self.translator.model
        real = [t.prepare(image) for image in x] if self.processing else list(torch.from_numpy(x))
        labels = t.input.check(torch.stack(real), None)
        with model.test_mode(map(str, range(len(labels)))):
            fake = model.synthesis(labels, labels.new_zeros(len(labels), t.opt.z_dim))
        return np.stack([tensor2im(image) for image in fake]) if self.processing else fake.numpy()

    def compare_noise(self, path: Path) -> None:
        """Run the noisy graph in a file twice; ValueError unless the images differ."""
        x, session = {"input": self.batch(*self.sizes()[0])}, session_of(path)
        runs = np.stack([run_graph(session, x), run_graph(session, x)]).astype(np.float32)
        if not np.isfinite(runs).all() or not (difference := np.abs(runs[0] - runs[1])).any():
            raise ValueError(f"--dropout: the graph has no noise, {NOTHING}; leave it out")
        unit = " grey levels" if self.processing else ""
        log.info("with dropout, two runs differ by %.2g%s on average", difference.mean(), unit)

    def said(self, row: ExportError) -> str:
        """Describe a row in words."""
        return f"{row.batch} of {row.height}x{row.width} pixels: {self.how_far(row)}"

    def how_far(self, row: ExportError) -> str:
        """Describe the difference of a row in words."""
        if self.processing:
            return f"{row.difference:.0f} grey levels, {100 * row.share:.2g}% of the values"
        return f"{row.difference:.2g}"


def label_batch(
    labels: LabelInput, rng: np.random.Generator, shape: tuple[int, int, int], processing: bool
) -> np.ndarray:
    """Draw random label maps (N, H, W) in the graph's input format: class numbers, and edges."""
    count, height, width = shape
    last = labels.label_nc + labels.dontcare
    if processing:
        return rng.integers(0, last, (*shape, 1), dtype=np.uint8)
    numbers = rng.integers(0, last, (count, 1, height, width))
    edges = rng.integers(0, 2, (count, labels.channels - 1, height, width))
    return np.concatenate([numbers, edges], 1)


def hole_batch(
    holes: HoleInput, rng: np.random.Generator, shape: tuple[int, int, int]
) -> np.ndarray:
    """Draw random images (N, H, W) with a hole each, and the lines of sketches if there are any."""
    count, height, width = shape
    parts = [rng.uniform(-1, 1, (count, 3, height, width)), np.zeros((count, 1, height, width))]
    for i in range(count):
        parts[1][i, 0] = box_mask((width, height), rng)
    if holes.guided:
        parts.append(rng.random((count, 1, height, width)) < 0.1)
    return np.concatenate(parts, 1).astype(np.float32)


def session_of(path: Path) -> "InferenceSession":
    """Load a file with onnxruntime; ValueError if onnx or onnxruntime reject it."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    # Both take names in UTF-8 only.
    source = path if legible(str(path)) == str(path) else path.read_bytes()
    try:
        onnx.checker.check_model(source, full_check=True)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the packages have their own exception classes
        raise ValueError(
            f"onnx or onnxruntime cannot load the graph, {NOTHING}; try --opset 18 "
            f"({one_line(error)})"
        ) from None


def run_graph(session: "InferenceSession", inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Translate a batch; ValueError if onnxruntime cannot."""
    try:
        return session.run(None, inputs)[0]
    except Exception as error:
        shapes = " ".join(str(x.shape) for x in inputs.values())
        raise ValueError(
            f"onnxruntime cannot run the graph on {shapes}, {NOTHING}; --size HEIGHT,WIDTH "
            f"makes a simpler graph ({one_line(error)})"
        ) from None
