"""The flags of train.py."""

import logging
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, Options
from options.config_files import read_run
from options.parser import FlagParser, number
from util.signals import OF_THE_START

log = logging.getLogger(__name__)

_COUNT = number(int, at_least=1)


def last_epoch(opt: Any) -> int:
    """Return the number of the epoch that a training ends with, unless it stops early."""
    return opt.n_epochs + opt.n_epochs_decay


class TrainOptions(BaseOptions):
    """Train a model on a folder of pictures."""

    is_train = True
    command = "train.py"

    def add_phase_options(self, parser: FlagParser) -> None:
        parser.set_defaults(phase="train")
        _add_speed(parser)
        _add_training(parser)
        _add_validation(parser)
        _add_saving(parser)
        _add_displays(parser)

    def saved_options(self, run: Path, by_hand: dict[str, Any]) -> dict[str, Any]:
        # A run that goes on is the same run: a flag that is not given again is not another one.
        ours = any((run / name).exists() for name in ("latest_state.pth", "train_opt.json"))
        if not by_hand.get("continue_train") or not ours:
            return {}
        return {k: v for k, v in read_run(run).items() if k not in OF_THE_START}

    def carried_options(self, parser: FlagParser) -> set[str]:
        return set(parser.options())

    def other_phase(self) -> BaseOptions:
        from options.test_options import TestOptions  # which knows this module

        return TestOptions()

    def finish(self, parser: FlagParser, opt: Options) -> None:
        super().finish(parser, opt)
        if not opt.continue_train and (opt.epoch != "latest" or opt.load_iter):
            flag = "--load_iter" if opt.load_iter else "--epoch"
            log.warning("%s is passed over: without --continue_train a run starts afresh", flag)
        follows = opt.best_metric or opt.early_stop or opt.lr_policy == "plateau"
        opt.val_freq = opt.val_freq or (1 if follows else 0)
        last = last_epoch(opt)
        if opt.epoch_count > last:
            parser.error(
                f"--epoch_count {opt.epoch_count}: nothing to train, since --n_epochs "
                f"{opt.n_epochs} + --n_epochs_decay {opt.n_epochs_decay} end with epoch {last}"
            )


def _add_training(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("training"):
        add("--n_epochs", type=number(int, 0), default=100, help="at the initial rate")
        add("--n_epochs_decay", type=number(int, 0), default=100, help="more, to rate 0")
        add("--lr", type=number(float, 0), default=0.0002, help="initial rate of Adam")
        add("--beta1", type=number(float, 0, 0.999999), default=0.5, help="momentum of Adam")
        add(
            "--lr_policy",
            choices=["linear", "step", "plateau", "cosine"],
            default="linear",
            help="learning-rate schedule; plateau follows --best_metric on val",
        )
        add("--lr_decay_iters", type=count, default=50, help="epochs a step, for step")
        add(
            "--gan_mode",
            choices=["vanilla", "lsgan", "wgangp", "hinge"],
            default="lsgan",
            help="the GAN loss",
        )
        add("--pool_size", type=number(int, 0), default=50, help="D also sees older fakes")
        add("--continue_train", action="store_true", help="go on where the run stopped")
        add("--epoch_count", type=count, default=1, help="first epoch, of weights alone")


def _add_validation(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("validation"):
        add(
            "--val_freq",
            type=number(int, 0),
            default=0,
            help="epochs between looks at val; 0: none",
        )
        add(
            "--best_metric",
            choices=["L1", "PSNR", "SSIM", "MS-SSIM"],
            help="what best_net_G.pth is the best by; by default L1, or the loss if there are no "
            "targets",
        )
        add(
            "--early_stop",
            type=number(int, 0),
            default=0,
            help="stop after N validations (--val_freq, 1) without a best",
        )
        add(
            "--ema",
            type=number(float, 0, 0.999999),
            default=0.0,
            help="e.g. 0.999: keep an average of G's weights too, in *_net_G_ema.pth",
        )


def _add_speed(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("speed"):
        add(
            "--cache",
            choices=["auto", "ram", "disk", "none"],
            default="auto",
            help="keep resized pictures after their first use; auto: in memory while a quarter of "
            "it is free; disk: in the run's folder",
        )
        add(
            "--grad_accum",
            type=_COUNT,
            default=1,
            help="batches a step goes over: a large batch in a small one's memory",
        )
        add("--no_graphs", action="store_true", help="on a GPU, launch each kernel by itself")


def _add_saving(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("saving"):
        add("--save_latest_freq", type=count, default=5000, help="pictures between saves")
        add("--save_epoch_freq", type=count, default=5, help="epochs between kept saves")
        add("--save_by_iter", action="store_true", help="keep each as iter_N")
        add(
            "--keep",
            type=number(int, 1, infinite=True),
            default=float("inf"),
            help="keep the files of the last N epochs that were saved",
        )


def _add_displays(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("displays"):
        add("--print_freq", type=count, default=100, help="pictures between loss lines")
        add("--update_html_freq", type=count, default=1000, help="pictures between pages")
        add("--no_html", action="store_true", help="no page in CHECKPOINTS/NAME/web")
        add("--display_freq", type=count, default=400, help="pictures between live pictures")
        add("--display_id", type=number(int), default=0, help="visdom window, if > 0")
        add("--display_server", default="http://localhost", help="visdom server")
        add("--display_port", type=number(int, 1, 65535), default=8097, help="its port")
        add("--display_env", default="main", help="its environment")
        add("--display_ncols", type=number(int), default=4, help="pictures a row; 0: a window each")
        add("--use_tensorboard", action="store_true", help="event file in the run's folder")
