"""Write a run's generator as an ONNX file: `python -m scripts.export --name facades`.

The file is checked against PyTorch before it takes its name, and a card lies beside it. Other
flags, such as --epoch, --eval or --use_ema, are those of test.py. docs/export.md tells the rest.
"""

import argparse
import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import nn

from data.value_range import read_ranges
from models.weights import infer_options
from options.parser import OneLineParser, number
from options.test_options import TestOptions
from scripts.onnx_export.card import card, origin
from scripts.onnx_export.check import Check, ExportError
from scripts.onnx_export.graph import OnImages, OnPhotos, frozen_copy, graph_of
from translator import Translator
from util.command import run_command, setup_logging
from util.files import atomic_write, make_folder

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

# What a graph is made with, whatever the flags of test.py say.
FIXED = "--gpu_ids -1 --precision fp32 --dropout_at_test off --preprocess none".split()
# Flags of test.py that a graph cannot follow, and what to do instead.
REFUSED = {
    "--tile": "a graph translates the whole image; leave it out",
    "--precision": "the file is written in fp32; leave it out",
    "--dropout_at_test": "noise is off in the file; --dropout keeps it",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Write the file and its card, or neither; ValueError for a user's mistake."""
    setup_logging()
    args = parse(argv)
    # What it infers is said once.
    options = TestOptions(cache(infer_options), also=args.flags)
    asked = options.read(args.test_flags)
    check_flags(args, asked)
    require_packages(args.opset)
    translator = Translator(options.read([*args.test_flags, *FIXED]))
    net = translator.model.generator()
    if args.dropout and not any(isinstance(module, nn.Dropout) for module in net.modules()):
        raise ValueError("--dropout: this generator has none; leave it out")
    weights = weights_of(translator)
    output = args.output or weights.with_suffix(".onnx")
    make_folder(output.parent, "--output")
    with atomic_write(output) as file, atomic_write(output.with_suffix(".md")) as text:
        source = origin(weights, asked)
        model, rows = write_graph(file, translator, args, source)
        made = {"source": source, "net": net, "model": model, "rows": rows}
        text.write(card(output, opt=asked, args=args, **made).encode())
    log.info("written: %s", output)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the flags, those of test.py as `test_flags`."""
    parser = OneLineParser(prog="python -m scripts.export", description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, help="the file; by default beside the weights, named after them")
    add("--opset", type=number(int, 18), default=18, help="version of ONNX's operators")
    add("--size", type=sides, help="HEIGHT,WIDTH or one number: only images of this size")
    add("--processing", action="store_true", help="uint8 (N, H, W, C) in and out")
    add("--dropout", action="store_true", help="keep the noise of dropout in the graph")
    how_far = "how far outputs in [-1, 1] may be from PyTorch's"
    add("--tolerance", type=number(float, 0), default=1e-3, help=how_far)
    args, args.test_flags = parser.parse_known_args(argv)
    args.flags = parser.flags()
    if args.output and args.output.suffix != ".onnx":
        raise ValueError(f"--output {args.output}: must end in .onnx")
    for flag in (flag.partition("=")[0] for flag in args.test_flags):
        if flag in REFUSED:
            raise ValueError(f"{flag}: {REFUSED[flag]}")
    return args


def sides(text: str) -> tuple[int, int]:
    """Return the height and width of "256" or "256,512"."""
    values = [int(part) for part in text.split(",") if part.isdecimal()]
    if len(values) != text.count(",") + 1 or len(values) > 2 or 0 in values:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHT,WIDTH, such as 256,512")
    return values[0], values[-1]


def require_packages(opset: int) -> None:
    """Raise a ValueError that says what to install, if it is not or is too old."""
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"{error}: scripts.export wants `pip install onnx onnxscript onnxruntime`"
        ) from None
    if opset > (newest := onnx.defs.onnx_opset_version()):
        raise ValueError(f"--opset {opset}: onnx {onnx.__version__} knows 18 to {newest}")


def check_flags(args: argparse.Namespace, asked: Any) -> None:
    """Raise a ValueError for what does not go together."""
    if asked.tile:  # of a --config file
        raise ValueError(f"--tile {asked.tile}: {REFUSED['--tile']}")
    if args.dropout and asked.eval:
        raise ValueError("--dropout: --eval has none; leave one of them out")
    if not args.processing:
        return
    if read_ranges(asked):
        raise ValueError("--processing: is for 8 bits a channel, this run has more; leave it out")
    for name in ("input_nc", "output_nc") if asked.model != "colorization" else ():
        if getattr(asked, name) not in (1, 3):
            raise ValueError(
                f"--processing: is for images of 1 or 3 channels, this run has --{name} "
                f"{getattr(asked, name)}; leave it out"
            )


def weights_of(translator: Translator) -> Path:
    """Return the file that the generator's weights were read from."""
    opt, model = translator.opt, translator.model
    name = next(name for name, net in model.nets.items() if net is model.generator())
    epoch = f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch
    return model.save_dir / f"{epoch}_net_{name}{'_ema' if opt.use_ema else ''}.pth"


def write_graph(
    file: BinaryIO, translator: Translator, args: argparse.Namespace, source: dict[str, str]
) -> tuple["onnx.ModelProto", list[ExportError]]:
    """Write the graph, which names its `source`, and check it; return it with the differences.

    With --dropout that is done without noise first; then the noisy graph takes its place.
    """
    import onnx

    choices = {"size": args.size, "processing": args.processing, "tolerance": args.tolerance}
    check = Check(translator, **choices)
    like = torch.from_numpy(check.example())
    for noise in (False, True) if args.dropout else (False,):
        log.info(
            "writing the graph %s dropout, opset %d", "with" if noise else "without", args.opset
        )
        net = frozen_copy(translator.model.generator(), noise=noise, any_size=not args.size)
        if args.processing:
            net = OnPhotos(net) if translator.opt.model == "colorization" else OnImages(net)
        model = graph_of(net, like, args.size, args.opset)
        onnx.helper.set_model_props(model, source)
        file.seek(0)
        file.truncate()
        file.write(model.SerializeToString())
        file.flush()
        if noise:
            check.compare_noise(Path(file.name))
        else:
            rows = check.compare(Path(file.name))
    return model, rows


if __name__ == "__main__":
    raise SystemExit(run_command(main))
