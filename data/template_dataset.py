"""A template: copy it to `data/foo_dataset.py`, rename the class, change how items are read.

It makes pairs from colour images: A is the image in grey, B the image in colour.
"""

from typing import Any

from data.base_dataset import BaseDataset, get_params, get_transform
from data.files.image_files import load_image
from data.image_folder import make_dataset


class TemplateDataset(BaseDataset):
    """Grey images (A, three equal channels) and colour images (B), from the folder `dataroot`."""

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        # Your own flags, and other defaults for your data.
        add = parser.add_argument  # `carry`: test.py reads the flag from the run
        add("--grey_contrast", type=float, default=1.0, role="data", carry=True, help="scales A")
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)  # sets self.opt and self.root
        self.image_paths = make_dataset(self.root, opt.max_dataset_size)

    def __len__(self) -> int:
        return len(self.image_paths)

    # The next two methods are optional. With them, files are checked before training, and test.py
    # names an item's files without reading them.
    def files_by_side(self) -> dict[str, list[str]]:
        return {"A": self.image_paths, "B": self.image_paths}

    def paths(self, index: int) -> dict[str, str]:
        return {"A_paths": self.image_paths[index], "B_paths": self.image_paths[index]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        path = self.image_paths[index]
        image = load_image(path)
        params = get_params(self.opt, image.size)  # one crop and flip for both
        grey = get_transform(self.opt, params, grayscale=True)(image)  # (1, H, W) in [-1, 1]
        A = (grey * self.opt.grey_contrast).clamp(-1, 1).expand(3, -1, -1)
        B = get_transform(self.opt, params)(image)  # (3, H, W) in [-1, 1]
        return {"A": A, "B": B, **self.paths(index)}
