"""The flags of test.py alone."""

from options.parser import FlagParser, number


def add_test_flags(parser: FlagParser) -> None:
    """Add the flags that only test.py has, and its defaults of shared ones."""
    # In order and unmirrored.
    parser.set_defaults(phase="test", serial_batches=True, no_flip=True)
    parser.set_defaults(load_size=None, batch_size=None)
    _add_testing(parser)
    _add_shards(parser)


def _add_testing(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("testing", role="network"):
        # Of a CycleGAN run, the direction chooses it: see `_generator_options`.
        add(
            "--model_suffix", default="", carry=True, help="with --model test: _A takes net_G_A.pth"
        )
        add("--use_ema", action="store_true", help="the averaged G of a training with --ema")
        add("--results_dir", default="./results/", role="launch", help="folder of the results")
        add(
            "--aspect_ratio",
            type=number(float, 0.01, 100),
            default=1.0,
            role="data",  # the files of the results have it
            help="of results",
        )
        add("--eval", action="store_true", help="running statistics and no dropout (§3.3)")
        add(
            "--dropout_at_test",
            choices=["on", "off"],
            default="on",
            help="off: no dropout, but still each image's own statistics",
        )
        add(
            "--tile",
            type=number(int, 1),
            help="translate large images in tiles of so many pixels",
        )
        add(
            "--overlap",
            type=number(int, 0),
            help="of tiles, in pixels; by default what the network looks at or half a tile",
        )
        add(
            "--num_test",
            type=number(int, 1, infinite=True),
            default=float("inf"),
            role="data",
            help="translate the first N images",
        )


def _add_shards(parser: FlagParser) -> None:
    add = parser.add_argument
    with parser.section("shards", role="launch"):
        add("--num_shards", type=number(int, 1), help="share the images out over N commands")
        add("--shard_id", type=number(int, 0), help="which of them this is, from 0")
        add("--page_only", action="store_true", help="the page of all that shards have made")
