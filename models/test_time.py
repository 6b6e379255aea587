"""How networks run at test time (§3.3): each image's own statistics and noise, no gradients."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from models.batch_norm import use_per_image_batch_norm
from models.image_noise import per_image_dropout
from models.networks import Generator
from models.tiling import Tiles
from util.seeding import image_seed

log = logging.getLogger(__name__)


def prepare_for_test(nets: dict[str, nn.Module], opt: Any) -> None:
    """Prepare networks with loaded weights as the options of test.py say."""
    for net in nets.values():
        use_per_image_batch_norm(net)
        if opt.precision == "bf16":
            round_weights(net)
        for module in net.modules() if opt.dropout_at_test == "off" else ():
            if isinstance(module, nn.Dropout):
                module.eval()
    for net in nets.values() if opt.tile else ():
        if not isinstance(net, Generator):
            raise ValueError(
                f"--tile: is not for --model {opt.model}, whose {type(net).__name__} is no "
                f"networks.Generator; leave it out"
            )
        use_tiles(net, opt.tile, opt.overlap)


def use_tiles(net: Generator, tile: int, overlap: int | None = None) -> None:
    """Let a generator translate in tiles from now on, and log how."""
    tiles = net.model = Tiles(net, tile, overlap)
    log.info("%s", tiles.describe())


def round_weights(net: nn.Module) -> None:
    """Keep the weights of convolutions as bf16, to which autocast would cast them in each pass."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(torch.bfloat16)


@contextlib.contextmanager
def test_mode(nets: Iterable[nn.Module], names: Iterable[str], seed: int) -> Iterator[None]:
    """Within it, networks translate a batch of images as test.py does.

    The noise of each image depends on `seed` and the stem of its name alone.
    """
    noise = per_image_dropout([image_seed(seed, name) for name in names])
    with torch.inference_mode(), noise, preserved_statistics(nets):
        yield


@contextlib.contextmanager
def eval_mode(nets: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, networks use running statistics and no dropout."""
    trained = {module for net in nets for module in net.modules() if module.training}
    for module in trained:
        module.training = False
    try:
        yield
    finally:
        for module in trained:
            module.training = True


@contextlib.contextmanager
def preserved_statistics(nets: Iterable[nn.Module]) -> Iterator[None]:
    """Within it, forward passes in training mode leave no trace in the batch-norm statistics."""
    saved = [(b, b.clone()) for net in nets for b in net.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in saved:
                buffer.copy_(value)
