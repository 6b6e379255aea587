"""Label maps with their images and instance maps, for semantic image synthesis."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from data.base_dataset import BaseDataset, filter_of, prefix_errors, trains
from data.builtin_facades import is_builtin
from data.channels import check_channels, to_channels
from data.files.image_files import (
    halves,
    load_image_or_array,
    load_unconverted,
)
from data.files.image_types import ImageLike
from data.labels.class_names import BUILTIN, named_classes
from data.labels.distortion import draw_distortion, moved
from data.labels.flags import check_flags, derived_label_options
from data.labels.folders import existing_label_files, label_side, phases_without_instances
from data.labels.inferred_classes import lacks_label_maps
from data.labels.reader import LabelReader, as_numbers, numbers_tensor, read_instances
from data.labels.scan import MANY, scan_labels
from data.labels.sizes import (
    EQUAL_SIZES,
    ONE_SIZE,
    check_images,
    check_instances,
    check_sizes,
    size_remarks,
)
from data.transforms import FILTERS, Geometry, pixels
from util.label_flags import add_label_flags
from util.label_maps import instance_edges

NEAREST = FILTERS["nearest"]
INSTANCE = "instance"  # the side of the instance maps, beside A and B
Read = list[ImageLike]  # a label map, its image and its instance map, those that are there


class LabelsDataset(BaseDataset):
    """Label maps, with their images (without them in test.py, if need be) and instance maps.

    The folders are those of pix2pixHD, Cityscapes, ADE20K or --label_dir; or A|B images or two
    folders whose labels, on the side that --direction translates, are colours. That side is the
    one of the label maps in `files_by_side`.
    """

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        return add_label_flags(parser, is_train)

    @classmethod
    def derived_options(cls, opt: Any) -> dict[str, Any]:
        return derived_label_options(opt)

    def __init__(self, opt: Any):
        super().__init__(opt)
        if opt.label_nc == 0:
            raise ValueError(
                "--label_nc 0: --dataset_mode aligned reads inputs that are RGB images"
            )
        if lacks_label_maps(opt):
            raise ValueError(
                f"--dataroot: name a folder with label maps of {opt.label_nc} classes for these "
                f"weights; the built-in images have {len(BUILTIN)}"
            )
        files = existing_label_files(opt)
        if opt.label_nc is None:
            raise ValueError("--label_nc: give the number of classes of the label maps")
        self.label_paths, self.image_paths, self.instance_paths, layout = files
        self.label_side, self.image_side = "BA" if label_side(opt) == "B" else "AB"
        self.stitched = files.stitched
        self.half = "AB".index(self.image_side) if files.stitched else None
        half, two_sides = None if self.half is None else 1 - self.half, layout == "sides"
        self.reader = LabelReader.from_options(opt, half, two_sides)
        check_flags(opt, self.label_side, two_sides)
        check_channels(opt.output_nc, "output_nc", self.image_paths, opt.max_pixels)
        self.filters = dict.fromkeys((self.label_side, INSTANCE), NEAREST)
        self.filters[self.image_side] = filter_of(opt, self.image_side)
        self.found: list[str] = []  # remarks on the label maps of all phases
        scan_all = len(files.labels) <= MANY or "label_nc" not in getattr(opt, "given", ())
        self.label_aug = getattr(opt, "label_aug", 0.0) if trains(opt) else 0.0
        if trains(opt):
            if opt.on_bad_image == "error":
                self._check_sizes()
            if scan_all:
                self._look_at_all_phases()

    def _check_sizes(self) -> None:
        """Raise a ValueError if files of an item differ in size where they must not."""
        check_instances(self.instance_paths, self.label_paths, self.max_pixels)
        if self.half is None and not self.geometry.any_size:
            check_images(self.image_paths, self.label_paths)

    def _look_at_all_phases(self) -> None:
        scan = None if is_builtin(self.root) else scan_labels(self.opt)
        if scan is None:
            return
        self.found = scan.remarks(self.opt)
        for number, file in scan.phases[self.opt.phase].items() if not scan.colours else ():
            if not self.reader.allows(int(number)) and self.opt.on_bad_image == "error":
                raise ValueError(f"{file}: {self.reader.why_wrong(int(number))}")

    def __len__(self) -> int:
        return len(self.label_paths)

    def files_by_side(self) -> dict[str, list[str]]:
        files = self.label_paths, self.image_paths, self.instance_paths
        sides = self.label_side, self.image_side, INSTANCE
        return {side: paths for side, paths in zip(sides, files, strict=True) if paths}

    def has_range(self, side: str) -> bool:
        return side == self.image_side

    def paths(self, index: int) -> dict[str, str]:
        """Return label_paths and, if they are there, image_paths and instance_paths."""
        files = {"label": self.label_paths, "image": self.image_paths}
        files |= {"instance": self.instance_paths}
        return {f"{kind}_paths": paths[index] for kind, paths in files.items() if paths}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return an item: its files, A_size, the original (width, height), and with one crop and
        one flip

        - label: int64 (1, H, W), class numbers; label_nc for unknown pixels,
        - image: float32 (output_nc, H, W) in [-1, 1], if there are images,
        - without --no_instance, instance: int64 (1, H, W), and edges: float32 (1, H, W), 1 where
          the instance differs from that of a neighbour. Without instance maps, which a training
          has and a test may lack, the classes are the instances.
        """
        paths = self.paths(index)
        sides, files = list(self.files_by_side()), list(paths.values())
        images, size = self.load_resized(files[0], lambda: self.read(index), sides, files)
        params = self.geometry.draw(size)
        item: dict[str, Any] = {**paths, "A_size": size}
        for side, image, path in zip(sides, images, files, strict=True):
            with prefix_errors(path):
                if side == self.image_side:
                    item["image"] = self.crop_and_normalize(image, side, params)
                else:
                    name = "label" if side == self.label_side else "instance"
                    item[name] = numbers_tensor(self.geometry.crop_and_flip(image, params))
        if self.label_aug:
            distortion = draw_distortion(item["label"][0].numpy(), self.label_aug)
            item |= {
                name: moved(item[name], distortion) for name in ("label", INSTANCE) if name in item
            }
        if not self.opt.no_instance:
            item.setdefault("instance", item["label"])
            item["edges"] = instance_edges(item["instance"])
        return item

    def read(self, index: int) -> Read:
        """Read the label map of an item, its image and its instance map, those that are there.

        ValueError names a file that cannot be used, or two of different sizes.
        """
        label_path = self.label_paths[index]
        images: Read = [self.reader.read(label_path)]
        if self.image_paths:
            images.append(self.read_image(self.image_paths[index]))
            if not self.geometry.any_size:
                path = self.image_paths[index]
                check_sizes(images[1].size, path, images[0].size, label_path, EQUAL_SIZES)
        if self.instance_paths:
            path = self.instance_paths[index]
            images.append(read_instances(path, self.max_pixels))
            check_sizes(images[-1].size, path, images[0].size, label_path, ONE_SIZE)
        return images

    def read_image(self, path: str) -> ImageLike:
        """Read an image, converted to its number of channels."""
        image = load_image_or_array(path, self.max_pixels)
        image = image if self.half is None else halves(image, path)[self.half]
        with prefix_errors(path):
            return to_channels(image, self.opt.output_nc, self.opt.alpha)

    def images(self, index: int) -> dict[str, tuple[str, ImageLike]]:
        """Return the image alone: numbers of classes are no values that could be odd."""
        if not self.image_paths:
            return {}
        path = self.image_paths[index]
        return {self.image_side: (path, self.read_image(path))}

    def classes(self) -> list[tuple[str, str]]:
        return named_classes(self.opt)

    def remarks(self) -> list[str]:
        """Return remarks on the classes in all phases, on sizes, and on missing instance maps."""
        remarks = [*self.found]
        if self.half is None and self.geometry.any_size:
            remarks += size_remarks(self.image_paths, self.label_paths)
        lacking = [] if self.opt.no_instance else phases_without_instances(self.opt)
        for phase in lacking:
            remarks.append(
                f"labels: {phase} has no instance maps; the edges are those of the classes"
            )
        return remarks

    load_single = staticmethod(load_unconverted)

    @classmethod
    def single_preprocessor(
        cls, opt: Any, ranges: dict[str, tuple[float, float]]
    ) -> Callable[[ImageLike | np.ndarray], Tensor]:
        """Return the function from a label map, as its file has it or as class numbers (H, W), to
        its class numbers, (1, H, W) int64.
        """
        reader, geometry = LabelReader.from_options(opt), Geometry.from_options(opt, NEAREST)

        def numbers(image: ImageLike | np.ndarray) -> Tensor:
            classes = image if isinstance(image, np.ndarray) else reader.classes(image)
            resized = geometry.resize(as_numbers(classes))
            return numbers_tensor(pixels(geometry.center_crop(resized)))

        return numbers
