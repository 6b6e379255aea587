"""Stitch trainA/trainB and testA/testB of a folder to train/ and test/, A left, B right.

python datasets/make_dataset_aligned.py --dataset-path datasets/mine

Images are paired by name, or by sorted order if the names of a phase differ. Images that are in
train/ or test/ already are never overwritten.
"""

import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import util.installed  # noqa: E402, F401  (names missing packages in one line)

# isort: split
from tqdm import tqdm  # noqa: E402

from data.image_folder import is_image_file, make_dataset  # noqa: E402
from options.parser import OneLineParser  # noqa: E402
from scripts.pairs.tasks import joined  # noqa: E402
from scripts.pairs.writing import check_new  # noqa: E402
from util.command import run_command, setup_logging
from util.files import make_folder  # noqa: E402

log = logging.getLogger(__name__)

FLAG = "--dataset-path"


def main(argv: Sequence[str] | None = None) -> None:
    """Stitch both phases; ValueError if a folder is missing, or if counts or sizes differ.

    Nothing is written then, nor if an image would be overwritten.
    """
    setup_logging()
    parser = OneLineParser(description=__doc__.split("\n")[0])
    names = (FLAG, "--dataset_path")
    parser.add_argument(
        *names, type=Path, required=True, help="folder with trainA, trainB, testA and testB"
    )
    root = parser.parse_args(argv).dataset_path
    pairs = {phase: pairs_of(root, phase) for phase in ("train", "test")}
    with tempfile.TemporaryDirectory(dir=root, prefix=".") as new:
        for phase, files in pairs.items():
            stitch(files, Path(new) / phase)
        for phase in pairs:
            for image in (Path(new) / phase).iterdir():
                check_new(image.read_bytes(), root / phase / image.name, FLAG)
        for phase in pairs:
            move(Path(new) / phase, root / phase)


def pairs_of(root: Path, phase: str) -> list[tuple[str, str]]:
    """Return the files of A and B of a phase."""
    A, B = (make_dataset(root / f"{phase}{side}", flag=FLAG) for side in "AB")
    if len(A) != len(B):
        raise ValueError(
            f"{FLAG} {root}: {phase}A has {len(A)} images, {phase}B {len(B)}; "
            f"make the numbers equal"
        )
    if [Path(a).stem for a in A] != [Path(b).stem for b in B]:
        log.warning("%s: the names differ; images are paired in sorted order", root / phase)
    return list(zip(A, B, strict=True))


def stitch(pairs: Sequence[tuple[str, str]], folder: Path) -> None:
    """Write pairs to a new folder, as 0000.png, 0001.png, …"""
    folder.mkdir()
    for i, (a, b) in enumerate(tqdm(pairs, unit="img", disable=None)):
        joined(a, b).save(folder / f"{i:04d}.png")


def move(new: Path, folder: Path) -> None:
    """Move new images to their folder, and say what else is there."""
    make_folder(folder, FLAG)
    names = {image.name for image in new.iterdir()}
    others = [p.name for p in folder.iterdir() if is_image_file(p.name) and p.name not in names]
    for name in sorted(names):
        (new / name).replace(folder / name)
    log.info("%d pairs are in %s", len(names), folder)
    if others:
        log.warning("%s holds %d other images, such as %s", folder, len(others), min(others))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
