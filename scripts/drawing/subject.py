"""Find out what to draw for a run: palette labels, lines or photos; and load its examples."""

import contextlib
import logging
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from data.holes.input import HoleInput
from data.holes.mask_files import alpha_mask
from data.inpaint_dataset import InpaintDataset
from data.labels.class_names import names_of_colours
from data.labels.input import LabelInput
from data.labels.palette import exact_palette, find_palette, flat_pixels
from data.value_range import chosen_ranges, read_ranges
from scripts.drawing.labels import SAMPLE, ClassCanvas
from translator import Translator
from util.color import lab_to_rgb
from util.errors import one_line
from util.registry import find_class
from util.sampling import evenly_spaced

log = logging.getLogger(__name__)

LOOKED_AT = 40  # maximum number of images to search for a palette
NEAR = 24  # tolerance in pixel values for paper and for grey
LEAST_PAPER = 0.6  # minimum fraction of bare paper in a line drawing
MOST_AREAS = 0.01  # maximum fraction of ink among its flat pixels
HOLE_BRUSHES = {"#ff3df2": "Hole", "#00e0ff": "Line"}  # colours that show both on any image
SIZE = 256  # minimum side in pixels at which images are analysed


class Inputs:
    """The input images of one phase of a dataset, as the networks receive them."""

    def __init__(self, opt: Any, **changes: Any):
        """`changes` override options; ValueError if there are no images."""
        options = Namespace(**{**vars(opt), "tile": None, **changes})
        self.phase: str = options.phase
        self.side = "B" if opt.direction == "BtoA" else "A"
        self.dataset = find_class("data", opt.dataset_mode, "--dataset_mode")(options)
        self.dataset.ranges = chosen_ranges(opt, read_ranges(opt))
        self.canvas = ClassCanvas(opt) if opt.dataset_mode == "labels" else None
        self.shown = function_to_show(opt)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return image `index`, (H, W, 1 or 3) uint8; label maps have the colours of the canvas.

        An image whose transparent pixels are its hole is (H, W, 4).
        """
        item = self.dataset[index]
        if self.canvas:
            return self.canvas.shown(item["label"])
        if isinstance(self.dataset, InpaintDataset) and self.shows_hole(item["A_paths"]):
            return with_hole(torch.cat([item["A"], item["mask"]]))
        return self.shown(item[self.side] if self.side in item else item["A"])

    def shows_hole(self, path: str) -> bool:
        """Return whether the hole of an image is where the image is transparent."""
        if self.dataset.partner(path):
            return False
        return alpha_mask(self.dataset.read_image(path)) is not None


def function_to_show(opt: Any) -> Callable[[Tensor], np.ndarray]:
    """Return the function that shows an input image of a run (C, H, W) as (H, W, C) uint8."""
    return grey_of_lightness if opt.dataset_mode == "colorization" else exact


def grey_of_lightness(real: Tensor) -> np.ndarray:
    """Return L/50 − 1 of CIE Lab, (1, H, W), as the grey (H, W, 1) uint8 of that lightness."""
    grey = torch.cat([(real.double() + 1) * 50, torch.zeros(2, *real.shape[1:])])
    return exact(lab_to_rgb(grey)[:1] * 2 - 1)


def exact(real: Tensor) -> np.ndarray:
    """Return an input (C, H, W) in [-1, 1] as (H, W, C) uint8, with its file's exact values."""
    return (real + 1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def with_hole(real: Tensor) -> np.ndarray:
    """Return an image and its mask, (4, H, W), as (H, W, 4) uint8, transparent in the hole."""
    alpha = np.where(real[3].numpy() > 0, 0, 255).astype(np.uint8)
    return np.dstack([exact(real[:3]), alpha])


class Subject(NamedTuple):
    """The facts about a run that the page needs."""

    name: str
    kind: str  # labels, lines, photo or holes
    colours: list[tuple[str, str]]  # brush colours: (#rrggbb, name or "")
    paper: str  # background colour of an empty drawing
    size: tuple[int, int]  # (width, height) of an empty drawing
    examples: int
    noise: bool  # whether the seed changes anything
    classes: bool = False  # whether each colour is a class, of which the network gets the number


def describe_run(translator: Translator, opt: Any = None) -> tuple[Subject, Inputs | None]:
    """Describe a run's inputs, and return its examples from --phase (test).

    `opt` (default: that of `translator`) says where they are, and how they are prepared.

    ValueError if the images are neither grey nor RGB, or if --dataroot is given and has no images.
    Without images of the run's own --dataroot, a warning says what the page lacks.
    """
    opt = opt or translator.opt
    check_shown(opt)
    examples = inputs_of(opt, opt.phase)
    for kind, describe in ((HoleInput, describe_holes), (LabelInput, describe_classes)):
        if isinstance(translator.input, kind):
            check_images(opt, examples, "examples")
            return describe(opt, examples), examples
    side = max(opt.crop_size, SIZE)
    large = {"preprocess": "resize_and_crop", "load_size": side, "crop_size": side}
    looked_at = inputs_of(opt, "train", **large)
    looked_at = looked_at or (examples and inputs_of(opt, opt.phase, **large))
    brushes = "" if looked_at else ", and label colours or a pen, which it finds in the images"
    check_images(opt, examples, f"examples{brushes}", looked_at)
    kind, colours, paper = classify_inputs(list(sample(looked_at)) if looked_at else [])
    if kind == "labels":  # the original files may contain rare colours too
        untouched = Inputs(opt, phase=looked_at.phase, preprocess="none")
        if (palette := exact_palette(sample(untouched))) is not None:
            colours, paper = list(palette), palette[0]
    names = names_of_colours(opt, np.reshape(colours, (-1, 3)).astype(np.uint8))
    layers = translator.model.generator().modules()
    noise = any(isinstance(layer, nn.Dropout) and layer.training for layer in layers)
    return (
        Subject(
            name=opt.name,
            kind=kind,
            colours=[*zip(map(code, colours), names, strict=True)],
            paper=code(paper),
            size=size_of(examples, opt),
            examples=len(examples) if examples else 0,
            noise=noise,
        ),
        examples,
    )


def describe_classes(opt: Any, examples: Inputs | None) -> Subject:
    """Describe a run on label maps: its classes are the brush colours."""
    canvas = ClassCanvas(opt)
    return Subject(
        name=opt.name,
        kind="labels",
        colours=canvas.named,
        paper=code(canvas.most_frequent(list(sample(examples, SAMPLE)) if examples else [])),
        size=size_of(examples, opt),
        examples=len(examples) if examples else 0,
        noise=getattr(opt, "use_vae", False) or getattr(opt, "instance_feat", False),
        classes=True,
    )


def describe_holes(opt: Any, examples: Inputs | None) -> Subject:
    """Describe a run that fills holes: its brushes paint a hole and, if guided, lines in it."""
    return Subject(
        name=opt.name,
        kind="holes",
        colours=[*HOLE_BRUSHES.items()][: 1 + opt.guided],
        paper="#ffffff",
        size=size_of(examples, opt),
        examples=len(examples) if examples else 0,
        noise=opt.hole_noise > 0,
    )


def check_shown(opt: Any) -> None:
    """Raise a ValueError if a run's images are neither grey nor RGB, or measurements."""
    if opt.dataset_mode == "measurements":
        raise ValueError(
            f"--name {opt.name}: translates measurements, which have no page; use scripts.translate"
        )
    if opt.direction[0] in chosen_ranges(opt, read_ranges(opt)):
        raise ValueError(
            f"--name {opt.name}: its inputs have a range of values (--range_{opt.direction[0]}), "
            f"and what is drawn has 8 bits; use scripts.translate"
        )
    for flag in ("input_nc", "output_nc"):
        if getattr(opt, flag) not in (1, 3) and opt.model != "colorization":
            raise ValueError(
                f"--name {opt.name}: has --{flag} {getattr(opt, flag)}; the page shows only 1 or "
                f"3 channels; use test.py"
            )


def inputs_of(opt: Any, phase: str, **changes: Any) -> Inputs | None:
    """Return the inputs of a phase, or None if there are none; `check_images` says why."""
    with contextlib.suppress(ValueError, OSError):
        return Inputs(opt, phase=phase, **changes)
    return None


def check_images(
    opt: Any, examples: Inputs | None, lacks: str, others: Inputs | None = None
) -> None:
    """Warn that the page lacks what `lacks` names if there are no examples.

    ValueError if --dataroot is given, and has no `others` of another phase either.
    """
    if examples:
        return
    try:
        Inputs(opt)
    except (ValueError, OSError) as error:
        if "dataroot" in opt.given and not others:
            raise
        why = one_line(error)
        log.warning("the page lacks %s: %s; give --dataroot, the run's data", lacks, why)


def size_of(examples: Inputs | None, opt: Any) -> tuple[int, int]:
    """Return the (width, height) of the first example, else --crop_size."""
    with contextlib.suppress(ValueError, OSError):
        if examples:
            height, width, _ = examples[0].shape
            return width, height
    return opt.crop_size, opt.crop_size


def sample(inputs: Inputs, most: int = LOOKED_AT) -> Iterator[np.ndarray]:
    """Yield some of the images in RGB; skip unreadable ones."""
    for i in evenly_spaced(len(inputs), most):
        with contextlib.suppress(ValueError, OSError):
            image = inputs[i]
            yield np.repeat(image, 3, 2) if image.shape[2] == 1 else image


def classify_inputs(images: list[np.ndarray]) -> tuple[str, list[np.ndarray], np.ndarray]:
    """Return the kind of images (H, W, 3), the brush colours, and the paper's colour."""
    white, black = np.full(3, 255, np.uint8), np.zeros(3, np.uint8)
    if not images:
        return "photo", [], white
    values = np.concatenate([image.reshape(-1, 3) for image in images]).astype(int)
    inside = np.concatenate([flat_pixels(image) for image in images]).astype(int)
    grey = np.mean(np.ptp(values, axis=1) < NEAR) > 0.99
    for paper, ink in ((white, black), (black, white)):
        bare = np.mean(np.abs(values - paper).max(1) < NEAR)
        areas = np.mean(np.abs(inside - paper).max(1) > 127)
        if grey and bare > LEAST_PAPER and areas < MOST_AREAS:
            return "lines", [ink], paper
    palette = find_palette(images)
    if palette is not None:
        return "labels", list(palette), palette[0]
    return "photo", [], white


def code(colour: np.ndarray) -> str:
    """Return a colour as #rrggbb."""
    return "#" + "".join(f"{value:02x}" for value in colour)


def newest_run(checkpoints_dir: Path) -> str:
    """Return the name of the run with the newest generator weights; ValueError if there is none."""
    weights = list(checkpoints_dir.glob("*/*_net_G*.pth")) if checkpoints_dir.is_dir() else []
    if not weights:
        raise ValueError(
            f"--name: {checkpoints_dir} contains no trained run; train one, or "
            f"choose another folder with --checkpoints_dir"
        )
    return max(weights, key=lambda path: path.stat().st_mtime).parent.name
