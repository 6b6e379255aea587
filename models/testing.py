"""How networks run at test time (§3.3): each picture's own statistics and noise, no gradients."""

import contextlib
import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

from models.layers import by_picture, picture_noise, preserved_statistics
from models.networks import Generator
from models.tiling import Tiles
from util.device import round_weights
from util.util import picture_seed

if TYPE_CHECKING:
    from models.base_model import BaseModel

log = logging.getLogger(__name__)


def make_ready(model: "BaseModel") -> None:
    """Prepare a model's networks, whose weights are loaded, as the options of test.py say."""
    opt = model.opt
    for net in model.nets.values():
        by_picture(net)
        if opt.precision == "bf16":
            round_weights(net)
        for module in net.modules() if opt.dropout_at_test == "off" else ():
            if isinstance(module, nn.Dropout):
                module.eval()
    if opt.eval:
        model.eval()
    for net in model.nets.values() if opt.tile else ():
        if not isinstance(net, Generator):
            raise ValueError(f"--tile: {type(net).__name__} is no networks.Generator")
        tiles = net.model = Tiles(net, opt.tile, opt.overlap)
        log.info("%s", tiles.describe())


@contextlib.contextmanager
def at_test_time(
    model: "BaseModel", names: Iterable[str], seed: int | None = None
) -> Iterator[None]:
    """Within it, the networks translate a batch of pictures as test.py does.

    The noise of each depends on `seed` (default: --seed) and the stem of its name alone.
    """
    seed = model.opt.seed if seed is None else seed
    noise = picture_noise([picture_seed(seed, name) for name in names])
    with torch.inference_mode(), noise, preserved_statistics(model.nets.values()):
        yield
