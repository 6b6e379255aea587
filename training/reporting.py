"""What a training shows, and when: losses, images, scores."""

from typing import Any

from training.health import CollapseMonitor, NanCheck
from training.samples import Samples
from training.state import TrainingState
from training.timing import StepTimer
from util.displays.val_log import Scores
from util.visualizer import Visualizer


class Reporter:
    """Shows a training at the intervals of its flags, which count images.

    Losses every `--print_freq`, the images of a step on the live displays every `--display_freq`,
    the samples on the page every `--update_html_freq`. Losses and live images are shown once an
    epoch at least; the trainer shows the samples at the end of each epoch.
    """

    def __init__(
        self,
        opt: Any,
        state: TrainingState,
        *,
        samples: Samples,
        visualizer: Visualizer,
        nan_check: NanCheck,
    ):
        self.opt, self.model, self.progress = opt, state.model, state.progress
        self.samples, self.visualizer, self.nan_check = samples, visualizer, nan_check
        self.collapse_monitor = CollapseMonitor(opt.gan_mode)
        self.losses_shown_in = self.images_shown_in = 0  # the last epoch of which they were shown

    def after_step(self, before: int, clock: StepTimer) -> None:
        """Show what is due after a step; `before` is the number of images before it."""
        opt, now = self.opt, self.progress.total
        if passed(opt.print_freq, before, now):
            self.show_losses(clock)
        if passed(opt.display_freq, before, now):
            self.show_live()
        if passed(opt.update_html_freq, before, now):
            self.show_samples(self.progress.epoch)

    def after_last_step(self, clock: StepTimer) -> None:
        """Show what an epoch has not shown yet, however few its images are."""
        if self.losses_shown_in != self.progress.epoch:
            self.show_losses(clock)
        if self.images_shown_in != self.progress.epoch:
            self.show_live()

    def show_losses(self, clock: StepTimer) -> None:
        """Print the losses of a step."""
        self.nan_check.check()
        progress, losses = self.progress, self.model.get_current_losses()
        self.collapse_monitor.observe(losses, self.model.visuals)
        self.visualizer.print_current_losses(progress.epoch, progress.iters, losses, *clock.lap())
        self.losses_shown_in = progress.epoch

    def show_live(self) -> None:
        """Show the images of a step on the live displays, if there are any."""
        if self.visualizer.live:
            images, progress = self.samples.current_visuals(), self.progress
            self.visualizer.display_current_results(images, progress.epoch, False, progress.iters)
            self.images_shown_in = progress.epoch

    def show_samples(self, epoch: int) -> None:
        """Show on the page how the same few images are translated now."""
        if (ema := self.samples.state.ema) and not self.opt.no_html:
            ema.refresh()  # on all ranks, as batch norm may exchange its statistics
        self.visualizer.show_samples(self.samples.translate, epoch)

    def show_scores(self, epoch: int, scores: dict[str, float], summary: str) -> None:
        """Show the scores of a validation; `summary` tells which is the best so far."""
        best = self.progress.best_so_far
        self.visualizer.print_scores(Scores(epoch, scores, f" ({summary})", *best))


def passed(every: int, before: int, now: int) -> bool:
    """Return whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every
