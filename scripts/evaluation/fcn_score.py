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
from data.image_files import read_pair
from data.label_palette import find_palette
from options.config_files import read_run
from scripts.evaluation.compare import ImageSet, pixels
from scripts.evaluation.fcn_labels import reader_of_labels
from scripts.evaluation.network_metrics import frechet_distance, missing_packages
from scripts.evaluation.segmenter import UNKNOWN, Examples, Reader, kept_reader
from util.hashes import hash_files
from util.palette import nearest_colour

MOST_NAMED = 24  # classes whose IoU is noted
SCORES = ("per-pixel accuracy", "per-class accuracy", "class IoU")


def trained_reader(
    pairs: Sequence[tuple[str, str]],
    *,
    labels_are_A: bool,
    size: int,
    epochs: int,
    cache: Path,
    device: torch.device,
) -> Reader:
    """Train a segmenter on pairs of files (A, B), or load it from `cache`.

    ValueError if the label maps have too many colours.
    """
    content = hash_files(dict.fromkeys(file for pair in pairs for file in pair))

    def examples() -> Examples:
        photos, labels = read_pairs(pairs, labels_are_A, size)
        palette = find_palette(labels)
        if palette is None:
            raise ValueError(
                "--metrics FCN: needs label maps of a few colours as input; these images have more"
            )
        classes = np.stack([nearest_colour(label, palette) for label in labels])
        return Examples(np.stack(photos), classes, palette)

    how = {"epochs": epochs, "cache": cache, "device": device}
    return kept_reader((content, labels_are_A, size), examples, **how)


def read_pairs(
    pairs: Iterable[tuple[str, str]], labels_are_A: bool, size: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return photos and label maps, (size, size, 3) uint8; labels keep their colours."""
    photos, labels = [], []
    for paths in pairs:
        A, B = read_pair(*paths)
        label, photo = (A, B) if labels_are_A else (B, A)
        for image, path in zip((A, B), paths, strict=True):
            if not isinstance(image, Image.Image):
                raise ValueError(f"--metrics FCN: {path} has more than 8 bits or 3 channels")
        photos.append(np.array(photo.resize((size, size), Image.Resampling.BICUBIC)))
        labels.append(np.array(label.resize((size, size), Image.Resampling.NEAREST)))
    return photos, labels


def confusion(truth: Tensor, found: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix in pixels: true classes in rows, predicted ones in columns.

    Pixels whose true class is UNKNOWN do not count.
    """
    known = truth != UNKNOWN
    both = truth[known] * classes + found[known]
    return torch.bincount(both, minlength=classes**2).view(classes, classes)


def scores(matrix: Tensor) -> dict[str, float]:
    """Return the three scores of §4.1; classes missing from the truth are ignored.

    Source: Long et al., arXiv:1411.4038, §5 (pixel accuracy, mean accuracy, mean IU).
    """
    right, truth, found = matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()
    there = truth > 0
    values = (
        right.sum() / truth.sum(),
        (right / truth)[there].mean(),
        (right / (truth + found - right))[there].mean(),
    )
    return {score: value.item() for score, value in zip(SCORES, values, strict=True)}


def iou_by_class(matrix: Tensor) -> Tensor:
    """Return the IoU of each class, (K,) float64; NaN for one that the truth lacks."""
    right, truth, found = matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()
    return torch.where(truth > 0, right / (truth + found - right), torch.nan)


def fcn_of_run(images: ImageSet, args: Any, device: torch.device) -> dict[str, dict[str, float]]:
    """Return each score for a run's outputs and for two references, and FCN-FD of the outputs.

    The references are the real photos (upper bound) and one image of their mean colour (lower
    bound). FCN-FD is the Fréchet distance of outputs and real photos in the segmenter's features.
    ValueError if the run's inputs are not label maps.
    """
    if images.options is not None and images.options.dataset_mode == "labels":
        return fcn_scores(reader_of_labels(images.options, args, device), images)
    opt = read_run(args.checkpoints_dir / (images.run or images.name))
    root = Path(args.dataroot or opt.get("dataroot") or "")
    pairs = pair_files(root, "train") if opt.get("dataset_mode", "aligned") == "aligned" else None
    if not pairs:
        raise ValueError(
            f"--metrics FCN: needs the training pairs of {images.name} in {root}/train "
            f"or trainA and trainB; choose another folder with --dataroot"
        )
    reader = trained_reader(
        list(zip(*pairs, strict=True)),
        labels_are_A=opt.get("direction", "AtoB") == "AtoB",
        size=int(opt.get("crop_size", 256)),
        epochs=args.fcn_epochs,
        cache=args.checkpoints_dir,
        device=device,
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
        shown = (pixels(images.fake[name]), real, colour.expand_as(real))
        for kind, photo in zip(kinds, shown, strict=True):
            found, features = reader.read(photo)
            matrices[kind] += confusion(truth, found, count)
            rows[kind].append(features)
    if reader.names:
        images.notes.append(class_note(images.name, reader.names, matrices))
    by_kind = {kind: scores(matrix) for kind, matrix in matrices.items()}
    found = {f"FCN {score}": {k: by_kind[k][score] for k in kinds} for score in SCORES}
    if missing_packages():
        images.notes.append(f"{images.name}: no FCN-FD without {' and '.join(missing_packages())}")
    elif len(images.names) > 1:
        fake, real = (torch.stack(rows[kind]) for kind in kinds[:2])
        found["FCN-FD"] = {"outputs": frechet_distance(fake, real)}
    return found


def class_note(name: str, classes: Sequence[str], matrices: dict[str, Tensor]) -> str:
    """Return a line with the IoU of the largest classes on the outputs and on the real photos."""
    fake, real = (iou_by_class(matrices[kind]).tolist() for kind in ("outputs", "real photos"))
    sizes = matrices["outputs"].sum(1)
    there = [i for i in sizes.argsort(descending=True).tolist() if sizes[i]]
    each = [f"{classes[i]} {fake[i]:.2f} ({real[i]:.2f})" for i in there[:MOST_NAMED]]
    which = f" (the {MOST_NAMED} largest of {len(there)})" if len(there) > MOST_NAMED else ""
    return f"{name}: FCN IoU by class{which}, in brackets of the real photos: {', '.join(each)}"
