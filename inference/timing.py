"""Where the time of a test goes."""

import contextlib
import time
from collections.abc import Iterator


class Stopwatch:
    """Adds up the `seconds` spent within it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the time within the block, also if it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


def describe_time(images: int, whole: float, loading: float, writing: float) -> str:
    """Return images a second, and how the `whole` seconds were spent."""
    parts = {"loading": loading, "waiting for files to be written": writing}
    parts = {"computing": whole - loading - writing} | parts
    shares = ", ".join(f"{seconds / whole:.0%} {name}" for name, seconds in parts.items())
    return f"{images / whole:.3g} images a second: {shares}"
