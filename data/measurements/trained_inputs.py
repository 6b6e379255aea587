"""Whether the files of a test are of the kind of the training's, with the same inputs."""

from typing import Any

from data.files.image_types import StoredType
from data.measurements.folders import Subject
from data.measurements.volume import Volume
from data.value_range import read_ranges


def with_trained_inputs(
    subjects: list[Subject], channels: dict[str, int], opt: Any
) -> tuple[list[Subject], dict[str, int]]:
    """Return a test's subjects and channels with all inputs of the training: those that no subject
    has are missing (--missing zero), else a ValueError.
    """
    saved, sides = read_ranges(opt), [*subjects[0].inputs]
    trained = sorted(side for side in saved if side[0] == opt.direction[0])
    if not trained:
        return subjects, channels
    check_kind(subjects[0], saved[opt.direction[-1]][0])
    lacking = [side for side in trained if side not in sides]
    if {*sides} - {*trained} or (lacking and opt.missing == "error"):
        names = [", ".join(f"{opt.phase}{side}/" for side in group) for group in (sides, trained)]
        raise ValueError(
            f"--dataroot {opt.dataroot}: holds {names[0]}, but the run was trained on "
            f"{', '.join(trained)}: make it {names[1]}"
        )
    complete = [s._replace(inputs={side: s.inputs.get(side) for side in trained}) for s in subjects]
    return complete, {side: saved[side][0].channels for side in lacking} | channels


def check_kind(subject: Subject, stored: StoredType) -> None:
    """Raise a ValueError for an image or a raster if the targets of the training are volumes: only
    a volume says where an output volume lies.
    """
    if stored.ending == Volume.ending and not subject.is_volume:
        raise ValueError(
            f"{subject.first.path}: is no volume, but the run was trained on volumes; save it as "
            f"NIfTI with a third axis of length 1"
        )
