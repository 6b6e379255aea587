"""A dataset to copy: save it as `data/foo_dataset.py`, rename the class, fill in your reading.

This one makes pairs of plain images: A is the image in grey, B in colour.
"""

from typing import Any

from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset
from data.transforms import load_image


class TemplateDataset(BaseDataset):
    """Grey images (A, three equal channels) and their colours (B), from `dataroot` itself."""

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        # Flags of your own, and defaults that differ for your data.
        add = parser.add_argument  # `carry`: test.py takes the flag over from the run
        add("--grey_contrast", type=float, default=1.0, role="data", carry=True, help="scales A")
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)  # sets self.opt and self.root
        self.image_paths = make_dataset(self.root, opt.max_dataset_size)

    def __len__(self) -> int:
        return len(self.image_paths)

    # The next two are optional: your files are checked before training, and test.py names an
    # item's files without reading them.
    def files_by_side(self) -> dict[str, list[str]]:
        return {"A": self.image_paths, "B": self.image_paths}

    def paths(self, index: int) -> dict[str, str]:
        return {"A_paths": self.image_paths[index], "B_paths": self.image_paths[index]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.image_paths[index]
        image = load_image(path)
        params = get_params(self.opt, image.size)  # one crop and mirroring for both
        grey = get_transform(self.opt, params, grayscale=True)(image)  # (1, H, W) in [-1, 1]
        A = (grey * self.opt.grey_contrast).clamp(-1, 1).expand(3, -1, -1)
        B = get_transform(self.opt, params)(image)  # (3, H, W) in [-1, 1]
        return {"A": A, "B": B, **self.paths(index)}
