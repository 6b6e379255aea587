"""The record of the weights that a training has written, which says what it may delete."""

import logging
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

NAME = re.compile(r"[^/\\]+_net_[^/\\]+\.pth")  # a file of weights in the run's folder


@dataclass
class SavedFiles:
    """Files of weights by tag (a number of an epoch, `latest`, `best`, `iter_N`), oldest first.

    `own` are the tags that this run has written, also before it was resumed. The others are of an
    earlier run of the same name.
    """

    by_tag: dict[str, list[str]] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)

    def add(self, tag: str | int, names: Iterable[str]) -> list[str]:
        """Record that this run has written files; return those of other weights of the tag: of a
        run that this one replaces all, else the EMA files.

        These would be loaded beside the new weights.
        """
        tag, names = str(tag), list(names)
        before, replaces = self.by_tag.pop(tag, []), tag not in self.own
        self.by_tag[tag] = names
        self.own = [*(other for other in self.own if other != tag), tag]
        others = [name for name in before if name not in names]
        return [name for name in others if replaces or name.endswith("_ema.pth")]

    def drop_old_epochs(self, keep: float) -> list[str]:
        """Forget all but the last `keep` epochs that this run has written; return their files."""
        epochs = [tag for tag in self.own if tag.isdecimal()]
        return self._drop(epochs[: len(epochs) - keep] if keep < len(epochs) else [])

    def drop_replaced(self) -> list[str]:
        """Forget the weights of the run that this one replaces; return their files."""
        return self._drop([tag for tag in self.by_tag if tag not in self.own])

    def _drop(self, tags: list[str]) -> list[str]:
        self.own = [tag for tag in self.own if tag not in tags]
        return [name for tag in tags for name in self.by_tag.pop(tag, [])]

    def state_dict(self) -> dict[str, Any]:
        """Return plain values for latest_state.pth."""
        return asdict(self)

    @classmethod
    def from_state(cls, saved: Any) -> "SavedFiles":
        """Read what a file holds: nothing in those of early versions and in damaged ones.

        Names that are no file of weights are left out.
        """
        saved = saved if isinstance(saved, dict) else {}
        by_tag, own = saved.get("by_tag"), saved.get("own")
        by_tag = by_tag if isinstance(by_tag, dict) else {}
        lists = {tag: files for tag, files in by_tag.items() if isinstance(files, list)}
        return cls(
            {tag: [n for n in files if NAME.fullmatch(str(n))] for tag, files in lists.items()},
            [str(tag) for tag in own] if isinstance(own, list) else [],
        )


def delete(folder: Path, names: Iterable[str]) -> None:
    """Delete files; one that cannot be deleted is only logged."""
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: could not be deleted (%s)", folder / name, error.strerror)
