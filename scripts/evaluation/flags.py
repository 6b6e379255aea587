"""The flags of scripts.evaluate."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.efficientnet_lite import require_packages
from options.config_files import NO, YES, read_yaml
from options.parser import OneLineParser, gpu_list, nearest, number
from scripts.evaluation.measured_values import VALUE_METRICS
from scripts.evaluation.network_metrics import PROTOCOLS, TOGETHER
from util.feature_distance import FEATURE_METRICS
from util.metrics import HOLE_METRICS, METRICS

KNOWN = list(dict.fromkeys([*METRICS, *VALUE_METRICS, *HOLE_METRICS, *PROTOCOLS, *FEATURE_METRICS]))
ABOUT = """Measure the distance of outputs to targets. Several names are compared side by side;
--fake DIR --real DIR compares two folders. Other flags, such as --eval, are passed on to test.py.
docs/metrics.md explains each number."""
DEFAULT = "by default the first four that the size allows, and those in holes if there are any"


def parse(argv: Sequence[str] | None) -> Any:
    """Return the parsed flags; ValueError for flags that contradict each other."""
    parser = OneLineParser(prog="python -m scripts.evaluate", description=ABOUT)
    add = parser.add_argument
    add(
        "--name",
        nargs="+",
        action="extend",
        default=[],
        help="runs; test.py translates missing results",
    )
    add("--fake", type=Path, help="folder of outputs, instead of runs")
    add("--real", type=Path, help="folder of the targets, with the same file names")
    add(
        "--values",
        action="store_true",
        help="compare --fake and --real in the values of their files, as with volumes",
    )
    add(
        "--metrics",
        nargs="+",
        action="extend",
        default=[],
        help=f"metrics ({','.join(KNOWN)}); {DEFAULT}",
    )
    add("--kid_subset", type=number(int, 2), default=100, help="images per subset of KID")
    add(
        "--inception_weights", type=Path, help="weights of FID, KID and IS, if not in torch's cache"
    )
    add("--fcn_epochs", type=number(int, 1), default=10, help="training epochs of the FCN")
    add("--out", type=Path, help="output folder; by default beside the results")
    add("--checkpoints_dir", type=Path, default=Path("./checkpoints"), help="folder of the runs")
    add("--results_dir", type=Path, default=Path("./results"), help="folder of the results")
    add("--dataroot", type=Path, help="folder of images to translate; by default the run's")
    add("--phase", help="subfolder of --dataroot to translate (default: test; val for --epoch all)")
    add(
        "--epoch",
        default="latest",
        help="epoch of the checkpoint, latest or best; all: compare all kept epochs",
    )
    add("--use_ema", action="store_true", help="use the EMA of G, from a training with --ema")
    add("--gpu_ids", type=gpu_list, default="0", help="index of the GPU, e.g. 0; -1: CPU")
    add("--num_threads", type=number(int, 0), default=os.cpu_count() or 1, help="number of threads")
    add("--no_html", action="store_true", help="write numbers only, no page")
    args, test_flags = parser.parse_known_args(argv)
    if defaults := flags_in_config_file(test_flags, parser, named=bool(args.name)):
        args, test_flags = parser.parse_known_args([*defaults, *parser.words])
    if args.fake:
        args.fake = Path(os.path.abspath(args.fake))  # its name names the results
    args.num_threads = max(1, args.num_threads)  # 0: no further ones, as in train.py
    of_runs = {"--epoch": args.epoch != "latest", "--use_ema": args.use_ema}
    of_runs |= {"--phase": args.phase, "--dataroot": args.dataroot}
    args.phase = args.phase or ("val" if args.epoch == "all" else "test")
    vars(args).update(
        test_flags=test_flags, flags=parser.flags(), name=list(dict.fromkeys(args.name))
    )
    if args.name and (args.fake or args.real):
        raise ValueError("--name RUN or --fake DIR --real DIR: give one of them, not both")
    if args.name and args.values:
        raise ValueError("--values: is for --fake DIR --real DIR; runs on measurements need it not")
    if args.test_flags and not args.name:
        if args.fake or args.real:
            flag = args.test_flags[0].partition("=")[0]
            raise ValueError(f"{flag}: unknown flag, or a flag of test.py, which needs --name RUN")
        raise ValueError(parser.describe_unknown(args.test_flags))
    if not args.name and not (args.fake and args.real):
        raise ValueError("give --name RUN, or both --fake DIR and --real DIR")
    if not args.name and any(of_runs.values()):
        flag = next(flag for flag, given in of_runs.items() if given)
        raise ValueError(f"{flag}: needs --name RUN; two folders are compared as they are")
    args.metrics = ",".join(args.metrics).split(",") if args.metrics else []
    if unknown := sorted(set(args.metrics) - set(KNOWN)):
        near = nearest(unknown[0], KNOWN)
        raise ValueError(f"--metrics {','.join(unknown)}: known are {', '.join(KNOWN)}{near}")
    if distances := [metric for metric in args.metrics if metric in FEATURE_METRICS]:
        require_packages(f"--metrics {','.join(distances)}")  # now, not after a translation
    if "FCN" in args.metrics and not args.name:
        raise ValueError("--metrics FCN: needs --name, since it trains on that run's images")
    return args


def flags_in_config_file(test_flags: Sequence[str], own: OneLineParser, named: bool) -> list[str]:
    """Return the flags in test.py's --config file that our own parser has, too.

    If runs are `named` on the command line, the file's run does not count.
    """
    parser = OneLineParser(add_help=False)
    parser.add_argument("--config")
    file = parser.parse_known_args(test_flags)[0].config
    values = read_yaml(file) if file else {}
    if named:
        values.pop("name", None)
    words = []
    for flag, value in ((f"--{name}", value) for name, value in values.items()):
        if flag not in own.flags():
            continue
        if own.takes_value(flag):
            words.append(f"{flag}={value}")
        elif value.lower() not in NO:
            words.append(flag if value.lower() in YES else f"{flag}={value}")
    return words


def needs_pairs(args: Any) -> bool:
    """Return whether some metric compares each output with its target."""
    return not args.metrics or bool(set(args.metrics) - {*TOGETHER, *FEATURE_METRICS})
