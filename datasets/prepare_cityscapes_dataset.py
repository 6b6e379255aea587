"""Make pix2pix and CycleGAN training sets, 256×256, from downloaded Cityscapes files.

python datasets/prepare_cityscapes_dataset.py --gtFine_dir gtFine --leftImg8bit_dir leftImg8bit

The two folders come from gtFine_trainvaltest.zip and leftImg8bit_trainvaltest.zip of
https://www.cityscapes-dataset.com. Photos are A, colour-coded labels are B;
the val split becomes test.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import util.installed  # noqa: E402, F401  (names missing packages in one line)

# isort: split
from PIL import Image  # noqa: E402
from tqdm import tqdm  # noqa: E402

from data.files.image_files import load_image  # noqa: E402
from options.parser import OneLineParser  # noqa: E402
from scripts.pairs.tasks import stitched  # noqa: E402
from scripts.pairs.writing import write_new  # noqa: E402
from util.command import run_command, setup_logging
from util.files import make_folder  # noqa: E402

log = logging.getLogger(__name__)

SIZE = (256, 256)
PHOTO, LABELS = "_leftImg8bit.png", "_gtFine_color.png"


def main(argv: Sequence[str] | None = None) -> None:
    """Write train/, test/, trainA/, trainB/, testA/, testB/; ValueError if files are missing."""
    setup_logging()
    parser = OneLineParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--gtFine_dir", type=Path, required=True, help="folder of the labels, with train/ and val/")
    add(
        "--leftImg8bit_dir",
        type=Path,
        required=True,
        help="folder of the photos, with train/ and val/",
    )
    add("--output_dir", type=Path, default=Path("datasets/cityscapes"), help="folder to write")
    args = parser.parse_args(argv)
    for flag in ("gtFine_dir", "leftImg8bit_dir"):
        if not (folder := getattr(args, flag)).is_dir():
            raise ValueError(f"--{flag} {folder}: no such folder")
    for split, phase in (("train", "train"), ("val", "test")):
        photos = sorted((args.leftImg8bit_dir / split).glob(f"*/*{PHOTO}"))
        if not photos:
            raise ValueError(
                f"--leftImg8bit_dir {args.leftImg8bit_dir}: contains no {split}/CITY/*{PHOTO}"
            )
        folders = [
            make_folder(args.output_dir / f"{phase}{s}", "--output_dir") for s in ("", "A", "B")
        ]
        for i, path in enumerate(tqdm(photos, unit="img", disable=None), start=1):
            city, name = path.parent.name, path.name.removesuffix(PHOTO)
            labels = args.gtFine_dir / split / city / f"{name}{LABELS}"
            if not labels.is_file():
                raise ValueError(f"--gtFine_dir: {labels} is missing, the labels of {path}")
            A = load_image(path).resize(SIZE, Image.Resampling.BICUBIC)
            B = load_image(labels).resize(SIZE, Image.Resampling.NEAREST)  # keeps the label colours
            for image, target in (
                (stitched(A, B), folders[0] / f"{i}.jpg"),
                (A, folders[1] / f"{i}_A.jpg"),
                (B, folders[2] / f"{i}_B.jpg"),
            ):
                write_new(image, target, "--output_dir", subsampling=0, quality=100)
        log.info("%d pairs are in %s", len(photos), folders[0])


if __name__ == "__main__":
    raise SystemExit(run_command(main))
