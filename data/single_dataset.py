"""Images to translate, without targets."""

from pathlib import Path
from typing import Any

from data.base_dataset import BaseDataset, prefix_errors
from data.builtin_facades import is_builtin
from data.channels import check_channels, to_channels
from data.checks.missing_folder import missing_folder
from data.files.image_files import load_image_or_array, split_pair
from data.files.image_types import ImageLike
from data.files.large_images import large_images
from data.image_folder import make_dataset


class SingleDataset(BaseDataset):
    """All images in `dataroot` and its subfolders, as A.

    From the built-in A|B images of the phase it uses the half that `--direction` translates.
    """

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.half = None
        self.side = "B" if opt.direction == "BtoA" else "A"  # the input side
        folder = Path(opt.dataroot)
        if is_builtin(folder):
            folder, self.half = folder / opt.phase, "AB".index(self.side)
            self.stitched = True
        try:
            self.A_paths = make_dataset(folder, opt.max_dataset_size)
        except ValueError:
            raise missing_folder(opt, "images in it", home=None) from None
        check_channels(opt.input_nc, "input_nc", self.A_paths, opt.max_pixels)

    def __len__(self) -> int:
        return len(self.A_paths)

    def files_by_side(self) -> dict[str, list[str]]:
        return {"A": self.A_paths}

    def paths(self, index: int) -> dict[str, str]:
        return {"A_paths": self.A_paths[index]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return A, its file, and A_size, its original (width, height)."""
        path = self.A_paths[index]
        if type(self) is SingleDataset and self.half is None:
            if large := large_images(self.opt, [path], {"A": self.opt.input_nc}):
                return {**large, "A_paths": path, "A_size": large["A"].size}
        (image,), size = self.load_resized(path, lambda: [self.read(path)], self.side)
        with prefix_errors(path):
            A = self.crop_and_normalize(image, self.side, self.geometry.draw(size))
        return {"A": A, "A_paths": path, "A_size": size}

    def images(self, index: int) -> dict[str, tuple[str, ImageLike]]:
        path = self.A_paths[index]
        return {self.side: (path, self.read(path))}

    def read(self, path: str) -> ImageLike:
        """Read a file's image, converted to `input_nc` channels."""
        if self.half is None:
            image = load_image_or_array(path, self.max_pixels)
        else:
            image = split_pair(path)[self.half]
        with prefix_errors(path):
            return to_channels(image, self.opt.input_nc, self.opt.alpha)
