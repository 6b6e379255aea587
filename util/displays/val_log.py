"""`val_log.csv`: one line per validation of a run."""

import csv
import io
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from util.files import atomic_write


class Scores(NamedTuple):
    """The scores of a validation after `epoch`, by name; `note` is a text on the best epoch so far,
    `best_epoch` the number of that epoch, 0 if there is none, `best_metric` the score by which it
    is the best.
    """

    epoch: int
    values: dict[str, float]
    note: str = ""
    best_epoch: int = 0
    best_metric: str = ""


def format_scores(scores: Scores) -> str:
    """Return `(epoch: 5, val) L1: 0.1234 PSNR: 14.2100 …`."""
    values = " ".join(f"{name}: {value:.4f}" for name, value in scores.values.items())
    return f"(epoch: {scores.epoch}, val) {values}{scores.note}"


class ScoreLog:
    """Reads and writes `val_log.csv`: the epoch, then one column per metric."""

    def __init__(self, path: Path, continued: bool, since: int | None = None):
        """A continued run deletes lines from epoch `since` on, because it will validate them
        again; a new run starts an empty file.

        Lines of before a start from weights, which counts epochs anew, stay. ValueError names a
        file that cannot be read.
        """
        self.path = path
        self.lines = self.read() if continued else []
        later = float("inf")  # the epoch of the line that was deleted last
        while since and self.lines and since <= self.lines[-1].epoch < later:
            later = self.lines.pop().epoch
        if self.lines:
            self._write()
        else:
            path.unlink(missing_ok=True)

    def add(self, scores: Scores) -> None:
        """Append a line; a new metric gets a new column."""
        self.lines.append(scores)
        self._write()

    def read(self) -> list[Scores]:
        """Return the lines of the file, also after a spreadsheet or an editor has saved it."""
        if not self.path.exists():
            return []
        scores = []
        try:
            for row in rows(self.path.read_bytes()):
                if epoch := row.pop("epoch"):
                    values = {k: number(v) for k, v in row.items() if k and v}
                    scores.append(Scores(int(number(epoch)), values))
        except (ValueError, KeyError, TypeError, csv.Error):
            raise ValueError(
                f"{self.path}: cannot be read as a table of scores by epoch; move it away, and "
                f"the run starts a new one"
            ) from None
        return scores

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for scores in self.lines for name in scores.values))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["epoch", *columns], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"epoch": scores.epoch, **scores.values} for scores in self.lines)
        with atomic_write(self.path) as file:
            file.write(text.getvalue().encode())


def rows(content: bytes) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file; other programs may have changed its encoding or separator."""
    text = content.decode("utf-16" if content[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig")
    lines = [line for line in text.splitlines() if not line.startswith("#")]  # of PowerShell
    separators = [separator for separator in ",;\t" if lines and separator in lines[0]]
    table = csv.reader(lines, delimiter=[*separators, ","][0])
    names, *others = [[cell.strip() for cell in row] for row in table if row] or [["epoch"]]
    for row in others:
        yield dict(zip(names, row, strict=False))


def number(text: str) -> float:
    """Return a number that may have a decimal comma."""
    return float(text.replace(",", "."))
