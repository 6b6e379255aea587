"""A trained run as a Python object, which translates images; test.py loops over it.

t = Translator.load("checkpoints/facades")
t("sketch.png").save("photo.png")
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.base_dataset import BaseDataset
from data.files.high_depth_output import high_depth_values
from data.files.large_images import LargeImage, ShownRows, large_images
from data.holes.input import HoleInput
from data.image_folder import make_dataset
from data.image_parts import Parts, parts_of_each, with_parts
from data.labels.input import LabelInput
from data.measurements.subject_input import Sources, SubjectInput
from data.measurements.translation import LARGEST, FileTranslation
from data.user_input import ImageInput, Source, numbered
from data.value_range import chosen_ranges, read_ranges, warn_of_other_ranges
from models import create_model
from models.test_time import use_tiles
from models.tiling import Tiles, translate_in_windows
from models.weights import infer_options
from options.base_options import Options
from options.config_files import existing_run
from options.test_options import TestOptions
from util.process_pool import survive_forks
from util.registry import find_class
from util.util import as_pil, tensor2im
from util.variants import check_variants


class Translator:
    """A run's generator at test time, with dropout and the statistics of each image (§3.3).

    `opt.eval` switches both off. An image's noise depends on (seed, name) alone. Threads can
    share a translator.
    """

    def __init__(self, opt: Any):
        """`opt` comes from `TestOptions`; ValueError if the run's weights cannot be loaded."""
        survive_forks()
        self.opt = opt
        self.model = create_model(opt)
        self.model.setup(opt)
        dataset = find_class("data", opt.dataset_mode, "--dataset_mode")
        preprocessor = getattr(dataset, "single_preprocessor", BaseDataset.single_preprocessor)
        stored_ranges = read_ranges(opt)
        warn_of_other_ranges(opt, stored_ranges)
        self.ranges = chosen_ranges(opt, stored_ranges)
        self.preprocess_single = preprocessor(opt, self.ranges)
        self._plain = preprocessor.__func__ is BaseDataset.single_preprocessor.__func__
        self.side, other = "BA" if opt.direction == "BtoA" else "AB"
        self.target = stored_ranges.get(other)  # stored type and range of outputs of high bit depth
        stored_range = stored_ranges[self.side][1:] if self.side in stored_ranges else None
        arguments = opt, self.preprocess_single
        self.input: LabelInput | HoleInput | SubjectInput | ImageInput
        self.files: FileTranslation | None = None  # of a run on measurements
        if opt.dataset_mode == "measurements":
            self.input = SubjectInput(opt)
            self.files = FileTranslation(self.input, self.translate, self._stream_raster)
        elif getattr(self.model, "has_labels", False):  # --model spade, pix2pixHD
            self.input = LabelInput(*arguments)
        elif getattr(self.model, "fills_holes", False):  # --model inpaint
            self.input = HoleInput(opt)
        else:
            load = getattr(dataset, "load_single", BaseDataset.load_single)
            self.input = ImageInput(*arguments, self.ranges.get(self.side, stored_range), load)

    @classmethod
    def load(cls, run: str | Path, *flags: str, **options: Any) -> "Translator":
        """Load the run in the folder `run`.

        `options` are flags of test.py, such as epoch="best", eval=True, preprocess="none",
        gpu_ids=-1; `flags` are the same as words, such as "--epoch", "best". ValueError names the
        wrong option or file.
        """
        run = existing_run(run)
        run_flags = ["--checkpoints_dir", str(run.parent), "--name", run.name]
        given = {n: v for n, v in options.items() if v is not None and v is not False}
        named_flags = [f"--{name}" if v is True else f"--{name}={v}" for name, v in given.items()]
        named_flags += ["--no_eval"] if options.get("eval") is False else []
        return cls(run_options([*run_flags, *flags, *named_flags]))

    def __call__(
        self,
        images: Any,
        seed: int | None = None,
        instances: Any = None,
        variants: int = 1,
        **parts: Any,
    ) -> Any:
        """Translate one image or several; the type of the input decides the type of the output.

        A file or a PIL image gives a PIL image; an array (H, W) or (H, W, C), uint8 in 0..255,
        gives (H, W, C) uint8; a tensor (C, H, W) in [-1, 1] gives a tensor. A list gives a list, a
        4-D array or tensor gives a batch, a folder gives a dict by file. Files, PIL images and
        arrays are preprocessed like test.py's images (channels, --preprocess, values), but with a
        center crop; tensors are used unchanged. If the run's targets have a high bit depth, files,
        PIL images and arrays give arrays of their stored type.

        A run on label maps takes those, as files, PIL images or arrays (H, W, 3) like its own, as
        arrays (H, W) of class numbers, or as tensors (see `translate`); `instances` are their
        instance maps, in the same form, by default the classes. A run that fills holes takes `mask`
        and, with --guided, `sketch` (see `map_of`). Of several images each has a part of its own.

        A run on measurements takes the file of a volume or a raster, a folder with a DICOM series,
        an image of nibabel, or a tuple of these for several inputs; a list of them, or a folder as
        for IN of scripts.translate. It gives an image of nibabel, or of a raster or an image an
        array (H, W, C), in the values of the target.

        `seed` (default: --seed) and the file's stem determine the noise; without a file, the
        image's number in the list or batch does. With `variants` above 1, each output becomes that
        many, those of the seeds `seed`, `seed` + 1, …: a list of PIL images, an array
        (variants, H, W, C), a tensor (variants, C, H, W); of a batch (N, variants, …). With 1, it
        is an output, and no list of one. ValueError names an unusable image, or
        says that the run has no noise.
        """
        if self.files and not isinstance(images, Tensor):
            if variants > 1 or parts or instances is not None:
                raise ValueError("a run on measurements takes files, without variants or parts")
            return self.files(images, seed)
        parts = {k: v for k, v in (parts | {"instances": instances}).items() if v is not None}
        if isinstance(images, str | Path) and os.path.isdir(images):
            files = make_dataset(images, flag="images")
            parts = parts_of_each(files, images, parts)
            outputs = self.each(files, seed, variants=variants, **parts)
            return dict(zip(files, outputs, strict=True))
        if isinstance(images, list | tuple):
            return list(self.each(images, seed, variants=variants, **parts))
        if getattr(images, "ndim", 0) != 4:
            parts = {name: [part] for name, part in parts.items()}
            return next(self.each([images], seed, variants=variants, **parts))
        if not len(images):
            raise ValueError("expected at least one image, got an empty batch")
        stack = torch.stack if isinstance(images, Tensor) else np.stack
        return stack(list(self.each(images, seed, variants=variants, **parts)))

    def each(
        self,
        images: Iterable[Any],
        seed: int | None = None,
        instances: Any = None,
        variants: int = 1,
        name: str = "",
        **parts: Any,
    ) -> Iterator[Any]:
        """Yield the translation of each image, like `__call__`; at most --batch_size images, all
        of one size, are in memory at a time. With a `name`, all images have its noise.
        """
        parts |= {} if instances is None else {"instances": instances}
        if isinstance(images, str | Path):
            raise ValueError(f"each: expected several images, got {images}; t(…) takes one")
        batch: list[tuple[Any, Tensor, str]] = []
        for number, (image, image_parts) in enumerate(with_parts(images, parts)):
            real, own_name = self._to_input(image, number, image_parts)
            if batch and (len(batch) == self.opt.batch_size or batch[0][1].shape != real.shape):
                yield from self._variants_of_batch(batch, seed, variants)
                batch = []
            batch.append((image, real, name or own_name))
        if batch:
            yield from self._variants_of_batch(batch, seed, variants)

    def translate(
        self, real: Tensor, names: Sequence[str] | None = None, seed: int | None = None
    ) -> Tensor:
        """Translate (N, input_nc, H, W) in [-1, 1] to (N, output_nc, H, W), independently.

        A run on label maps takes class numbers, floats or integers, (N, 1, H, W), or with the
        edges of instances, 0 or 1, as second channel; by default they are those of the classes.
        `names`, such as file names, determine the noise; the default is the image's number.
        ValueError names an image with values outside [-1.5, 1.5], or with other class numbers.
        """
        if seed is not None and (not isinstance(seed, int | np.integer) or seed < 0):
            raise ValueError(f"seed {seed!r}: must be a whole number from 0")
        real = self.input.check(real, names)
        names = names or numbered(real)
        real = real.to(self.model.device, torch.float32, memory_format=self.model.layout)
        with self.model.test_mode(names, seed):
            fake = self.model.translate(real)
        return fake.clone()  # a normal tensor, since autograd rejects inference tensors

    def prepare(self, image: Source, name: str = "the image", **parts: Source) -> Tensor:
        """Return an image as input of the generator, (input_nc, H, W) in [-1, 1]; of label maps
        the class numbers and edges, (1 or 2, H, W) floats.

        `parts` are `instances`, or `mask` and `sketch`. ValueError says what is wrong, prefixed by
        the file or, without a file, by `name`.
        """
        return self.input.prepare(image, name, **parts)

    def save(self, sources: Sources, path: str | Path, seed: int | None = None) -> None:
        """Translate a file of measurements, or a tuple of the files of several inputs, to a file
        of the same kind: a volume to NIfTI, a GeoTIFF to a GeoTIFF.
        """
        if self.files is None:
            raise ValueError("save: is for runs with --dataset_mode measurements")
        self.files.save(sources, Path(path), seed)

    def _stream_raster(
        self, size: tuple[int, int], read: Callable, write: Callable, name: str, seed: int | None
    ) -> None:
        """Translate a raster in windows, of --tile or of the default."""
        net = self.model.generator()
        if not isinstance(net.model, Tiles):
            use_tiles(net, max(LARGEST, 2 * net.stride))
        self._stream(size, read, write, name, seed)

    def in_windows(
        self, image: LargeImage, read: Callable, name: str, seed: int | None = None
    ) -> Tensor:
        """Translate an image in windows to (1, C, H, W) of uint8."""
        fake = ShownRows(image.size, self.opt.output_nc)
        self._stream(image.size, read, fake.put, name, seed)
        return fake.tensor()

    def _stream(
        self, size: tuple[int, int], read: Callable, write: Callable, name: str, seed: int | None
    ) -> None:
        """Translate an image of (width, height) in windows, see `translate_in_windows`."""
        model = self.model
        with model.test_mode([name], seed):
            translate_in_windows(
                *(model.generator(), size, lambda box: read(box).to(model.device), write),
                layout=model.layout,
            )

    def _to_input(self, image: Source | Tensor, number: int, parts: Parts) -> tuple[Tensor, str]:
        """Return the generator's input, and the name that determines the noise."""
        if isinstance(image, str | Path):
            large = None if parts else self._large(str(image))
            return large or self.prepare(image, **parts), str(image)
        if not isinstance(image, Tensor):
            return self.prepare(image, f"image {number}", **parts), str(number)
        self.input.check_one(image, f"image {number}", **parts)
        return image, str(number)

    def _large(self, path: str) -> LargeImage | None:
        """Return a file that is to be read in windows, else None."""
        if not self._plain or self.opt.output_nc not in (1, 3):
            return None
        return large_images(self.opt, [path], {"A": self.opt.input_nc}).get("A")

    def _variants_of_batch(
        self, batch: list[tuple[Any, Tensor, str]], seed: int | None, count: int
    ) -> Iterator[Any]:
        """Yield the output of each image; with `count` above 1, its variants."""
        if count == 1:
            yield from self._translate_batch(batch, seed)
            return
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"variants={count!r}: must be a whole number from 1")
        seed = self.opt.seed if seed is None else seed
        outputs = [list(self._translate_batch(batch, seed + k)) for k in range(count)]
        for variants in zip(*outputs, strict=True):
            check_variants(variants, f"variants={count}")
            stack = {Tensor: torch.stack, np.ndarray: np.stack}.get(type(variants[0]), list)
            yield stack(variants)

    def _translate_batch(
        self, batch: list[tuple[Any, Tensor, str]], seed: int | None
    ) -> Iterator[Any]:
        sources, reals, names = zip(*batch, strict=True)
        if isinstance(reals[0], LargeImage):
            for image, name in zip(reals, names, strict=True):
                with image.opened(self.preprocess_single) as read:
                    yield as_pil(tensor2im(self.in_windows(image, read, name, seed)))
            return
        real = torch.stack(reals)
        fake = self.translate(real, names, seed)
        for i, source in enumerate(sources):
            yield fake[i] if isinstance(source, Tensor) else self._to_output(source, real, fake, i)

    def _to_output(self, source: Source, real: Tensor, fake: Tensor, i: int) -> Any:
        if self.target:
            values = high_depth_values(fake[i].cpu().numpy(), *self.target)
            shown = values.dtype == np.uint8 and values.shape[-1] in (1, 3)
            return as_pil(values) if shown and not isinstance(source, np.ndarray) else values
        image = self.model.to_image(real[i : i + 1].to(fake), fake[i : i + 1])
        if image.shape[1] not in (1, 3):
            raise ValueError(
                f"--output_nc {image.shape[1]}: PIL images have 1 or 3 channels; translate "
                f"tensors: t(t.prepare(image))"
            )
        array = tensor2im(image)
        return array if isinstance(source, np.ndarray) else as_pil(array)


def run_options(
    flags: Sequence[str], *, batches: bool = False, also: Sequence[str] = ()
) -> Options:
    """Parse flags of test.py; defaults come from the run's saved options or its weights.

    `batches` chooses a --batch_size above 1 by default; `also` lists further flags of a script,
    for suggestions after an unknown flag.
    """
    return TestOptions(infer_options, batches=batches, also=also).read(flags)
