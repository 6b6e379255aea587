"""`loss_log.txt`: write and parse its lines."""

import re
import time
from pathlib import Path
from typing import NamedTuple

from util.files import atomic_write

_LINE = re.compile(r"\(epoch: (\d+), iters: (\d+), time: ([\d.]+), data: ([\d.]+)[^)]*\) (.*)")
_LOSS = re.compile(r"(\S+): (\S+)")
# What the header of a continued run notes; without latest_state.pth, epochs may be counted anew.
CONTINUED, WITHOUT_STATE = ", continued", ", continued without its state"


class Entry(NamedTuple):
    """A line of losses; `iters` counts images in the epoch, times are seconds per image."""

    epoch: int
    iters: int
    losses: dict[str, float]
    compute: float
    data: float


def format_line(entry: Entry) -> str:
    """Return `(epoch: 1, iters: 100, time: 0.123, data: 0.004, wait: 3%) G_GAN: 0.931 …`.

    `wait` is data / (compute + data), the fraction of the time spent waiting for data.
    """
    wait = entry.data / max(entry.compute + entry.data, 1e-12)
    head = f"epoch: {entry.epoch}, iters: {entry.iters}"
    times = f"time: {entry.compute:.3f}, data: {entry.data:.3f}, wait: {wait:.0%}"
    losses = " ".join(f"{name}: {value:.3f}" for name, value in entry.losses.items())
    return f"({head}, {times}) {losses}"


def parse_line(line: str) -> Entry | None:
    """Return the entry of a line; None if the line holds no losses."""
    match = _LINE.match(line)
    if not match:
        return None
    epoch, iters, compute, data, rest = match.groups()
    try:
        losses = {name: float(value) for name, value in _LOSS.findall(rest)}
        return Entry(int(epoch), int(iters), losses, float(compute), float(data))
    except ValueError:  # a truncated line
        return None


class LossLog:
    """`loss_log.txt`: one line per entry, appended; every run starts with a header."""

    def __init__(self, path: Path, continued: bool, since: tuple[int, int] | None = None):
        """A continued run deletes lines after `since`, the (epoch, iters) that it resumes from,
        because it will write them again.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._lines()
        if continued and since and lines:
            lines = without_newer(lines, since)
            with atomic_write(path) as file:
                file.write("".join(lines).encode("utf-8", "surrogateescape"))
        if lines and not lines[-1].endswith("\n"):  # torn by a power cut
            self._append("")
        note = CONTINUED if since else WITHOUT_STATE
        note = note if continued else ""
        self._append(
            f"================ Training Loss ({time.strftime('%c')}{note}) ================"
        )

    def add(self, entry: Entry) -> str:
        """Append a line and return it."""
        line = format_line(entry)
        self._append(line)
        return line

    def entries(self) -> list[Entry]:
        """Return the entries since the header of the last run that started from scratch."""
        entries: list[Entry] = []
        for line in self._lines():
            if line.startswith("=====") and CONTINUED not in line:
                entries = []
            elif entry := parse_line(line):
                entries.append(entry)
        return entries

    def resumes(self) -> list[tuple[int, int]]:
        """Return the (epoch, iters) of the last line of losses before each resume."""
        resumes: list[tuple[int, int]] = []
        last = None
        for line in self._lines():
            if line.startswith("====="):
                resumes = [] if CONTINUED not in line else [*resumes, *([last] if last else [])]
            elif entry := parse_line(line):
                last = entry[:2]
        return resumes

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        return text.splitlines(keepends=True)

    def _append(self, line: str) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def without_newer(lines: list[str], since: tuple[int, int]) -> list[str]:
    """Return the lines of a log without the entries after `since`, an (epoch, iters).

    Only the part of the log that the run continues loses lines: a training from scratch or from
    weights alone starts another, which shows in its header or in epochs that are counted anew.
    """
    start, last = 0, (0, 0)
    entries = [parse_line(line) for line in lines]
    for i, (line, entry) in enumerate(zip(lines, entries, strict=True)):
        is_header = line.startswith("=====")
        if is_header and (CONTINUED not in line or WITHOUT_STATE in line):
            start, last = i, (0, 0)
        elif entry:
            start = i if entry[:2] < last else start
            last = entry[:2]
    newer = [i for i in range(start, len(lines)) if entries[i] and entries[i][:2] > since]
    first = newer[0] if newer else len(lines)
    drops = {*newer, *(i for i in range(first, len(lines)) if lines[i].startswith("====="))}
    return [line for i, line in enumerate(lines) if i not in drops]
