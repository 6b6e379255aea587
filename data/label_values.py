"""The class numbers or colours that the label maps of each phase hold, and what follows."""

from typing import Any, NamedTuple

from data.label_reader import UNKNOWN

MOST_CLASSES = 1000  # of a count; label maps with larger numbers need --label_nc
NAMED = 6  # classes that a remark names


class LabelValues(NamedTuple):
    """What label maps hold, by phase; that of the training comes first."""

    phases: dict[str, dict[str, str]]  # phase → number or "#rrggbb" → a file that holds it, or ""
    colours: list[str]  # the palette, "#rrggbb" in the order of their values; [] of numbers

    def label_nc(self, offset: int, dontcare: bool) -> int:
        """Return the number of classes; ValueError if the numbers look like none of classes."""
        if self.colours:
            return len(self.colours)
        numbers = self.numbers()
        last = max((n for n in numbers if is_class(n, offset, dontcare)), default=offset)
        if last - offset >= MOST_CLASSES:
            raise ValueError(
                f"{numbers[last]}: holds the number {last}; label maps hold class numbers from 0 "
                f"on (is it an instance map?); --label_nc {last + 1 - offset} accepts it"
            )
        return last - offset + 1

    def remarks(self, opt: Any) -> list[str]:
        """Return remarks on unknown pixels, and on classes that a training cannot learn."""
        below = max((n for n in self.numbers() if n < UNKNOWN), default=0)
        classes = below + 1 - (opt.label_offset or 0)
        found = []
        if (
            not (self.colours or opt.contain_dontcare_label)
            and UNKNOWN in self.numbers()
            and classes < UNKNOWN < opt.label_nc
            and "label_nc" not in getattr(opt, "given", ())
        ):
            found.append(
                f"labels: {UNKNOWN} lies far from the other numbers, up to {below} (unknown "
                f"pixels?); --contain_dontcare_label makes them unknown: {classes} classes in "
                f"place of {opt.label_nc}"
            )
        (trained, learned), *others = self.phases.items()
        for phase, held in others:
            unseen = [v for v in held if v not in learned and self._is_class(v, opt)]
            if unseen:
                what = "colours" if self.colours else "class numbers"
                more = f" and {len(unseen) - NAMED} more" if unseen[NAMED:] else ""
                file = f" ({held[unseen[0]]})" if held[unseen[0]] else ""
                found.append(
                    f"labels: {phase} has {what} that {trained} lacks, so that they are not "
                    f"learned: {', '.join(unseen[:NAMED])}{more}{file}"
                )
        return found

    def numbers(self) -> dict[int, str]:
        """Return the numbers in all files, each with a file that holds it; {} of colours."""
        phases = [] if self.colours else [*self.phases.values()][::-1]
        return {int(number): file for held in phases for number, file in held.items()}

    def _is_class(self, value: str, opt: Any) -> bool:
        offset, dontcare = opt.label_offset or 0, opt.contain_dontcare_label
        return bool(self.colours) or is_class(int(value), offset, dontcare)


def is_class(number: int, offset: int, dontcare: bool) -> bool:
    """Return whether a number in a file is that of a class, and not unknown."""
    return not dontcare or (number >= offset and number != UNKNOWN)
