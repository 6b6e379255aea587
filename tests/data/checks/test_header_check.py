"""The look at headers before a training takes its time for images, not for imports."""

from pathlib import Path

import data.checks.image_check
from data.checks.image_check import Finding, check_headers


def test_the_time_to_import_a_decoder_does_not_count(monkeypatch) -> None:
    now, seen = 0.0, []

    def inspect(path: str, **how: object) -> list[Finding]:
        nonlocal now
        new = Path(path).suffix not in {Path(other).suffix for other in seen}
        seen.append(path)
        now += 5 if new else 0.25
        return []

    monkeypatch.setattr(data.checks.image_check, "inspect", inspect)
    monkeypatch.setattr(data.checks.image_check.time, "monotonic", lambda: now)
    files = [f"{i}.{kind}" for i in range(50) for kind in ("png", "tif", "webp")]
    check_headers(files, seconds=2.0)
    assert len(seen) == 3 + 9  # each kind once, then two seconds
