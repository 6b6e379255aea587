"""The segmentation network of the FCN-score (pix2pix §4.1): its training, and what it reads in
photos.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from util.checkpoint import load, save
from util.errors import RunStopped, one_line
from util.palette import nearest_colour
from util.seeding import seeded
from util.segmentation_scores import UNKNOWN

log = logging.getLogger(__name__)

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
        skips = [self.enter(x)]
        for down in self.down:
            skips.append(down(F.max_pool2d(skips[-1], 2)))
        y = skips.pop()
        features = y.mean((2, 3))
        for up in reversed(self.up):
            y = up(torch.cat([F.interpolate(y, scale_factor=2.0), skips.pop()], 1))
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
    names: Sequence[str] = ()  # of the classes
    unknown: np.ndarray | None = None  # (1, 3): the colour of pixels that do not count

    def read(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return the classes (H, W) and the features of a photo (1, 3, H, W) uint8."""
        with torch.inference_mode():
            logits, features = self.net(photo.to(self.device).float() / 127.5 - 1)
        return logits[0].argmax(0).cpu(), features[0].cpu()

    def classes_of(self, labels: Tensor) -> Tensor:
        """Return the classes (H, W) of a label map (1, 3, H, W) uint8, UNKNOWN among them."""
        image = labels[0].permute(1, 2, 0).numpy()
        colours = self.palette
        if self.unknown is not None:
            colours = np.concatenate([colours, self.unknown])
        classes = nearest_colour(image, colours)
        return torch.from_numpy(np.where(classes < len(self.palette), classes, UNKNOWN))


class Examples(NamedTuple):
    """What a segmenter learns from: photos (N, H, W, 3) uint8, their classes (N, H, W), UNKNOWN
    among them, and the colour of each class, (K, 3) uint8.
    """

    photos: np.ndarray
    classes: np.ndarray
    palette: np.ndarray


def kept_reader(
    what: Sequence[object],
    examples: Callable[[], Examples],
    *,
    epochs: int,
    cache: Path,
    device: torch.device,
) -> Reader:
    """Train a segmenter on `examples`, or load it from `cache`, where `what` tells it apart."""
    key = repr((*what, epochs, WIDTH, LEVELS, BATCH, RATE))
    path = cache / f"fcn_{hashlib.sha256(key.encode()).hexdigest()[:16]}.pth"
    if path.exists():
        checkpoint = load(path)
        palette = checkpoint["palette"].numpy()
        with seeded(0):  # its first weights draw no numbers of a training
            net = Segmenter(len(palette))
        net.load_state_dict(checkpoint["weights"])
        return Reader(net.to(device).eval(), palette, device)
    photos, classes, palette = examples()
    log.info("FCN: %d classes; training on %d images", len(palette), len(photos))
    images, labels = torch.from_numpy(photos), torch.from_numpy(classes)
    net = train(images, labels, len(palette), epochs, device)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        save({"palette": torch.from_numpy(palette), "weights": on_cpu(net.state_dict())}, path)
    except (RunStopped, OSError) as error:  # it only spares time
        log.warning("FCN: its weights are not kept (%s)", one_line(error))
    return Reader(net, palette, device)


def train(
    photos: Tensor, classes: Tensor, count: int, epochs: int, device: torch.device
) -> Segmenter:
    """Train on photos (N, H, W, 3) uint8 and their classes (N, H, W) from a fixed seed."""
    with seeded(0):
        net = Segmenter(count).to(device)
        optimizer = torch.optim.Adam(net.parameters(), RATE)
        steps = epochs * -(-len(photos) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in tqdm(range(epochs), desc="FCN", unit="epoch", disable=None):
            for batch in torch.randperm(len(photos)).split(BATCH):
                x = photos[batch].permute(0, 3, 1, 2).to(device).float() / 127.5 - 1
                y = classes[batch].to(device)
                if (y == UNKNOWN).all():  # nothing to learn from
                    continue
                if torch.rand(()) < 0.5:
                    x, y = x.flip(-1), y.flip(-1)
                optimizer.zero_grad(set_to_none=True)
                F.cross_entropy(net(x)[0], y).backward()
                optimizer.step()
                schedule.step()
    return net.eval()


def on_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.cpu() for key, value in state.items()}
