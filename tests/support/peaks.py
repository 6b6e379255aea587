"""How much memory a part of a program takes at its peak."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from support.torchruns import environment

from util.memory import peak_memory, reset_peak

CPU = torch.device("cpu")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="no other system resets peaks")

OF_A_SCRIPT = """
import runpy, sys
from support.peaks import measured_peak
main = runpy.run_path(sys.argv[1])["main"]
with measured_peak() as peak:
    main(sys.argv[2:])
print(peak.grown)
"""


@contextmanager
def measured_peak() -> Iterator[SimpleNamespace]:
    """Measure as `grown` the bytes by which this process grows at most."""
    peak = SimpleNamespace()
    if sys.platform == "linux":
        reset_peak()
    before = peak_memory(CPU)
    yield peak
    peak.grown = peak_memory(CPU) - before


def peak_in_a_process(lines: str, *argv: object) -> float:
    """Return the GiB that lines of Python print as bytes, run in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", lines, *map(str, argv)],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]) / 2**30
