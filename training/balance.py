"""Says, once, that a GAN has lost its balance."""

import logging
from collections import Counter
from collections.abc import Mapping

from torch import Tensor

log = logging.getLogger(__name__)

# A loss of D below which it tells nearly all pictures apart; with wgangp there is none such.
WON = {"vanilla": 0.05, "lsgan": 0.01, "hinge": 0.05}
LINES = 20  # in a row, before anything is said
GREY_LEVEL = 2 / 255


class Balance:
    """Looks at each printed line of losses and at the pictures of its step."""

    def __init__(self, gan_mode: str):
        self.won = WON.get(gan_mode)
        self.lines: Counter[str] = Counter()
        self.said: set[str] = set()
        self.last: dict[str, Tensor] = {}

    def see(self, losses: Mapping[str, float], visuals: Mapping[str, Tensor]) -> None:
        """Take in the losses of a line and its step's pictures, (N, C, H, W) in [-1, 1]."""
        of_D = {name: value for name, value in losses.items() if name.startswith("D_")}
        if of_D and self.won:
            names = " and ".join(of_D)
            what = f"D has won: {names} below {self.won:g}; G learns little from it (docs/qa.md)"
            self._note(max(of_D.values()) < self.won, what)
        for label in (name for name in visuals if name.startswith("fake")):
            picture = visuals[label][0].detach().float()
            before = self.last.get(label, picture.new_zeros(0))
            flat = bool(picture.amax() - picture.amin() < GREY_LEVEL)
            self._note(flat, f"{label} is one flat colour: G has collapsed (docs/qa.md)")
            same = before.shape == picture.shape and (picture - before).abs().mean() < GREY_LEVEL
            what = f"{label} is the same picture whatever the input: G has collapsed (docs/qa.md)"
            self._note(bool(same) and not flat, what)
            self.last[label] = picture.clone()

    def _note(self, so: bool, what: str) -> None:
        self.lines[what] = self.lines[what] + 1 if so else 0
        if self.lines[what] == LINES and what not in self.said:
            self.said.add(what)
            log.warning("for %d lines in a row, %s", LINES, what)
