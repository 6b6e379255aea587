"""The FCN-score of a run on label maps: what its segmenter learns from."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.class_names import named_classes
from scripts.evaluation.segmenter import UNKNOWN, Examples, Reader, kept_reader
from util.hashes import hash_files
from util.palette import shown_colours
from util.registry import find_class


def reader_of_labels(opt: Any, args: Any, device: torch.device) -> Reader:
    """Train a segmenter on the label maps and images that a run was trained on.

    `opt` are the run's options of test.py. ValueError if these files are missing.
    """
    dataset, size = training_pairs(opt), opt.crop_size
    content = hash_files([*dataset.label_paths, *dataset.image_paths])
    meaning = (opt.label_nc, opt.label_offset, opt.contain_dontcare_label, opt.label_colours)
    colours = shown_colours(opt)  # the last one is that of unknown pixels

    def examples() -> Examples:
        items = [dataset[i] for i in range(len(dataset))]
        photos = np.stack([levels(item["image"]) for item in items])
        classes = np.stack([item["label"][0].numpy() for item in items])
        return Examples(photos, np.where(classes < opt.label_nc, classes, UNKNOWN), colours[:-1])

    how = {"epochs": args.fcn_epochs, "cache": Path(args.checkpoints_dir), "device": device}
    reader = kept_reader(("labels", content, meaning, size), examples, **how)
    names = [name for _, name in named_classes(opt)]
    reader.names = [f"class {name}" if name.isdecimal() else name for name in names]
    if opt.contain_dontcare_label:
        reader.unknown = colours[-1:]
    return reader


def training_pairs(opt: Any) -> Any:
    """Return the label maps and images of the training, all at --crop_size.

    ValueError names what is missing.
    """
    changes = {"phase": "train", "preprocess": "resize_and_crop", "load_size": opt.crop_size}
    changes |= {"max_dataset_size": float("inf"), "no_flip": True, "tile": None}
    options = Namespace(**{**vars(opt), **changes})
    try:
        dataset = find_class("data", opt.dataset_mode, "--dataset_mode")(options)
    except ValueError as error:
        raise ValueError(f"--metrics FCN: needs the training's label maps; {error}") from None
    if not dataset.image_paths:
        raise ValueError(
            f"--metrics FCN: needs the training images of {opt.name}, and {opt.dataroot} has none; "
            f"choose another folder with --dataroot"
        )
    return dataset


def levels(image: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in [-1, 1] as (H, W, 3) uint8."""
    rgb = image if len(image) == 3 else image[:1].expand(3, -1, -1)
    return (rgb + 1).mul(127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
