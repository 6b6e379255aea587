"""A trained run as a Python object: load it, translate pictures. test.py is a thin loop around it.

t = Translator.load("checkpoints/facades")
fake = t.translate(real)        # (N, C, H, W) in [-1, 1], both
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models import create_model
from models.architecture import describe_generator
from models.layers import picture_noise, preserved_statistics
from options.test_options import TestOptions
from util.checkpoint import load_weights
from util.util import picture_seed

log = logging.getLogger(__name__)


class Translator:
    """A run's generator at test time: dropout on and statistics of each picture (§3.3).

    `opt.eval` switches both off. A picture's noise depends on (`opt.seed`, its name) alone.
    """

    def __init__(self, opt: Any):
        """`opt` is what `TestOptions` parses; ValueError if the run's weights do not load."""
        self.opt = opt
        self.model = create_model(opt)
        self.model.setup(opt)
        if opt.eval:
            self.model.eval()

    @classmethod
    def load(cls, run: str | Path, *flags: str) -> "Translator":
        """Load the run in the folder `run`, with flags of test.py such as "--epoch", "100"."""
        run = Path(run)
        folder = ["--checkpoints_dir", str(run.parent), "--name", run.name]
        return cls(TestOptions(infer_options).read([*folder, *flags]))

    def visuals(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Translate a batch of a dataset; return all pictures that the model shows."""
        self.model.set_input(batch)
        self.model.test()
        return self.model.get_current_visuals()

    def translate(self, real: Tensor, names: Sequence[str] | None = None) -> Tensor:
        """Translate (N, input_nc, H, W) in [-1, 1] to (N, output_nc, H, W), each on its own.

        `names` (file names or any others) choose the noise; by default a picture's number.
        """
        channels = self.opt.input_nc
        if not isinstance(real, Tensor) or real.dim() != 4 or real.shape[1] != channels:
            shape = tuple(getattr(real, "shape", ())) or type(real).__name__
            raise ValueError(f"expected a tensor (N, {channels}, H, W), got {shape}")
        if not real.is_floating_point() or not len(real):
            raise ValueError(f"expected floats in [-1, 1], at least one picture; got {real.dtype}")
        names = [str(i) for i in range(len(real))] if names is None else names
        netG = self.model.generator()
        fakes = []
        for picture, name in zip(real.to(self.model.device), names, strict=True):
            noise = picture_noise([picture_seed(self.opt.seed, name)])
            with torch.no_grad(), noise, preserved_statistics([netG]):
                fakes.append(netG(picture[None]))
        return torch.cat(fakes)


def infer_options(run: Path) -> dict[str, Any]:
    """Return the options that a run's weights show, for a run without saved options."""
    files = sorted(run.glob("*_net_G*.pth"), key=lambda p: (not p.name.startswith("latest"), p))
    if not files:
        return {}
    found = describe_generator(load_weights(files[0]))
    if found and files[0].stem.endswith(("_net_G_A", "_net_G_B")):
        found["model"] = "cycle_gan"
        if files[0].stem.endswith("B"):  # it goes the other way
            found["input_nc"], found["output_nc"] = found["output_nc"], found["input_nc"]
    elif (found.get("input_nc"), found.get("output_nc")) == (1, 2):
        found["model"] = "colorization"
    if found:
        flags = " ".join(f"{name}={value}" for name, value in found.items())
        log.info("%s has no saved options; its weights show %s", run, flags)
    return found
