"""Write a run's generator as an ONNX file: `python -m scripts.export --name facades`.

The graph is checked against PyTorch before the file appears, with a card beside it. Other flags,
such as --epoch, --eval or --use_ema, are those of test.py. docs/export.md explains the details.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/export.py

from torch import nn

from data.value_range import read_ranges
from models.weights import infer_options
from options.parser import OneLineParser, number
from options.test_options import TestOptions
from scripts.onnx_export.card import card, origin
from scripts.onnx_export.writing import load, weights_of, write_graph
from scripts.static_site.runtime import PACKAGE, VERSION, runtime_folder
from util.command import run_command, setup_logging
from util.files import atomic_write, make_folder
from util.inpainting import LEAST_SIDE
from util.names import utf8

log = logging.getLogger(__name__)

# Flags of test.py that the export refuses, with the fix.
REFUSED = {
    "--tile": "a graph translates the whole image; leave it out",
    "--precision": "the file is written in fp32; leave it out",
    "--dropout_at_test": "the file has no noise; use --dropout to keep it",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file and its card, or neither of them; ValueError for a user's mistake."""
    setup_logging()
    args = parse(argv)
    # cache: inferred options are logged once.
    options = TestOptions(cache(infer_options), also=args.flags)
    opt = options.read(args.test_flags)
    if args.site:
        args.processing, args.size = graph_of_site(opt)
    check_flags(args, opt)
    require_packages(args.opset)
    if args.site:
        export_site(args, options, opt)
        return
    translator = load(options, args.test_flags)
    net = translator.model.generator()
    if args.dropout and not any(isinstance(module, nn.Dropout) for module in net.modules()):
        raise ValueError("--dropout: this generator has none; leave it out")
    weights = weights_of(translator)
    output = args.output or weights.with_suffix(".onnx")
    make_folder(output.parent, "--output")
    earlier = ", in place of an earlier file" if output.exists() else ""
    with atomic_write(output) as file, atomic_write(output.with_suffix(".md")) as text:
        source = origin(weights, opt)
        model, rows = write_graph(file, translator, args, source)
        content = {"source": source, "net": net, "model": model, "rows": rows}
        text.write(utf8(card(output, opt=opt, args=args, **content)))
    log.info("written: %s%s", output, earlier)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed flags; `test_flags` holds those for test.py."""
    parser = OneLineParser(prog="python -m scripts.export", description=__doc__)
    add = parser.add_argument
    add("--site", type=Path, metavar="DIR", help="write the drawing page as a static web site")
    add("--title", help="with --site: title and heading of the page; by default the run's name")
    add("--runtime", type=Path, metavar="DIR", help=f"with --site: {PACKAGE} {VERSION}, unpacked")
    add("--output", type=Path, help="ONNX file; by default beside the weights, with their name")
    add("--opset", type=number(int, 18), default=18, help="version of the ONNX operator set")
    add("--size", type=sides, help="fixed image size in pixels: HEIGHT,WIDTH or one number")
    add("--processing", action="store_true", help="uint8 (N, H, W, C) as input and output")
    add("--dropout", action="store_true", help="keep dropout in the graph")
    how_far = "maximum difference from PyTorch's outputs, in [-1, 1]"
    add("--tolerance", type=number(float, 0), default=1e-3, help=how_far)
    args, args.test_flags = parser.parse_known_args(argv)
    args.flags = parser.flags()
    for name in ("runtime", "title"):
        if getattr(args, name) is not None and not args.site:
            raise ValueError(f"--{name} {getattr(args, name)}: needs --site")
    if args.title is not None and not args.title.strip():
        raise ValueError("--title: is empty; leave it out for the run's name")
    if args.output and args.output.suffix != ".onnx":
        raise ValueError(f"--output {args.output}: must end in .onnx")
    for name in ("output", "size", "processing", "dropout") if args.site else ():
        if getattr(args, name):
            raise ValueError(f"--{name}: is not for --site, which sets it; leave it out")
    for flag in (flag.partition("=")[0] for flag in args.test_flags):
        if flag in REFUSED:
            raise ValueError(f"{flag}: {REFUSED[flag]}")
    return args


def graph_of_site(asked: Any) -> tuple[bool, tuple[int, int] | None]:
    """Return whether the graph of a site takes images of uint8, and its size, if it has one."""
    if asked.dataset_mode != "inpaint":
        return True, None
    side = max(asked.crop_size, LEAST_SIDE)
    return False, (side, side)


def export_site(args: argparse.Namespace, options: TestOptions, asked: Any) -> None:
    """Write the drawing page of a run as a static web site, and say what there is to say."""
    from scripts.static_site.build import write_site  # needs the packages of the page

    with runtime_folder(args.runtime) as runtime:
        for line in write_site(args, options, asked, runtime):
            log.info("%s", line)


def sides(text: str) -> tuple[int, int]:
    """Return the height and width of "256" or "256,512"."""
    values = [int(part) for part in text.split(",") if part.isdecimal()]
    if len(values) != text.count(",") + 1 or len(values) > 2 or 0 in values:
        raise argparse.ArgumentTypeError(f"{text!r} must be HEIGHT,WIDTH, such as 256,512")
    return values[0], values[-1]


def require_packages(opset: int) -> None:
    """Raise a ValueError if a package is missing or too old; it says what to install."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{error}: scripts.export needs `pip install onnx onnxscript onnxruntime`"
        ) from None
    if opset > (newest := onnx.defs.onnx_opset_version()):
        raise ValueError(f"--opset {opset}: onnx {onnx.__version__} supports 18 to {newest}")


def check_flags(args: argparse.Namespace, asked: Any) -> None:
    """Raise a ValueError for flags that contradict each other or the run."""
    if asked.tile:  # from a --config file
        raise ValueError(f"--tile {asked.tile}: {REFUSED['--tile']}")
    if getattr(asked, "instance_feat", False):
        raise ValueError("--instance_feat: a graph has no features of instances; use test.py")
    if args.dropout and asked.eval:
        raise ValueError("--dropout: --eval turns dropout off; leave one of them out")
    if asked.dataset_mode == "inpaint":
        check_flags_of_holes(args)
    if not args.processing:
        return
    flag = "--site" if args.site else "--processing"
    sides = read_ranges(asked).values()
    if any((stored.dtype, *ends) != ("uint8", 0, 255) for stored, *ends in sides):
        raise ValueError(f"{flag}: needs 8 bits a channel, this run has more; leave it out")
    if asked.dataset_mode == "labels" and asked.label_nc + asked.contain_dontcare_label > 256:
        classes = asked.label_nc + asked.contain_dontcare_label
        raise ValueError(f"{flag}: uint8 has 256 classes, this run {classes}; leave it out")
    for name in ("input_nc", "output_nc") if asked.model != "colorization" else ():
        if getattr(asked, name) not in (1, 3):
            raise ValueError(
                f"{flag}: needs images of 1 or 3 channels, this run has --{name} "
                f"{getattr(asked, name)}; leave it out"
            )


def check_flags_of_holes(args: argparse.Namespace) -> None:
    """Raise a ValueError for flags that the graph of a run that fills holes does not have."""
    if not args.size:
        raise ValueError(
            "--size: --model inpaint needs it; its graph has one size, such as --size 256"
        )
    if min(args.size) < LEAST_SIDE:
        size = ",".join(map(str, args.size))
        raise ValueError(
            f"--size {size}: --model inpaint needs at least {LEAST_SIDE} pixels a side"
        )
    if args.processing:
        raise ValueError("--processing: --model inpaint takes images in [-1, 1]; leave it out")
    if args.dropout:
        raise ValueError("--dropout: --model inpaint has none; leave it out")


if __name__ == "__main__":
    raise SystemExit(run_command(main))
