"""What is wrong with pairs: missing partners, different sizes, odd widths."""

from collections.abc import Iterator
from pathlib import Path

from data.checks.image_check import Finding
from data.files.image_files import image_size
from data.image_folder import SIDES, by_stem, side_folders


def pairs(root: Path, paths: list[str], damaged: set[str]) -> Iterator[Finding]:
    """Yield problems of pairs: missing partners, different sizes, odd widths."""
    names = [path.name for path in root.iterdir() if path.is_dir()]
    endings = [pattern.removeprefix("{}") for both in SIDES for pattern in both]
    phases = {n.removesuffix(end) for n in names for end in endings if n.endswith(end)}
    folders = [side_folders(root, phase) for phase in sorted(phases)]
    folder_pairs = sorted({tuple(sides.values()) for sides in folders if len(sides) == 2})
    for A, B in folder_pairs:
        yield from _of_two_folders(A, B, paths, damaged)
    if not folder_pairs:
        for path in paths:
            if path not in damaged and (width := image_size(path)[0]) % 2:
                what = f"is {width} pixels wide; an A|B image needs an even width"
                yield Finding(path, what, fatal=True)


def _of_two_folders(A: Path, B: Path, paths: list[str], damaged: set[str]) -> Iterator[Finding]:
    of_A, of_B = (
        by_stem(folder, (path for path in paths if Path(path).is_relative_to(folder)))
        for folder in (A, B)
    )
    for name in sorted(of_A.keys() ^ of_B.keys()):
        path = (of_A.get(name) or of_B[name])[0]
        yield Finding(path, "has no partner in the other folder", fatal=True)
    for name in sorted(of_A.keys() & of_B.keys()):
        if not damaged.isdisjoint(of_A[name] + of_B[name]):
            continue
        sizes = [image_size(path) for (path, *_) in (of_A[name], of_B[name])]
        if sizes[0] != sizes[1]:
            what = "{}x{}, its partner {}x{} pixels".format(*sizes[0], *sizes[1])
            yield Finding(
                of_A[name][0], f"has {what}; use --preprocess resize_and_crop, which accepts both"
            )
