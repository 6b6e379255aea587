"""The commands that train.py proposes, as they run from where the user is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from util.command import run_line, script, torchrun
from util.names import command_line


def torchrun_line(opt: Any, argv: Sequence[str]) -> str:
    """Return the command that trains in a process for each GPU, on a batch that they can share."""
    count = len(opt.gpu_ids)
    batch = [] if opt.batch_size % count == 0 else ["--batch_size", str(count)]
    processes = f"--nproc_per_node={count}"
    return command_line([*torchrun(), processes, script("train.py"), *argv, *batch])


def results_line(opt: Any, *more: str) -> str:
    """Return the command that shows this run's results, with `more` flags."""
    words = ["--name", opt.name]
    if opt.checkpoints_dir != "./checkpoints":
        words += ["--checkpoints_dir", opt.checkpoints_dir]
    return run_line("test.py", *words, *phase_flags(opt), *more)


def phase_flags(opt: Any) -> list[str]:
    """Return the flags that choose images to translate, if there are none for a test."""
    root = Path(opt.dataroot)
    for phase in ("test", "val", opt.phase):
        stitched, *sides = ((root / f"{phase}{side}").is_dir() for side in ("", "A", "B"))
        if opt.dataset_mode == "measurements":  # needs no targets
            sides = [any((root / f"{phase}{opt.direction[0]}{n}").is_dir() for n in ("", "1"))]
        if stitched or all(sides):
            return [] if phase == "test" else ["--phase", phase]
    return []  # the dataset has no such folders
