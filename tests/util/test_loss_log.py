"""The one format of a line of losses, and which lines of the log are the run's own."""

import math
import re
from pathlib import Path

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


HEADER = "================ Training Loss (Mon Jan  1 00:00:00 2024{}) ================"


def line(epoch: int, iters: int) -> str:
    return format_line(ENTRY._replace(epoch=epoch, iters=iters))


def resumed(path: Path, since: tuple[int, int] | None) -> list[str]:
    """Return the lines that a resume leaves, as `epoch/iters`, a header as its note."""
    LossLog(path, continued=True, since=since)
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        entry, header = parse_line(text), re.search(r"\d{4}(.*)\) =", text)
        found.append(f"{entry.epoch}/{entry.iters}" if entry else header[1] if header else text)
    return found


def test_a_resume_drops_only_lines_that_it_writes_again(tmp_path):
    path = tmp_path / "loss_log.txt"
    LossLog(path, continued=False)
    for at in ((1, 5), (2, 5), (3, 5)):
        path.open("a").write(f"{line(*at)}\n")
    assert resumed(path, (2, 6)) == ["", "1/5", "2/5", ", continued"]
    path.open("a").write(f"{line(3, 4)}\n")  # killed before its first save
    assert resumed(path, (2, 6)) == ["", "1/5", "2/5", ", continued", ", continued"]


@pytest.mark.parametrize("note", [", continued", ", continued without its state"])
def test_the_lines_of_before_a_start_from_weights_stay(tmp_path, note):
    """Such a start counts epochs anew; early versions wrote the same header for it."""
    path = tmp_path / "loss_log.txt"
    parts = [[(1, 5), (2, 5), (3, 5), (4, 5)], [(1, 5), (2, 5), (3, 5)]]
    texts = [HEADER.format(""), *(line(*at) for at in parts[0])]
    texts += [HEADER.format(note), *(line(*at) for at in parts[1])]
    path.write_text("\n".join(texts) + "\n")
    first = ["", "1/5", "2/5", "3/5", "4/5", note]
    assert resumed(path, (2, 5)) == [*first, "1/5", "2/5", ", continued"]
    assert resumed(path, (2, 2)) == [*first, "1/5", ", continued"]
    assert resumed(path, (1, 1)) == [*first, ", continued"]


def test_a_start_from_weights_that_has_written_nothing_loses_no_line(tmp_path):
    path = tmp_path / "loss_log.txt"
    log = LossLog(path, continued=False)
    for at in ((1, 5), (2, 5), (3, 5)):
        log.add(ENTRY._replace(epoch=at[0], iters=at[1]))
    before = ["", "1/5", "2/5", "3/5", ", continued without its state"]
    assert resumed(path, None) == before
    assert resumed(path, (1, 2)) == [*before, ", continued"]
    assert [entry.epoch for entry in LossLog(path, continued=True).entries()] == [1, 2, 3]


def test_an_older_checkpoint_drops_the_lines_of_several_resumes(tmp_path):
    path = tmp_path / "loss_log.txt"
    log = LossLog(path, continued=False)
    for epoch in (1, 2):
        log.add(ENTRY._replace(epoch=epoch))
    for epoch in (3, 4):
        log = LossLog(path, continued=True, since=(epoch, 0))
        log.add(ENTRY._replace(epoch=epoch))
    assert resumed(path, (2, 0)) == ["", "1/100", ", continued"]


def test_other_runs_and_notes_of_the_user_stay(tmp_path):
    path = tmp_path / "loss_log.txt"
    texts = [HEADER.format(""), line(9, 9), HEADER.format(""), "my note", line(1, 1), line(2, 1)]
    path.write_text("\n".join([*texts, "diverged here?", line(2, 2)]) + "\n")
    kept = ["", "9/9", "", "my note", "1/1", "diverged here?", ", continued"]
    assert resumed(path, (1, 1)) == kept


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff{}\r\n{}\r\n".encode(),
        "{}\n{}\n# für α\n".encode("latin-1", "replace"),
        b"\xff{}\n{}\n",
    ],
)
def test_a_log_from_any_editor_is_continued(tmp_path, content):
    path = tmp_path / "loss_log.txt"
    for old, new in ((b"{}", HEADER.format("").encode()), (b"{}", line(1, 1).encode())):
        content = content.replace(old, new, 1)
    path.write_bytes(content)
    log = LossLog(path, continued=True, since=(1, 1))
    log.add(ENTRY._replace(epoch=2))
    assert [entry.epoch for entry in log.entries()] == [1, 2]
    assert content.splitlines()[-1] in path.read_bytes()


@pytest.mark.parametrize("since", [None, (1, 1)])
def test_a_line_that_a_power_cut_has_torn_spoils_no_other(tmp_path, since):
    path = tmp_path / "loss_log.txt"
    path.write_text(f"{HEADER.format('')}\n{line(1, 1)}\n{line(1, 2)[:30]}")
    log = LossLog(path, continued=True, since=since)
    log.add(ENTRY)
    assert [entry.iters for entry in log.entries()] == [1, 100]
    assert len(path.read_text().splitlines()) == 5
