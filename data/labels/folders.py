"""The files of label maps, with their images and instance maps, by the layout of the folders."""

import contextlib
import logging
import re
from argparse import Namespace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from data.aligned_dataset import pair_files
from data.checks.missing_folder import missing_folder
from data.files.image_files import open_image
from data.image_folder import check_partners, make_dataset, one_by_stem, side_folders

log = logging.getLogger(__name__)

Folders = dict[str, Path]  # of "label", "image" and "instance"
EXPECTED = (
    "{0}_label/ and {0}_img/, the tree of Cityscapes or ADE20K, {0}/ with A|B images, or {0}A/ and "
    "{0}B/ (or --label_dir, --image_dir)"
)
# The ends of the names in the tree of Cityscapes; what comes before tells which files belong.
CITYSCAPES = {
    "label": "_labelIds.png",
    "image": "_leftImg8bit.png",
    "instance": "_instanceIds.png",
}
ADE20K = {"train": "training", "val": "validation", "test": "testing"}
FLAGS = {"label": "--label_dir", "image": "--image_dir", "instance": "--instance_dir"}
# test.py reads the second phase where the first is missing, in the order of the published code:
# the test images of Cityscapes and ADE20K have no public labels.
PHASES = {"folders": ("test", "val"), "Cityscapes": ("val", "test"), "ADE20K": ("test", "val")}


class LabelFiles(NamedTuple):
    """The files of a phase, in one order; images and instances are empty where there are none."""

    labels: list[str]
    images: list[str]
    instances: list[str]
    layout: str  # flags, folders, Cityscapes, ADE20K or sides

    @property
    def stitched(self) -> bool:
        """Whether each file holds the label map and its image side by side."""
        return self.labels == self.images


def label_side(opt: Any) -> str:
    """Return the side of the label maps, A or B: the one that --direction translates."""
    return "B" if opt.direction == "BtoA" else "A"


def find_label_files(opt: Any, images_needed: bool = False) -> LabelFiles | None:
    """Return the files of --phase; None if no known layout of folders is there.

    ValueError says what is wrong with the folders that are there.
    """
    if folders := flag_folders(opt):
        return matched(opt, folders, "flags", images_needed)
    root = Path(opt.dataroot)
    for layout, find in (
        ("folders", phase_folders),
        ("Cityscapes", cityscapes_folders),
        ("ADE20K", ade20k_folders),
    ):
        phases = PHASES[layout] if opt.phase == "test" and not opt.isTrain else [opt.phase]
        for phase in phases:
            folders = find(root, phase)
            if folders["label"].is_dir():
                if phase != opt.phase:
                    _say_other_phase(opt.phase, folders["label"])
                return matched(opt, folders, layout, images_needed)
    if (root / opt.phase).is_dir():
        files = pair_files(root, opt.phase, opt.max_dataset_size)[0]
        return LabelFiles(files, files, [], "sides")
    sides, label = side_folders(root, opt.phase), label_side(opt)
    if label not in sides:
        return None
    folders_by_kind = {"label": sides[label], "image": sides.get("BA"["AB".index(label)])}
    return matched(opt, {k: f for k, f in folders_by_kind.items() if f}, "sides", images_needed)


@cache
def _say_other_phase(phase: str, folder: Path) -> None:
    """Say once where the files of a phase are."""
    log.info("--phase %s: reads %s", phase, folder)


def existing_label_files(opt: Any) -> LabelFiles:
    """Return the files of --phase; ValueError if they are missing, or images of a training."""
    files = find_label_files(opt, images_needed=opt.isTrain and opt.phase != "test")
    if files is None:
        raise missing_folder(opt, EXPECTED.format(opt.phase))
    return files


def labels_of_all_phases(opt: Any) -> dict[str, LabelFiles]:
    """Return the label files of the phases that are there, that of the training first."""
    files_by_phase: dict[str, LabelFiles] = {}
    for phase in dict.fromkeys((opt.phase, "train", "val", "test")):
        changes = {"phase": phase, "max_dataset_size": float("inf"), "instance_dir": None}
        changes["no_instance"] = True
        with contextlib.suppress(ValueError):  # of a phase that this training does not read
            files = find_label_files(Namespace(**{**vars(opt), **changes}))
            if files and all(files.labels != other.labels for other in files_by_phase.values()):
                files_by_phase[phase] = files
    return files_by_phase


def phases_without_instances(opt: Any) -> list[str]:
    """Return the phases, of --phase and, before a training, val, that have no instance maps."""
    phases = []
    for phase in dict.fromkeys((opt.phase, *(["val"] if opt.isTrain else []))):
        with contextlib.suppress(ValueError):  # of a phase that this training does not read
            files = find_label_files(Namespace(**{**vars(opt), "phase": phase}))
            if files and not files.instances:
                phases.append(phase)
    return phases


def hold_colours(files: LabelFiles, opt: Any) -> bool:
    """Return whether the label maps are colours: on request, or as one of two sides A and B."""
    if opt.label_colours or files.stitched:
        return True
    for path in files.labels if files.layout == "sides" else []:
        with contextlib.suppress(ValueError), open_image(path) as image:
            return image.mode == "P" or _has_colours(image)
    return False  # class numbers, as in one grey channel


def is_coloured(path: str) -> bool:
    """Return whether a file holds colours, which are no class numbers, as its header says."""
    with contextlib.suppress(ValueError), open_image(path) as image:
        return _has_colours(image)
    return False


def _has_colours(image: Image.Image) -> bool:
    return image.mode in ("RGB", "RGBA", "CMYK") or image.format == "JPEG"


def phase_folders(root: Path, phase: str) -> Folders:
    """Return the folders of a phase as pix2pixHD names them."""
    ends = {"label": "label", "image": "img", "instance": "inst"}
    return {kind: root / f"{phase}_{end}" for kind, end in ends.items()}


def cityscapes_folders(root: Path, phase: str) -> Folders:
    """Return the folders of a phase in the tree of Cityscapes."""
    labels = root / "gtFine" / phase
    return {"label": labels, "image": root / "leftImg8bit" / phase, "instance": labels}


def ade20k_folders(root: Path, phase: str) -> Folders:
    """Return the folders of a phase in the tree of ADE20K."""
    name = ADE20K.get(phase, phase)
    return {"label": root / "annotations" / name, "image": root / "images" / name}


def flag_folders(opt: Any) -> Folders:
    """Return the folders that --label_dir, --image_dir and --instance_dir name."""
    folders = {kind: getattr(opt, flag.removeprefix("--")) for kind, flag in FLAGS.items()}
    folders = {kind: folder for kind, folder in folders.items() if folder}
    if folders and "label" not in folders:
        flag = FLAGS[next(iter(folders))]
        raise ValueError(f"{flag}: needs --label_dir, the folder of the label maps")
    if opt.no_instance and "instance" in folders:
        raise ValueError("--instance_dir: does nothing with --no_instance; leave one of them out")
    if opt.isTrain and opt.phase in ("val", "test"):  # the flags name the folders of the training
        folders = {kind: counterpart(f, FLAGS[kind], opt.phase) for kind, f in folders.items()}
    return {kind: Path(folder) for kind, folder in folders.items()}


def counterpart(folder: str, flag: str, phase: str) -> str:
    """Return the folder of another phase that is named like a folder of the training.

    ValueError if there is none.
    """
    names = {"training": ADE20K[phase], "train": phase}
    places = [(word, place) for word in names for place in re.finditer(word, folder)][::-1]
    candidates = [folder[: p.start()] + names[word] + folder[p.end() :] for word, p in places]
    if existing := [candidate for candidate in candidates if Path(candidate).is_dir()]:
        return existing[0]
    word, other = next(((w, names[w]) for w in names if w in folder), ("train", phase))
    missing = f"this name has no {word}"
    if candidates:
        missing = f"{other.join(folder.rsplit(word, 1))} is missing"
    raise ValueError(
        f"{flag} {folder}: names the files of the training; those of the phase {phase} lie in the "
        f"folder with {other} in place of {word}, and {missing}"
    )


def matched(opt: Any, folders: Folders, layout: str, images_needed: bool) -> LabelFiles:
    """List the files of the folders and match them; ValueError if one has no partner."""
    flags = FLAGS if layout == "flags" else dict.fromkeys(FLAGS, "--dataroot")
    files_by_kind = {}
    for kind, folder in folders.items():
        if kind == "instance" and opt.no_instance:
            continue
        if layout == "flags" or folder.is_dir():
            ending = CITYSCAPES[kind] if layout == "Cityscapes" else ""
            files_by_kind[kind] = by_key(folder, flags[kind], ending)
    if not files_by_kind.get("instance", True):  # none in a tree of Cityscapes
        del files_by_kind["instance"]
    if images_needed and "image" not in files_by_kind:
        missing = f"{folders['image']} is missing" if "image" in folders else "no images are there"
        raise ValueError(f"{flags['image']}: {missing}; a training needs one for each label map")
    if opt.no_pairing_check:
        lists = in_order(files_by_kind, folders)
    else:
        for kind in files_by_kind.keys() - {"label"}:
            check_partners(files_by_kind["label"], files_by_kind[kind], folders[kind], flags[kind])
            check_partners(
                files_by_kind[kind], files_by_kind["label"], folders["label"], flags["label"]
            )
        lists = {
            kind: [files[key] for key in sorted(files)] for kind, files in files_by_kind.items()
        }
    limit = int(min(opt.max_dataset_size, len(lists["label"])))
    ordered = (lists.get(kind, [])[:limit] for kind in FLAGS)
    return LabelFiles(*ordered, layout)


def by_key(folder: Path, flag: str, ending: str) -> dict[str, str]:
    """Return the files of a folder by what partners have in common: the path without extension,
    or, of files of Cityscapes with this ending, the first three parts of the name.
    """
    paths = make_dataset(folder, flag=flag)
    if not ending:
        return one_by_stem(folder, paths, flag)
    files = {"_".join(Path(p).name.split("_")[:3]): p for p in paths if p.endswith(ending)}
    if not files and ending != CITYSCAPES["instance"]:
        raise ValueError(f"{flag}: {folder} holds no files *{ending}")
    return files


def in_order(found: dict[str, dict[str, str]], folders: Folders) -> dict[str, list[str]]:
    """Return the files of each folder in the order of their names, whatever they are."""
    lists = {kind: sorted(files.values()) for kind, files in found.items()}
    for kind, files in lists.items():
        if len(files) != len(lists["label"]):
            raise ValueError(
                f"--no_pairing_check: {folders['label']} holds {len(lists['label'])} files and "
                f"{folders[kind]} {len(files)}; in order, both need as many"
            )
    return lists
