"""The class numbers or colours that the label maps of each phase hold, and what follows."""

from typing import Any, NamedTuple

from data.labels.reader import UNKNOWN
from util.palette import SAME_COLOUR, from_hex, nearest_and_distance

MOST_CLASSES = 1000  # of a count; label maps with larger numbers need --label_nc
TOO_MANY = 1.2  # times the classes that label maps hold; a larger --label_nc is remarked
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
        largest = max((n for n in self.numbers() if n < UNKNOWN), default=0)
        classes = largest + 1 - (opt.label_offset or 0)
        remarks = []
        if (
            not (self.colours or opt.contain_dontcare_label)
            and UNKNOWN in self.numbers()
            and classes < UNKNOWN < opt.label_nc
            and "label_nc" not in getattr(opt, "given", ())
        ):
            remarks.append(
                f"labels: {UNKNOWN} lies far from the other numbers, up to {largest} (unknown "
                f"pixels?); --contain_dontcare_label makes them unknown: {classes} classes in "
                f"place of {opt.label_nc}"
            )
        remarks += self._too_many_classes(opt) + self._colours_of_no_class(opt)
        (trained, learned), *others = self.phases.items()
        for phase, values in others:
            unseen = [v for v in values if v not in learned and self._is_class(v, opt)]
            if unseen:
                kind = "colours" if self.colours else "class numbers"
                rest = f" and {len(unseen) - NAMED} more" if unseen[NAMED:] else ""
                file = f" ({values[unseen[0]]})" if values[unseen[0]] else ""
                remarks.append(
                    f"labels: {phase} has {kind} that {trained} lacks, so that they are not "
                    f"learned: {', '.join(unseen[:NAMED])}{rest}{file}"
                )
        return remarks

    def _too_many_classes(self, opt: Any) -> list[str]:
        """Return a remark on a --label_nc far above the numbers of the label maps."""
        offset, dontcare = opt.label_offset or 0, opt.contain_dontcare_label
        numbers = [n - offset for n in self.numbers() if is_class(n, offset, dontcare)]
        last = max(numbers, default=0)
        if opt.label_nc <= TOO_MANY * (last + 1) or "label_nc" not in getattr(opt, "given", ()):
            return []
        return [
            f"labels: --label_nc {opt.label_nc}, but no label map has a class above {last}; the "
            f"others are not learned"
        ]

    def _colours_of_no_class(self, opt: Any) -> list[str]:
        """Return a remark on colours of label maps that are far from those of all classes."""
        if not self.colours or not isinstance(opt.label_colours, list):
            return []
        colours, classes = from_hex(self.colours), from_hex(opt.label_colours)
        is_far = nearest_and_distance(colours[None], classes)[1][0] > SAME_COLOUR
        stray = [colour for colour, far in zip(self.colours, is_far, strict=True) if far]
        if not stray:
            return []
        rest = f" and {len(stray) - NAMED} more" if stray[NAMED:] else ""
        return [
            f"labels: no class has the colours {', '.join(stray[:NAMED])}{rest}; they count as the "
            f"nearest one of --label_colours"
        ]

    def numbers(self) -> dict[int, str]:
        """Return the numbers in all files, each with a file that holds it; {} of colours."""
        phases = [] if self.colours else [*self.phases.values()][::-1]
        return {int(number): file for values in phases for number, file in values.items()}

    def _is_class(self, value: str, opt: Any) -> bool:
        offset, dontcare = opt.label_offset or 0, opt.contain_dontcare_label
        return bool(self.colours) or is_class(int(value), offset, dontcare)


def is_class(number: int, offset: int, dontcare: bool) -> bool:
    """Return whether a number in a file is that of a class, and not unknown."""
    return not dontcare or (number >= offset and number != UNKNOWN)
