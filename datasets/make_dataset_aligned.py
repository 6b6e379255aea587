"""Stitch trainA/trainB and testA/testB of a folder to train/ and test/, A left, B right.

python datasets/make_dataset_aligned.py --dataset-path datasets/mine

Images are paired by name, or by sorted order if the names of a phase differ.
"""

import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.image_folder import make_dataset  # noqa: E402
from options.parser import OneLineParser  # noqa: E402
from scripts.pairs.tasks import joined  # noqa: E402
from util.command import run_command, setup_logging
from util.files import make_folder  # noqa: E402

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Stitch both phases; ValueError if a folder is missing, or if counts or sizes differ."""
    setup_logging()
    parser = OneLineParser(description=__doc__.split("\n")[0])
    names = ("--dataset-path", "--dataset_path")
    parser.add_argument(
        *names, type=Path, required=True, help="folder with trainA, trainB, testA and testB"
    )
    root = parser.parse_args(argv).dataset_path
    for phase in ("train", "test"):
        A, B = (make_dataset(root / f"{phase}{side}", flag="--dataset-path") for side in "AB")
        if len(A) != len(B):
            raise ValueError(
                f"--dataset-path {root}: {phase}A has {len(A)} images, {phase}B {len(B)}; "
                f"make the numbers equal"
            )
        if [Path(a).stem for a in A] != [Path(b).stem for b in B]:
            log.warning("%s: the names differ; images are paired in sorted order", root / phase)
        stitch(A, B, root / phase)
        log.info("%d pairs are in %s", len(A), root / phase)


def stitch(A: Sequence[str], B: Sequence[str], folder: Path) -> None:
    """Write all pairs to a folder, or none, so that an incomplete set is never trained on."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as new:
        for i, (a, b) in enumerate(zip(tqdm(A, unit="img", disable=None), B, strict=True)):
            joined(a, b).save(Path(new) / f"{i:04d}.png")
        make_folder(folder, "--dataset-path")
        for image in Path(new).iterdir():
            image.replace(folder / image.name)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
