"""A test says how its time was spent."""

import time
from types import SimpleNamespace

import pytest

from inference import timing
from inference.image_writer import ImageWriter
from inference.timing import Stopwatch, describe_time


def test_the_time_that_is_neither_loading_nor_writing_is_computing():
    said = describe_time(30, whole=4.0, loading=0.4, writing=0.2)
    wanted = "7.5 images a second: 85% computing, 10% loading, 5% waiting for files to be written"
    assert said == wanted


def test_a_stopwatch_adds_up_also_when_a_block_fails(monkeypatch):
    now = iter([1.0, 3.0, 10.0, 14.0])
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    watch = Stopwatch()
    with watch.running():
        pass
    with pytest.raises(ValueError, match="broken"), watch.running():
        raise ValueError("broken")
    assert watch.seconds == 6.0


@pytest.mark.parametrize("calls", [1, 3])  # waiting at the end, and for a place among the pending
def test_a_writer_counts_the_time_for_which_it_is_waited(calls):
    started = time.perf_counter()
    with ImageWriter(threads=1, waiting=1) as writer:
        for _ in range(calls):
            writer.run(time.sleep, 0.05)
    assert 0.9 * 0.05 * calls < writer.waits.seconds <= time.perf_counter() - started
