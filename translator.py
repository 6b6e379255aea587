"""A trained run as a Python object: load it, translate images. test.py is a thin loop around it.

t = Translator.load("checkpoints/facades")
t("sketch.png").save("photo.png")
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.base_dataset import BaseDataset, prefix_errors
from data.image_folder import make_dataset
from data.image_types import high_depth_values
from data.user_input import Source, as_image
from data.value_range import chosen_ranges, read_ranges
from models import create_model
from models.weights import infer_options
from options.base_options import Options
from options.test_options import TestOptions
from util.registry import find_class
from util.util import tensor2im


class Translator:
    """A run's generator at test time: dropout on and statistics of each image (§3.3).

    `opt.eval` switches both off. An image's noise depends on (seed, its name) alone. Threads can
    share a translator.
    """

    def __init__(self, opt: Any):
        """`opt` is what `TestOptions` parses; ValueError if the run's weights do not load."""
        self.opt = opt
        self.model = create_model(opt)
        self.model.setup(opt)
        dataset = find_class("data", opt.dataset_mode, "--dataset_mode")
        preprocessor = getattr(dataset, "single_preprocessor", BaseDataset.single_preprocessor)
        kept = read_ranges(opt)
        self._ranges = chosen_ranges(opt, kept)
        self._preprocess_single = preprocessor(opt, self._ranges)
        self._side = "B" if opt.direction == "BtoA" else "A"
        self._target = kept.get("A" if self._side == "B" else "B")  # if outputs are deep

    @classmethod
    def load(cls, run: str | Path, *flags: str, **options: Any) -> "Translator":
        """Load the run in the folder `run`; `options` are flags of test.py, such as epoch="best",
        eval=True, preprocess="none", gpu_ids=-1, also to be given as "--epoch", "best".

        ValueError names the option or the file that is wrong.
        """
        run = _folder_of(run)
        folder = ["--checkpoints_dir", str(run.parent), "--name", run.name]
        given = {n: v for n, v in options.items() if v is not None and v is not False}
        named = [f"--{name}" if v is True else f"--{name}={v}" for name, v in given.items()]
        return cls(run_options([*folder, *flags, *named]))

    def __call__(self, images: Any, seed: int | None = None) -> Any:
        """Translate an image, or several: what goes in decides what comes out.

        A file or a PIL image gives a PIL image; an array (H, W) or (H, W, C), uint8 in 0..255,
        gives (H, W, C) uint8; a tensor (C, H, W) in [-1, 1] such a tensor. A list gives a list, an
        array or a tensor with one dimension more a batch, a folder a dict of all files below it.
        Files, PIL images and arrays are prepared as by test.py (channels, --preprocess, values),
        but cropped in their middle; tensors are taken as they are. Outputs of a run whose targets
        are high-bit-depth images are arrays in the values of its files.

        `seed` chooses the noise (default: --seed), with the file's stem or, without a file, the
        image's number in the list or batch. ValueError says which image cannot be used.
        """
        if isinstance(images, str | Path) and os.path.isdir(images):
            files = make_dataset(images, flag="images")
            return dict(zip(files, self.each(files, seed), strict=True))
        if isinstance(images, list | tuple):
            return list(self.each(images, seed))
        if getattr(images, "ndim", 0) != 4:
            return next(self.each([images], seed))
        if not len(images):
            raise ValueError("expected at least one image, got an empty batch")
        stack = torch.stack if isinstance(images, Tensor) else np.stack
        return stack(list(self.each(images, seed)))

    def each(self, images: Iterable[Source | Tensor], seed: int | None = None) -> Iterator[Any]:
        """Yield the translation of each image, as `__call__` gives it, a batch of --batch_size
        images of one size at a time, so that no more are held in memory.
        """
        if isinstance(images, str | Path):
            raise ValueError(f"each: expected several images, got {images}; t(…) takes one")
        batch: list[tuple[Any, Tensor, str]] = []
        for number, image in enumerate(images):
            real, name = self._to_input(image, number)
            if batch and (len(batch) == self.opt.batch_size or batch[0][1].shape != real.shape):
                yield from self._translate_batch(batch, seed)
                batch = []
            batch.append((image, real, name))
        if batch:
            yield from self._translate_batch(batch, seed)

    def translate(
        self, real: Tensor, names: Sequence[str] | None = None, seed: int | None = None
    ) -> Tensor:
        """Translate (N, input_nc, H, W) in [-1, 1] to (N, output_nc, H, W), each on its own.

        `names` (file names or any others) choose the noise; by default an image's number.
        ValueError names an image with values beyond [-1.5, 1.5].
        """
        channels = self.opt.input_nc
        if not isinstance(real, Tensor) or real.dim() != 4 or real.shape[1] != channels:
            shape = tuple(getattr(real, "shape", ())) or type(real).__name__
            raise ValueError(f"expected a tensor (N, {channels}, H, W), got {shape}")
        if not real.is_floating_point() or not real.numel():
            raise ValueError(
                f"expected floats in [-1, 1], at least one pixel; got {real.dtype} of the shape "
                f"{tuple(real.shape)}"
            )
        if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
            raise ValueError(f"seed {seed!r}: must be a whole number from 0")
        names = [str(i) for i in range(len(real))] if names is None else names
        largest = real.detach().abs().amax((1, 2, 3)).tolist()
        for name, value in zip(names, largest, strict=True):
            if not value <= 1.5:  # NaN too; resizing may have gone a little beyond 1
                raise ValueError(f"image {name}: a tensor is in [-1, 1]; this one holds {value:g}")
        real = real.to(self.model.device, torch.float32, memory_format=self.model.layout)
        with self.model.test_mode(names, seed):
            fake = self.model.generator()(real)
        return fake.clone()  # one that gradients may flow through

    def visuals(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Translate a batch of a dataset; return all images that the model shows.

        The model keeps them, so that threads cannot share this.
        """
        self.model.set_input(batch)
        self.model.test()
        return self.model.get_current_visuals()

    def prepare(self, image: Source, name: str = "the image") -> Tensor:
        """Return an image as the generator is given it: (input_nc, H, W) in [-1, 1].

        ValueError says what is wrong with it, and calls it `name` if it is no file.
        """
        with prefix_errors(str(image) if isinstance(image, str | Path) else name):
            return self._preprocess_single(as_image(image, self._side in self._ranges))

    def _to_input(self, image: Source | Tensor, number: int) -> tuple[Tensor, str]:
        """Return what the generator is given, and the name that its noise comes from."""
        if not isinstance(image, Tensor):
            named = isinstance(image, str | Path)
            real = self.prepare(image, f"image {number}")
            return real, str(image) if named else str(number)
        channels, shape = self.opt.input_nc, tuple(image.shape)
        if len(shape) != 3 or shape[0] != channels:
            raise ValueError(f"image {number}: expected a tensor ({channels}, H, W), got {shape}")
        return image, str(number)

    def _translate_batch(
        self, batch: list[tuple[Any, Tensor, str]], seed: int | None
    ) -> Iterator[Any]:
        sources, reals, names = zip(*batch, strict=True)
        real = torch.stack(reals)
        fake = self.translate(real, names, seed)
        for i, source in enumerate(sources):
            yield fake[i] if isinstance(source, Tensor) else self._to_output(source, real, fake, i)

    def _to_output(self, source: Source, real: Tensor, fake: Tensor, i: int) -> Any:
        if self._target:
            return high_depth_values(fake[i].cpu().numpy(), *self._target)
        image = self.model.to_image(real[i : i + 1].to(fake), fake[i : i + 1])
        if image.shape[1] not in (1, 3):
            raise ValueError(
                f"gives images of {image.shape[1]} channels, which PIL cannot hold; translate "
                f"tensors: t(t.prepare(image))"
            )
        array = tensor2im(image)
        if isinstance(source, np.ndarray):
            return array
        return Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def run_options(
    flags: Sequence[str], *, batches: bool = False, also: Sequence[str] = ()
) -> Options:
    """Parse flags of test.py over the options that a run has saved or that its weights show.

    `batches`: choose a --batch_size above 1 if none is given; `also`: flags that a script takes
    beside these, which an unknown flag may be meant for.
    """
    return TestOptions(infer_options, batches=batches, also=also).read(flags)


def _folder_of(run: str | Path) -> Path:
    """Return the folder of a run; ValueError if it is none, with the one that may be meant."""
    path = Path(run).absolute() if isinstance(run, str | Path) and run != "" else None
    if path and path.is_dir():
        return path
    near = [Path("checkpoints") / path.name, path.parent] if path else []
    hint = next((f"; did you mean {p}?" for p in near if any(p.glob("*_net_*.pth"))), "")
    raise ValueError(f"{run!s}: is not the folder of a run, such as checkpoints/facades{hint}")
