"""val_log.csv."""

import pytest
from conftest import refusal

from util.displays.val_log import ScoreLog, Scores, format_scores


def test_lines_are_read_back_and_new_metrics_get_columns(tmp_path):
    path = tmp_path / "val_log.csv"
    log = ScoreLog(path, continued=False)
    assert not path.exists()  # a run without validation has none
    log.add(Scores(2, {"L1": 0.1 + 0.2, "PSNR": 14.0}))
    log.add(Scores(4, {"L1": 0.25, "L1_ema": 0.125}))
    assert path.read_text().splitlines() == [
        "epoch,L1,PSNR,L1_ema",
        "2,0.30000000000000004,14.0,",
        "4,0.25,,0.125",
    ]
    assert ScoreLog(path, continued=True).lines == log.lines


def test_a_continued_run_drops_what_it_does_anew_and_a_new_run_begins_afresh(tmp_path):
    path = tmp_path / "val_log.csv"
    log = ScoreLog(path, continued=False)
    for epoch in (1, 2, 3):
        log.add(Scores(epoch, {"L1": 1.0 / epoch}))
    assert [s.epoch for s in ScoreLog(path, continued=True, since=3).lines] == [1, 2]
    assert [s.epoch for s in ScoreLog(path, continued=True).lines] == [1, 2]
    assert ScoreLog(path, continued=False).lines == []
    assert ScoreLog(path, continued=True).lines == []


def test_the_line_on_the_console():
    scores = Scores(5, {"L1": 0.12345, "PSNR": 14.2}, " (best L1: 0.1234 of epoch 5)")
    wanted = "(epoch: 5, val) L1: 0.1235 PSNR: 14.2000 (best L1: 0.1234 of epoch 5)"
    assert format_scores(scores) == wanted


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffepoch,L1,PSNR\n2,0.25,14.5\n4,0.125,\n".encode(),
        "\ufeffepoch;L1;PSNR\r\n2;0,25;14,5\r\n4;0,125;\r\n;;\r\n".encode(),
        "\ufeffepoch\tL1\tPSNR\r\n2\t0.25\t14.5\r\n4\t0.125\t\r\n".encode("utf-16-le"),
        b'"epoch","L1","PSNR"\n"2","0.25","14.5"\n\n"4","0.125",""\n',
        b"epoch, L1, PSNR\n2.0, 0.25, 14.5\n4.0, 0.125, \n",
        b'#TYPE System.Object\r\n"epoch","L1","PSNR"\r\n"2","0.25","14.5"\r\n"4","0.125",\r\n',
    ],
    ids=["BOM", "semicolons", "UTF-16", "quotes", "spaces", "type"],
)
def test_a_file_that_another_program_has_saved_is_read(tmp_path, content):
    path = tmp_path / "val_log.csv"
    path.write_bytes(content)
    log = ScoreLog(path, continued=True, since=6)
    assert log.lines == [Scores(2, {"L1": 0.25, "PSNR": 14.5}), Scores(4, {"L1": 0.125})]
    log.add(Scores(6, {"L1": 0.5}))
    assert path.read_text() == "epoch,L1,PSNR\n2,0.25,14.5\n4,0.125,\n6,0.5,\n"


@pytest.mark.parametrize(
    "content", [b"step,L1\n1,0.5\n", b"epoch,L1\n1,good\n", b"\xff\x00\x80", b"epoch,L1\nx,0.5\n"]
)
def test_a_file_that_is_none_is_named_and_kept(tmp_path, content):
    path = tmp_path / "val_log.csv"
    path.write_bytes(content)
    refusal(lambda: ScoreLog(path, continued=True), str(path), "move it")
    assert path.read_bytes() == content
    ScoreLog(path, continued=False)  # a new run does not read it


def test_the_scores_of_before_a_start_from_weights_stay(tmp_path):
    path = tmp_path / "val_log.csv"
    log = ScoreLog(path, continued=False)
    for epoch in (1, 2, 3, 4, 1, 2, 3):  # from weights, which counts epochs anew
        log.add(Scores(epoch, {"L1": 1.0 / epoch}))
    assert [s.epoch for s in ScoreLog(path, True, since=2).lines] == [1, 2, 3, 4, 1]
    assert [s.epoch for s in ScoreLog(path, True, since=1).lines] == [1, 2, 3, 4]
