"""How well the classes of label maps can be read from generated images (the FCN-score of pix2pix,
§4.1): in a validation, and by `scripts.evaluate`.
"""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.labels.class_names import named_classes
from data.value_range import chosen_ranges, read_ranges
from models.segmenter import Examples, Reader, kept_reader
from options.config_files import read_run
from util.distributed import all_gather, local_main_first
from util.files import run_folder
from util.hashes import hash_files
from util.metrics import MIOU, PIXEL_ACCURACY
from util.palette import shown_colours
from util.registry import find_class
from util.segmentation_scores import UNKNOWN, confusion, iou_by_class, largest_classes, scores

READING = ("output_nc", "alpha", "filter_A", "filter_B")  # flags that change the images
FOLDERS = ("label_dir", "image_dir", "instance_dir")  # flags that name the files of a training
SHOWN = 6  # classes whose IoU each validation tells


class LabelScores:
    """Pixel accuracy and mean IoU of the classes that a segmenter reads in generated images."""

    def __init__(self, opt: Any, device: torch.device):
        """Train the segmenter on the label maps and images of the training, unless it is kept."""
        self.label_nc = opt.label_nc
        with local_main_first():
            setup = {"epochs": opt.fcn_epochs, "cache": Path(opt.checkpoints_dir), "device": device}
            self.reader = reader_of_labels(opt, **setup)
        self.said = False  # whether the scores of the real images are told
        self.restart()

    def restart(self) -> None:
        """Begin another validation."""
        self.of_fake, *others = torch.zeros(3, self.label_nc, self.label_nc).long()
        if not self.said:
            self.of_real, self.of_plain = others

    def add(self, fake: Tensor, real: Tensor, labels: Tensor) -> None:
        """Read outputs and, until `of_references`, real images, (N, C, H, W) uint8, of label maps
        (N, 1, H, W).
        """
        pairs = [(fake, self.of_fake)]
        if not self.said:
            plain = real.float().mean((2, 3), keepdim=True).to(real.dtype).expand_as(real)
            pairs += [(real, self.of_real), (plain, self.of_plain)]
        for images, matrix in pairs:
            for image, label in zip(images, labels, strict=True):
                classes, _ = self.reader.read(rgb(image)[None])
                truth = torch.where(label[0] < self.label_nc, label[0], UNKNOWN).cpu()
                matrix += confusion(truth, classes, self.label_nc)

    def scores(self) -> dict[str, float]:
        """Return both scores of the outputs of all processes."""
        matrices = torch.stack([self.of_fake, self.of_real, self.of_plain])
        self.of_fake, *others = torch.stack(all_gather(matrices)).sum(0)
        if not self.said:
            self.of_real, self.of_plain = others
        return named(self.of_fake)

    def by_class(self) -> str:
        """Return a line with the IoU of the largest classes."""
        classes, note = largest_classes(self.of_fake, most=SHOWN)
        iou = iou_by_class(self.of_fake)
        values = ", ".join(f"{self.reader.names[i]} {iou[i]:.2f}" for i in classes)
        return f"val IoU by class{note}: {values}"

    def of_references(self) -> str:
        """Return a line with the scores of the real images and, if they are no better, of plain
        ones; "" from the second call on, since they stay the same.
        """
        if self.said:
            return ""
        self.said = True
        real, plain = named(self.of_real), named(self.of_plain)
        values = " ".join(f"{name}: {value:.4f}" for name, value in real.items())
        line = f"the real val images have {values}"
        if real[MIOU] > plain[MIOU]:
            return line
        return (
            f"{line}, no better than plain images of their mean colour: the network has learnt too "
            f"little to judge outputs; raise --fcn_epochs"
        )


def named(matrix: Tensor) -> dict[str, float]:
    """Return the two scores of a validation by name."""
    values = scores(matrix)
    return {PIXEL_ACCURACY: values["per-pixel accuracy"], MIOU: values["class IoU"]}


def reader_of_labels(opt: Any, *, epochs: int, cache: Path, device: torch.device) -> Reader:
    """Train a segmenter on the label maps and images that a run is trained on, or load it from
    `cache`.

    `opt` are the run's options. ValueError if these files are missing.
    """
    dataset, size = training_pairs(opt), opt.crop_size
    content = hash_files([*dataset.label_paths, *dataset.image_paths])
    meaning = (opt.label_nc, opt.label_offset, opt.contain_dontcare_label, opt.label_colours)
    reading = [getattr(opt, name, None) for name in READING]
    colours = shown_colours(opt)  # the last one is that of unknown pixels

    def examples() -> Examples:
        items = list(readable(dataset, skip=opt.on_bad_image == "skip"))
        photos = np.stack([levels(item["image"]) for item in items])
        classes = np.stack([item["label"][0].numpy() for item in items])
        return Examples(photos, np.where(classes < opt.label_nc, classes, UNKNOWN), colours[:-1])

    key = ("labels", content, meaning, size, reading, dataset.ranges)
    reader = kept_reader(key, examples, epochs=epochs, cache=cache, device=device)
    names = [name for _, name in named_classes(opt)]
    reader.names = [f"class {name}" if name.isdecimal() else name for name in names]
    if opt.contain_dontcare_label:
        reader.unknown = colours[-1:]
    return reader


def training_pairs(opt: Any) -> Any:
    """Return the label maps and images of the training, all at --crop_size.

    ValueError names what is missing.
    """
    flag = "--fcn_epochs" if opt.isTrain else "--metrics FCN"
    changes = {"preprocess": "resize_and_crop", "load_size": opt.crop_size}
    changes |= {"no_flip": True, "tile": None, "serial_batches": True, "label_aug": 0.0}
    if not opt.isTrain:  # the test may be of other folders
        trained = read_run(run_folder(opt))
        changes |= {"max_dataset_size": float("inf"), "phase": trained.get("phase", "train")}
        changes |= {name: trained.get(name) for name in FOLDERS} if trained else {}
    options = Namespace(**{**vars(opt), **changes})
    try:
        dataset = find_class("data", opt.dataset_mode, "--dataset_mode")(options)
    except ValueError as error:
        raise ValueError(f"{flag}: needs the training's label maps; {error}") from None
    if not dataset.image_paths:
        raise ValueError(
            f"{flag}: needs the training images of {opt.name}, and {opt.dataroot} has none; "
            f"choose another folder with --dataroot"
        )
    dataset.ranges = chosen_ranges(opt, read_ranges(opt))
    return dataset


def readable(dataset: Any, skip: bool) -> Iterator[dict[str, Any]]:
    """Yield the items of a dataset; with `skip`, those that cannot be read are left out."""
    for index in range(len(dataset)):
        try:
            yield dataset[index]
        except ValueError:  # the loader has named it
            if not skip:
                raise


def levels(image: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in [-1, 1] as (H, W, 3) uint8."""
    return (rgb(image) + 1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def rgb(image: Tensor) -> Tensor:
    """Return an image (C, H, W) as (3, H, W); of other than 3 channels, the first is shown."""
    return image if len(image) == 3 else image[:1].expand(3, -1, -1)
