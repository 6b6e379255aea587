"""The FCN-score of §4.1 for any labels → photo data: can a network segment the outputs?

A segmentation network is trained on the real training photos. Its prediction on an output is
compared with the label map that the output was made from: the more realistic the output, the
better the prediction.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.aligned_dataset import pair_files
from data.channels import to_channels
from data.files.image_files import read_pair
from data.labels.palette import find_palette
from models.segmenter import Examples, Reader, kept_reader
from scripts.evaluation.compare import ImageSet, pixels
from training.label_scores import reader_of_labels
from util.feature_distance import frechet_distance
from util.hashes import hash_files
from util.palette import nearest_colour
from util.segmentation_scores import SCORES, confusion, iou_by_class, largest_classes, scores


def trained_reader(
    pairs: Sequence[tuple[str, str]],
    *,
    labels_are_A: bool,
    size: int,
    alpha: str = "ignore",
    epochs: int,
    cache: Path,
    device: torch.device,
) -> Reader:
    """Train a segmenter on pairs of files (A, B), or load it from `cache`; `alpha` is --alpha.

    ValueError if the label maps have too many colours.
    """
    content = hash_files(dict.fromkeys(file for pair in pairs for file in pair))

    def examples() -> Examples:
        photos, labels = read_pairs(pairs, labels_are_A, size, alpha)
        palette = find_palette(labels)
        if palette is None:
            raise ValueError(
                "--metrics FCN: needs label maps of a few colours as input; these images have more"
            )
        classes = np.stack([nearest_colour(label, palette) for label in labels])
        return Examples(np.stack(photos), classes, palette)

    settings = {"epochs": epochs, "cache": cache, "device": device}
    return kept_reader((content, labels_are_A, size, alpha), examples, **settings)


def read_pairs(
    pairs: Iterable[tuple[str, str]], labels_are_A: bool, size: int, alpha: str = "ignore"
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return photos and label maps, (size, size, 3) uint8; labels keep their colours.

    `alpha` says as --alpha what becomes of transparent pixels.
    """
    photos, labels = [], []
    for paths in pairs:
        images = read_pair(*paths)
        for image, path in zip(images, paths, strict=True):
            if not isinstance(image, Image.Image):
                raise ValueError(f"--metrics FCN: {path} has more than 8 bits or 3 channels")
        A, B = (to_channels(image, 3, alpha) for image in images)
        label, photo = (A, B) if labels_are_A else (B, A)
        photos.append(np.array(photo.resize((size, size), Image.Resampling.BICUBIC)))
        labels.append(np.array(label.resize((size, size), Image.Resampling.NEAREST)))
    return photos, labels


def fcn_of_run(images: ImageSet, args: Any, device: torch.device) -> dict[str, dict[str, float]]:
    """Return each score for a run's outputs and for two references, and FCN-FD of the outputs.

    The references are the real photos (upper bound) and one image of their mean colour (lower
    bound). FCN-FD is the Fréchet distance of outputs and real photos in the segmenter's features.
    ValueError if the run's inputs are not label maps.
    """
    settings = {"epochs": args.fcn_epochs, "cache": args.checkpoints_dir, "device": device}
    opt = images.options
    if opt.dataset_mode == "labels":
        return fcn_scores(reader_of_labels(opt, **settings), images)
    root = Path(opt.dataroot)
    pairs = pair_files(root, "train") if opt.dataset_mode == "aligned" else None
    if not pairs:
        raise ValueError(
            f"--metrics FCN: needs the training pairs of {images.name} in {root}/train "
            f"or trainA and trainB; choose another folder with --dataroot"
        )
    reader = trained_reader(
        list(zip(*pairs, strict=True)),
        labels_are_A=opt.direction == "AtoB",
        size=opt.crop_size,
        alpha=opt.alpha,
        **settings,
    )
    return fcn_scores(reader, images)


def fcn_scores(reader: Reader, images: ImageSet) -> dict[str, dict[str, float]]:
    """Return the scores of `fcn_of_run` from a trained reader; the IoU of classes with names is
    noted with the images.
    """
    kinds, count = ("outputs", "real photos", "mean colour"), len(reader.palette)
    matrices = {kind: torch.zeros(count, count, dtype=torch.long) for kind in kinds}
    rows: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    means = [pixels(path).float().mean((2, 3)) for path in images.real.values()]
    colour = torch.stack(means).mean(0)[..., None, None].byte()
    for name in images.names:
        truth = reader.classes_of(pixels(images.source[name]))
        real = pixels(images.real[name])
        photos = (pixels(images.fake[name]), real, colour.expand_as(real))
        for kind, photo in zip(kinds, photos, strict=True):
            predicted, features = reader.read(photo)
            matrices[kind] += confusion(truth, predicted, count)
            rows[kind].append(features)
    if reader.names:
        images.notes.append(class_note(images.name, reader.names, matrices))
    by_kind = {kind: scores(matrix) for kind, matrix in matrices.items()}
    score_table = {f"FCN {score}": {k: by_kind[k][score] for k in kinds} for score in SCORES}
    if len(images.names) > 1:
        fake, real = (torch.stack(rows[kind]) for kind in kinds[:2])
        score_table["FCN-FD"] = {"outputs": frechet_distance(fake.double(), real.double())}
    return score_table


def class_note(name: str, classes: Sequence[str], matrices: dict[str, Tensor]) -> str:
    """Return a line with the IoU of the largest classes on the outputs and on the real photos."""
    fake, real = (iou_by_class(matrices[kind]).tolist() for kind in ("outputs", "real photos"))
    shown, which = largest_classes(matrices["outputs"])
    texts = [f"{classes[i]} {fake[i]:.2f} ({real[i]:.2f})" for i in shown]
    return f"{name}: FCN IoU by class{which}, in brackets of the real photos: {', '.join(texts)}"
