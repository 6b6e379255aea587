"""Log a run to TensorBoard."""

from pathlib import Path

import numpy as np

from util.displays.display import Display
from util.displays.loss_log import Entry
from util.displays.val_log import Scores


class TensorBoard(Display):
    """Writes an event file, for `tensorboard --logdir CHECKPOINTS_DIR`; a step is an image."""

    def __init__(self, folder: Path):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder, flush_secs=30)

    def show_losses(self, entry: Entry, total: int) -> None:
        for name, value in entry.losses.items():
            self.writer.add_scalar(f"loss/{name}", value, total)

    def show_scores(self, scores: Scores, total: int) -> None:
        for name, value in scores.values.items():
            self.writer.add_scalar(f"val/{name}", value, total)

    def show_images(self, images: dict[str, np.ndarray], epoch: int, total: int) -> None:
        for label, image in images.items():
            self.writer.add_image(label, image, total, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()
