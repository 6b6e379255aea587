"""The FCN-score of §4.1 for any labels → photo data: can a network segment the outputs?

A segmentation network is trained on the real training photos. Its prediction on an output is
compared with the label map that the output was made from: the more realistic the output, the
better the prediction.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from data.aligned_dataset import pair_files
from data.image_files import read_pair
from data.label_palette import find_palette
from options.config_files import read_run
from scripts.evaluation.compare import ImageSet, pixels
from scripts.evaluation.network_metrics import frechet_distance, missing_packages
from util.checkpoint import load, save
from util.hashes import hash_files
from util.palette import nearest_colour

log = logging.getLogger(__name__)

SCORES = ("per-pixel accuracy", "per-class accuracy", "class IoU")
WIDTH, LEVELS, BATCH, RATE = 16, 4, 8, 2e-3


class Segmenter(nn.Module):
    """A U-Net from a photo (N, 3, H, W) in [-1, 1] to the logits of each pixel's class.

    Also returns `features` (N, 8 · WIDTH), the mean of the lowest level.
    """

    def __init__(self, classes: int):
        super().__init__()
        widths = [WIDTH * min(2**level, 8) for level in range(LEVELS + 1)]
        self.enter = block(3, widths[0])
        self.down = nn.ModuleList(block(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.up = nn.ModuleList(block(a + b, a) for a, b in zip(widths, widths[1:], strict=False))
        self.leave = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        height, width = x.shape[-2:]
        multiple = 2**LEVELS
        x = F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        kept = [self.enter(x)]
        for down in self.down:
            kept.append(down(F.max_pool2d(kept[-1], 2)))
        y = kept.pop()
        features = y.mean((2, 3))
        for up in reversed(self.up):
            y = up(torch.cat([F.interpolate(y, scale_factor=2.0), kept.pop()], 1))
        return self.leave(y)[..., :height, :width], features


def block(before: int, after: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in (before, after):
        conv = nn.Conv2d(width, after, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


@dataclass
class Reader:
    """A trained segmenter, and the label colour of each of its classes."""

    net: Segmenter
    palette: np.ndarray
    device: torch.device

    def read(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return the classes (H, W) and the features of a photo (1, 3, H, W) uint8."""
        with torch.inference_mode():
            logits, features = self.net(photo.to(self.device).float() / 127.5 - 1)
        return logits[0].argmax(0).cpu(), features[0].cpu()

    def classes_of(self, labels: Tensor) -> Tensor:
        """Return the classes (H, W) of a label map (1, 3, H, W) uint8."""
        image = labels[0].permute(1, 2, 0).numpy()
        return torch.from_numpy(nearest_colour(image, self.palette))


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
    key = repr((content, labels_are_A, size, epochs, WIDTH, LEVELS, BATCH, RATE))
    path = cache / f"fcn_{hashlib.sha256(key.encode()).hexdigest()[:16]}.pth"
    if path.exists():
        kept = load(path)
        palette = kept["palette"].numpy()
        net = Segmenter(len(palette))
        net.load_state_dict(kept["weights"])
        return Reader(net.to(device).eval(), palette, device)
    photos, labels = read_pairs(pairs, labels_are_A, size)
    palette = find_palette(labels)
    if palette is None:
        raise ValueError(
            "--metrics FCN: needs label maps of a few colours as input; these images have more"
        )
    classes = torch.from_numpy(np.stack([nearest_colour(p, palette) for p in labels]))
    log.info("FCN: %d label colours; training on %d images", len(palette), len(photos))
    net = train(torch.from_numpy(np.stack(photos)), classes, len(palette), epochs, device)
    cache.mkdir(parents=True, exist_ok=True)
    save({"palette": torch.from_numpy(palette), "weights": on_cpu(net.state_dict())}, path)
    return Reader(net, palette, device)


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


def train(
    photos: Tensor, classes: Tensor, count: int, epochs: int, device: torch.device
) -> Segmenter:
    """Train on photos (N, H, W, 3) uint8 and their classes (N, H, W) from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Segmenter(count).to(device)
        optimizer = torch.optim.Adam(net.parameters(), RATE)
        steps = epochs * -(-len(photos) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in tqdm(range(epochs), desc="FCN", unit="epoch", disable=None):
            for batch in torch.randperm(len(photos)).split(BATCH):
                x = photos[batch].permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
                y = classes[batch].to(device)
                if torch.rand(()) < 0.5:
                    x, y = x.flip(-1), y.flip(-1)
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(net(x)[0], y).backward()
                optimizer.step()
                schedule.step()
    return net.eval()


def on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.cpu() for key, value in state.items()}


def confusion(truth: Tensor, found: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix in pixels: true classes in rows, predicted ones in columns."""
    both = truth.flatten() * classes + found.flatten()
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


def fcn_of_run(images: ImageSet, args: Any, device: torch.device) -> dict[str, dict[str, float]]:
    """Return each score for a run's outputs and for two references, and FCN-FD of the outputs.

    The references are the real photos (upper bound) and one image of their mean colour (lower
    bound). FCN-FD is the Fréchet distance of outputs and real photos in the segmenter's features.
    ValueError if the run's inputs are not label maps.
    """
    opt = read_run(args.checkpoints_dir / images.name)
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
    """Return the scores of `fcn_of_run` from a trained reader."""
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
    by_kind = {kind: scores(matrix) for kind, matrix in matrices.items()}
    found = {f"FCN {score}": {k: by_kind[k][score] for k in kinds} for score in SCORES}
    if missing_packages():
        images.notes.append(f"{images.name}: no FCN-FD without {' and '.join(missing_packages())}")
    elif len(images.names) > 1:
        fake, real = (torch.stack(rows[kind]) for kind in kinds[:2])
        found["FCN-FD"] = {"outputs": frechet_distance(fake, real)}
    return found
