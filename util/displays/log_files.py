"""Log a run to its text files."""

from util.displays.display import Display
from util.displays.loss_log import Entry, LossLog
from util.displays.val_log import ScoreLog, Scores


class LogFiles(Display):
    """Writes `loss_log.txt` and `val_log.csv`."""

    def __init__(self, loss_log: LossLog, score_log: ScoreLog):
        self.loss_log, self.score_log = loss_log, score_log

    def show_losses(self, entry: Entry, total: int) -> None:
        self.loss_log.add(entry)

    def show_scores(self, scores: Scores, total: int) -> None:
        self.score_log.add(scores)
