"""The flags that only train.py has."""

from options.parser import FlagParser, number
from util.flag_types import names_of

_COUNT = number(int, at_least=1)


def add_train_flags(parser: FlagParser) -> None:
    """Add the flags that only train.py has, and its defaults for shared flags."""
    parser.set_defaults(phase="train")
    _add_speed(parser)
    _add_training(parser)
    _add_resume(parser)
    _add_validation(parser)
    _add_saving(parser)
    _add_displays(parser)


def _add_training(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("training", role="training"):
        add("--n_epochs", type=number(int, 0), default=100, help="epochs at the initial rate")
        add(
            "--n_epochs_decay",
            type=number(int, 0),
            default=100,
            help="number of further epochs, in which --lr_policy linear decays the rate",
        )
        add("--lr", type=number(float, 0), default=0.0002, help="initial learning rate of Adam")
        for side, networks in (("G", "generators"), ("D", "discriminators")):
            add(f"--lr_{side}", type=number(float, 0), help=f"--lr of the {networks} alone")
        add("--beta1", type=number(float, 0, 0.999999), default=0.5, help="momentum of Adam")
        add(
            "--beta2",
            type=number(float, 0, 0.999999),
            default=0.999,
            help="decay of Adam's mean of squared gradients",
        )
        add(
            "--lr_policy",
            choices=["linear", "step", "plateau", "cosine"],
            default="linear",
            help="learning-rate schedule; plateau follows --best_metric on val",
        )
        add(
            "--lr_decay_iters",
            type=count,
            default=50,
            help="epochs per step (×0.1) of --lr_policy step",
        )
        add(
            "--gan_mode",
            choices=["vanilla", "lsgan", "wgangp", "hinge"],
            default="lsgan",
            help="type of GAN loss",
        )
        add("--pool_size", type=number(int, 0), default=50, help="number of older fakes kept for D")
        add(
            "--diffaug",
            type=names_of("color", "translation", "cutout"),
            metavar="NAMES",
            help="random changes of what D sees, for few images: color,translation,cutout or some",
        )
        add(
            "--lambda_r1",
            type=number(float, 0),
            default=0.0,
            help="weight γ of R1, γ/2 · (gradient of D on real images)², in every 16th step; 0: "
            "none",
        )


def _add_resume(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("resume", role="launch"):
        add("--continue_train", action="store_true", help="resume the run from its last checkpoint")
        add(
            "--init_from",
            metavar="FOLDER",
            help="folder of the run whose weights of --epoch a new run starts from, with its "
            "networks' flags",
        )
        add(
            "--overwrite",
            action="store_true",
            help="delete an earlier run of this --name at the first save; by default its folder is "
            "renamed",
        )
        add(
            "--epoch_count",
            type=_COUNT,
            default=1,
            help="first epoch number when resuming from weights only",
        )


def _add_validation(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("validation", role="training"):
        add(
            "--val_freq",
            type=number(int, 0),
            default=0,
            help="epochs between validations on the first 50 images of val; 0: none",
        )
        add(
            "--best_metric",
            choices=[
                *("L1", "PSNR", "SSIM", "MS-SSIM", "hole_L1", "hole_L2", "hole_PSNR", "hole_SSIM"),
                *("pixel_accuracy", "mIoU", "FD-EffLite0", "KD-EffLite0"),
            ],
            help="metric that selects best_net_G.pth; by default L1, hole_L1 of --model inpaint, "
            "or the loss if there are no targets; pixel_accuracy and mIoU need --fcn_epochs",
        )
        add(
            "--val_metrics",
            type=names_of("FD-EffLite0", "KD-EffLite0"),
            metavar="NAMES",
            help="metrics over all validation images that are also measured, FD-EffLite0, "
            "KD-EffLite0 or both with a comma: distances to the training images in the features "
            "of EfficientNet-Lite0, which two packages bring",
        )
        add(
            "--early_stop",
            type=number(int, 0),
            default=0,
            help="number of validations without a new best before stopping; 0: never",
        )
        add(
            "--ema",
            type=number(float, 0, 0.999999),
            default=0.0,
            help="decay of the EMA of G's weights, e.g. 0.999, saved as *_net_G_ema.pth; 0: none",
        )


def _add_speed(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("speed", role="speed"):
        add(
            "--cache",
            choices=["auto", "ram", "disk", "none"],
            default="auto",
            help="where resized images are kept; auto: in memory while a quarter of it is free; "
            "disk: in the run's folder",
        )
        add(
            "--grad_accum",
            type=_COUNT,
            default=1,
            role="training",  # changes the effective batch size
            help="batches per optimizer step: a large batch in the memory of a small one",
        )
        add(
            "--no_graphs",
            action="store_true",
            help="no CUDA graphs: launch each GPU kernel separately",
        )
        add(
            "--distributed_graphs",
            action="store_true",
            help="with torchrun: CUDA graphs that also hold the exchange of gradients, by NCCL; "
            "without it, several processes have none",
        )


def _add_saving(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("saving", role="saving"):
        add(
            "--save_latest_freq",
            type=count,
            default=5000,
            help="images between saves of the latest checkpoint",
        )
        add("--save_epoch_freq", type=count, default=5, help="epochs between numbered checkpoints")
        add(
            "--save_on_error",
            nargs="?",
            choices=["data", "all", "none"],
            default="data",
            const="all",
            help="errors after which the training is saved before it ends: data (images cannot be "
            "loaded), all (also an unfinished step), none",
        )
        add(
            "--save_by_iter",
            action="store_true",
            help="name the checkpoints of --save_latest_freq iter_N instead of latest",
        )
        add(
            "--keep",
            type=number(int, 1, infinite=True),
            default=float("inf"),
            help="number of epoch checkpoints to keep",
        )


def _add_displays(parser: FlagParser) -> None:
    add, count = parser.add_argument, _COUNT
    with parser.section("displays", role="display"):
        add(
            "--print_freq",
            type=count,
            default=100,
            help="images between loss lines, counted over all epochs; at least one line an epoch",
        )
        add(
            "--update_html_freq",
            type=count,
            default=1000,
            help="images between updates of the HTML page",
        )
        add("--no_html", action="store_true", help="no HTML page in CHECKPOINTS/NAME/web")
        add(
            "--display_freq",
            type=count,
            default=400,
            help="images between updates of live displays",
        )
        add("--display_id", type=number(int), default=0, help="visdom window number; 0: no visdom")
        add("--display_server", default="http://localhost", help="address of the visdom server")
        add(
            "--display_port",
            type=number(int, 1, 65535),
            default=8097,
            help="port of the visdom server",
        )
        add("--display_env", default="main", help="visdom environment")
        add(
            "--display_ncols",
            type=number(int),
            default=4,
            help="images per row in visdom; 0: one window each",
        )
        add(
            "--use_tensorboard",
            action="store_true",
            help="write a TensorBoard event file to the run's folder",
        )
