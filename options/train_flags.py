"""The flags of train.py alone."""

from options.parser import FlagParser, number

_COUNT = number(int, at_least=1)


def add_train_flags(parser: FlagParser) -> None:
    """Add the flags that only train.py has, and its defaults of shared ones."""
    parser.set_defaults(phase="train")
    _add_speed(parser)
    _add_training(parser)
    _add_validation(parser)
    _add_saving(parser)
    _add_displays(parser)


def _add_training(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("training", role="training"):
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
        add(
            "--continue_train",
            action="store_true",
            role="launch",
            help="go on where the run stopped",
        )
        add(
            "--epoch_count",
            type=count,
            default=1,
            role="launch",
            help="first epoch, of weights alone",
        )


def _add_validation(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("validation", role="training"):
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
    with parser.section("speed", role="speed"):
        add(
            "--cache",
            choices=["auto", "ram", "disk", "none"],
            default="auto",
            help="keep resized images after their first use; auto: in memory while a quarter of "
            "it is free; disk: in the run's folder",
        )
        add(
            "--grad_accum",
            type=_COUNT,
            default=1,
            role="training",  # a step is that of a larger batch
            help="batches a step goes over: a large batch in a small one's memory",
        )
        add("--no_graphs", action="store_true", help="on a GPU, launch each kernel by itself")


def _add_saving(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("saving", role="saving"):
        add("--save_latest_freq", type=count, default=5000, help="images between saves")
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
    with parser.section("displays", role="display"):
        add("--print_freq", type=count, default=100, help="images between loss lines")
        add("--update_html_freq", type=count, default=1000, help="images between pages")
        add("--no_html", action="store_true", help="no page in CHECKPOINTS/NAME/web")
        add("--display_freq", type=count, default=400, help="images between live images")
        add("--display_id", type=number(int), default=0, help="visdom window, if > 0")
        add("--display_server", default="http://localhost", help="visdom server")
        add("--display_port", type=number(int, 1, 65535), default=8097, help="its port")
        add("--display_env", default="main", help="its environment")
        add("--display_ncols", type=number(int), default=4, help="images a row; 0: a window each")
        add("--use_tensorboard", action="store_true", help="event file in the run's folder")
