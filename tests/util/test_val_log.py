"""val_log.csv."""

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
