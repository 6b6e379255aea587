"""The flags that only test.py has."""

from options.parser import FlagParser, number


def add_test_flags(parser: FlagParser) -> None:
    """Add the flags that only test.py has, and its defaults for shared flags."""
    # Images in order, without flips.
    parser.set_defaults(phase="test", serial_batches=True, no_flip=True)
    parser.set_defaults(load_size=None, batch_size=None)
    _add_testing(parser)
    _add_shards(parser)


def _add_testing(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("testing", role="network"):
        # For a CycleGAN run, --direction sets it: see `_generator_options`.
        add(
            "--model_suffix",
            default="",
            carry=True,
            help="with --model test: suffix of G; _A loads net_G_A.pth",
        )
        add("--use_ema", action="store_true", help="use the EMA of G, from a training with --ema")
        add("--results_dir", default="./results/", role="launch", help="folder for results")
        add("--eval", action="store_true", help="running statistics and no dropout (§3.3)")
        add(
            "--no_eval",
            dest="eval",
            action="store_false",
            default=False,
            help="each image's own statistics, and dropout; measurements have --eval by default",
        )
        add(
            "--dropout_at_test",
            choices=["on", "off"],
            default="on",
            help="dropout at test time; off keeps per-image statistics",
        )
        add("--tile", type=number(int, 1), help="size of tiles in pixels, for large images")
        add(
            "--overlap",
            type=number(int, 0),
            help="overlap of tiles in pixels; by default the receptive field or half a tile",
        )
        add(
            "--num_test",
            type=number(int, 1, infinite=True),
            default=float("inf"),
            role="data",
            help="maximum number of images to translate",
        )
        add(
            "--num_variants",
            type=number(int, 1),
            default=1,
            role="display",  # the first output stays the same
            help="outputs of each image, which differ by their noise",
        )


def _add_shards(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("shards", role="launch"):
        add(
            "--num_shards",
            type=number(int, 1),
            help="number of commands that the images are split over",
        )
        add("--shard_id", type=number(int, 0), help="number of this command's shard, from 0")
        add(
            "--skip_finished",
            action="store_true",
            help="translate only images that are missing or whose files have changed",
        )
        add(
            "--page_only",
            action="store_true",
            help="write the page for finished images, translate nothing",
        )
