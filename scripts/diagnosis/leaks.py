"""What a test has seen in the training: groups, patients and places in several phases."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path

from data.checks.image_check import Finding
from data.measurements.raster import Raster
from util.split_groups import group_of, group_pattern, shared_groups

MOST = 5  # groups that are named


def shared_by_phases(
    root: Path, groups: Mapping[str, Iterable[str]], what: str
) -> Iterator[Finding]:
    """Yield a remark on the groups, such as patients, that are in several phases."""
    shared = shared_groups(groups)
    if not shared:
        return
    named = [f"{group} in {' and '.join(phases)}" for group, phases in shared.items()]
    more = f" and {len(named) - MOST} others" if len(named) > MOST else ""
    text = f"{what} in several phases, whose scores say nothing about others"
    yield Finding(str(root), f"has {text}: {', '.join(named[:MOST])}{more}", fatal=True)


def relative_names(folders: Iterable[Path], paths: Iterable[str]) -> list[Path]:
    """Return the paths of files below some folders, relative to their folder."""
    inside = [(Path(path), folder) for path in paths for folder in folders]
    return [path.relative_to(folder) for path, folder in inside if path.is_relative_to(folder)]


def shared_groups_of_files(
    root: Path, files: Mapping[str, Iterable[Path]], group: str
) -> Iterator[Finding]:
    """Yield a remark on the groups (--group) that have files in several phases.

    `files` are paths relative to the folders of their side, by phase.
    """
    pattern = group_pattern(group)
    groups = {phase: [group_of(file, pattern) for file in paths] for phase, paths in files.items()}
    yield from shared_by_phases(root, groups, "groups")


def overlapping_rasters(rasters: Mapping[str, list[Raster]]) -> Iterator[Finding]:
    """Yield a remark for each raster that shows a part of a raster of another phase."""
    for phase, other in combinations(rasters, 2):
        for raster in rasters[phase]:
            for second in rasters[other]:
                if share := overlap(raster, second):
                    what = f"shows {share:.0%} of what {second.path} shows, which is in {other}"
                    yield Finding(raster.path, what)


def overlap(raster: Raster, second: Raster) -> float:
    """Return how much of the second raster's frame lies in that of the first, 0 to 1."""
    if not raster.crs or raster.crs != second.crs:
        return 0.0
    area = common = 1.0
    for axis in (0, 1):
        ours, theirs = ([corner[axis] for corner in grid.corners()] for grid in (raster, second))
        area *= max(theirs) - min(theirs)
        common *= max(0.0, min(max(ours), max(theirs)) - max(min(ours), min(theirs)))
    return common / area
