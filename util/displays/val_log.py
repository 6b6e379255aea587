"""`val_log.csv`: one line per validation of a run."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from util.files import atomic_write


class Scores(NamedTuple):
    """The scores of a validation after `epoch`, by name; `note` tells which is the best so far."""

    epoch: int
    values: dict[str, float]
    note: str = ""


def format_scores(scores: Scores) -> str:
    """Return `(epoch: 5, val) L1: 0.1234 PSNR: 14.2100 …`."""
    values = " ".join(f"{name}: {value:.4f}" for name, value in scores.values.items())
    return f"(epoch: {scores.epoch}, val) {values}{scores.note}"


class ScoreLog:
    """Reads and writes `val_log.csv`: the epoch, then one column per metric."""

    def __init__(self, path: Path, continued: bool, since: int | None = None):
        """A continued run deletes lines from epoch `since` on, because it will validate them
        again; a new run starts an empty file.
        """
        self.path = path
        kept = self.read() if continued else []
        self.lines = [scores for scores in kept if since is None or scores.epoch < since]
        if self.lines:
            self._write()
        else:
            path.unlink(missing_ok=True)

    def add(self, scores: Scores) -> None:
        """Append a line; a new metric gets a new column."""
        self.lines.append(scores)
        self._write()

    def read(self) -> list[Scores]:
        """Return the lines of the file."""
        if not self.path.exists():
            return []
        found = []
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                epoch = int(row.pop("epoch"))
                found.append(Scores(epoch, {k: float(v) for k, v in row.items() if v}))
        return found

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for scores in self.lines for name in scores.values))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *columns], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"epoch": scores.epoch, **scores.values} for scores in self.lines)
        with atomic_write(self.path) as file:
            file.write(text.getvalue().encode())
