"""The one format of a line of losses, and which lines of the log are the run's own."""

import math

import pytest

from util.displays.loss_log import Entry, LossLog, format_line, parse_line

LOSSES = {"G_GAN": 0.931, "G_L1": 9.123, "D_real": 0.431, "D_fake": 0.537}
ENTRY = Entry(epoch=1, iters=100, losses=LOSSES, compute=0.123, data=0.004)
REFERENCE = (
    "(epoch: 1, iters: 100, time: 0.123, data: 0.004) "
    "G_GAN: 0.931 G_L1: 9.123 D_real: 0.431 D_fake: 0.537"
)


def test_line_has_exactly_this_text():
    assert format_line(ENTRY) == REFERENCE.replace("0.004)", "0.004, wait: 3%)")


@pytest.mark.parametrize(
    ("compute", "data", "text"),
    [
        (0.0, 0.0, "time: 0.000, data: 0.000, wait: 0%"),
        (0.0, 2.0, "time: 0.000, data: 2.000, wait: 100%"),
        (1.5, 0.5, "time: 1.500, data: 0.500, wait: 25%"),
        (12.3456, 0.0004, "time: 12.346, data: 0.000, wait: 0%"),
    ],
)
def test_wait_is_the_share_of_the_whole_time(compute, data, text):
    assert (
        format_line(Entry(7, 3, {"D": 1.0}, compute, data))
        == f"(epoch: 7, iters: 3, {text}) D: 1.000"
    )


def test_losses_keep_their_order():
    losses = {"Z": 1.0, "A": 2.0, "M": -3.0}
    line = format_line(ENTRY._replace(losses=losses))
    assert line.endswith(") Z: 1.000 A: 2.000 M: -3.000")
    assert list(parse_line(line).losses) == ["Z", "A", "M"]


def test_line_parses_back():
    assert parse_line(format_line(ENTRY)) == ENTRY


@pytest.mark.parametrize("value", [-0.25, 0.0, 123456.789, math.inf])
def test_any_loss_parses_back(value):
    assert parse_line(format_line(ENTRY._replace(losses={"G": value}))).losses == {"G": value}


def test_nan_parses_back():
    assert math.isnan(parse_line(format_line(ENTRY._replace(losses={"G": math.nan}))).losses["G"])


def test_reference_line_parses():
    assert parse_line(REFERENCE) == parse_line(REFERENCE + " ") == ENTRY


def test_further_fields_inside_the_parentheses_are_passed_over():
    assert parse_line(REFERENCE.replace("0.004)", "0.004, wait: 3%, memory: 2.1)")) == ENTRY


@pytest.mark.parametrize(
    "line",
    [
        "",
        "================ Training Loss (Mon Jan  1 00:00:00 2024) ================",
        "epoch 1/200 took 3 s, learning rate 0.0002000",
        "G_GAN: 0.931 G_L1: 9.123",
        "(epoch: one, iters: 100, time: 0.123, data: 0.004) G: 1.0",
        "(epoch: 1, iters: 100, time: 0.123) G: 1.0",
        "(epoch: 1, iters: 100, time: 0.123, data: 0.0",
        "note: " + REFERENCE,
    ],
)
def test_other_lines_are_none(line):
    assert parse_line(line) is None


@pytest.mark.parametrize("damage", [("0.931", "-"), ("0.931", "0.9.1"), ("0.123", "0.1.23")])
def test_a_damaged_number_makes_it_no_line_of_losses(damage):
    assert parse_line(REFERENCE.replace(*damage)) is None


def test_lines_are_appended_behind_a_header(tmp_path):
    log = LossLog(tmp_path / "run" / "loss_log.txt", continued=False)
    returned = log.add(ENTRY)
    header, line = log.path.read_text().splitlines()
    assert header.startswith("================ Training Loss (") and header.endswith("=====")
    assert line == returned == format_line(ENTRY)


def test_entries_forget_earlier_fresh_runs(tmp_path):
    path = tmp_path / "loss_log.txt"
    LossLog(path, continued=False).add(ENTRY)
    log = LossLog(path, continued=False)
    assert log.entries() == []
    log.add(ENTRY._replace(epoch=2))
    assert log.entries() == [ENTRY._replace(epoch=2)]
    assert path.read_text().count("(epoch: ") == 2


def test_entries_keep_those_of_the_run_that_is_continued(tmp_path):
    path = tmp_path / "loss_log.txt"
    LossLog(path, continued=False).add(ENTRY._replace(epoch=9))
    for epoch, continued in ((1, False), (2, True), (3, True)):
        log = LossLog(path, continued=continued)
        log.add(ENTRY._replace(epoch=epoch))
    assert [entry.epoch for entry in log.entries()] == [1, 2, 3]


def test_a_log_of_the_reference_is_continued(tmp_path):
    path = tmp_path / "loss_log.txt"
    header = "================ Training Loss (Mon Jan  1 00:00:00 2024) ================"
    path.write_text(f"{header}\n{REFERENCE}\n")
    assert LossLog(path, continued=True).entries() == [ENTRY]
