"""Computing and waiting, told apart on a timing that the test moves."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from training import timing
from training.health import WaitingAdvice
from training.timing import StepTimer, time_left


class Time:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


def batches(time: Time, waits: list[float]) -> Iterator[int]:
    """Yield 0, 1, …, each after its wait."""
    for i, wait in enumerate(waits):
        time.passes(wait)
        yield i


def test_times_are_seconds_a_image_with_waiting_apart(time):
    timer = StepTimer()
    for _ in timer.batches(batches(time, [0.5, 1.5])):
        time.passes(3)
        timer.images += 2
    assert timer.lap() == (6 / 4, 2 / 4)


def test_time_between_batches_of_another_kind_is_computing(time):
    timer = StepTimer()
    time.passes(4)
    for _ in timer.batches(batches(time, [1])):
        timer.images += 1
    assert timer.lap() == (4, 1)


def test_a_lap_counts_the_wait_of_its_own_batches(time):
    timer, laps = StepTimer(), []
    for i in timer.batches(batches(time, [1, 2, 4])):
        time.passes(10 * (i + 1))
        timer.images += 1
        laps.append(timer.lap())
    assert laps == [(10, 1), (20, 2), (30, 4)]


def test_a_lap_starts_a_new_interval(time):
    timer = StepTimer()
    timer.images = 5
    time.passes(10)
    assert timer.lap() == (2, 0)
    assert timer.lap() == (0, 0)


def test_a_lap_without_images_counts_as_one(time):
    timer = StepTimer()
    time.passes(3)
    assert timer.lap() == (3, 0)


def test_waiting_for_the_end_is_waiting(time):
    def ends_late() -> Iterator[int]:
        yield 0
        time.passes(7)

    timer = StepTimer()
    assert list(timer.batches(ends_late())) == [0]
    assert timer.lap() == (0, 7)


def test_batches_come_through_unchanged_and_one_at_a_time(time):
    asked = []

    def source() -> Iterator[int]:
        for i in range(3):
            asked.append(i)
            yield i

    seen = []
    for batch in StepTimer().batches(source()):
        seen.append((batch, list(asked)))
    assert seen == [(0, [0]), (1, [0, 1]), (2, [0, 1, 2])]


def test_an_error_while_waiting_passes_through(time):
    def broken() -> Iterator[int]:
        yield 0
        raise ValueError("broken.png")

    with pytest.raises(ValueError, match="broken.png"):
        list(StepTimer().batches(broken()))


def test_the_time_that_has_passed_is_counted_once(time):
    timer = StepTimer()
    time.passes(3)
    assert timer.elapsed() == 3
    time.passes(2)
    assert timer.elapsed() == 2 and timer.elapsed() == 0


def test_the_share_of_waiting_is_that_of_the_whole_time(time):
    timer = StepTimer()
    for _ in timer.batches(batches(time, [1, 3])):
        time.passes(2)
        timer.lap()
    assert timer.share() == 4 / 8


@pytest.mark.parametrize(
    ("waiting", "threads", "cache", "said"),
    [
        ([0.9, 0.1, 0.05], 0, "auto", []),
        ([0.9, 0.2, 0.3], 1, "none", ["20%", "--num_threads 4", "--cache ram", "--cache disk"]),
        ([0.0, 0.0, 0.11], 4, "ram", ["11%", "a faster disk"]),
        ([0.0, 0.0, 0.11], 4, "", ["11%", "try smaller files"]),
    ],
)
def test_long_waiting_is_said_once_with_what_to_change(
    caplog, monkeypatch, waiting, threads, cache, said
):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    caplog.set_level("INFO")
    advice = WaitingAdvice()
    for share in waiting:
        advice.after_epoch(share, threads, cache)
    assert len(caplog.messages) == bool(said)
    assert all(word in caplog.text for word in said)
    assert ("--num_threads" in caplog.text) == (threads < 4 and bool(said))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, ""),
        (59, ""),
        (90, ", about 1.5 min left"),
        (9400, ", about 2.6 h left"),
        (200_000, ", about 2.3 days left"),
    ],
)
def test_the_time_left_is_said_in_a_unit_that_fits(seconds: float, said: str) -> None:
    assert time_left(seconds) == said
