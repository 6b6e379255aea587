"""The page that scripts/export.py writes beside a graph: what it is, how near, how to use it."""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from data.value_range import read_ranges
from models.layers import InstanceNorm
from models.networks import Generator
from scripts.onnx_export.check import ExportError

if TYPE_CHECKING:
    import onnx


def card(
    output: Path,
    *,
    source: dict[str, str],
    opt: Any,
    args: argparse.Namespace,
    net: nn.Module,
    model: "onnx.ModelProto",
    rows: list[ExportError],
) -> str:
    """Return the page of the graph `model` of the generator `net`, as Markdown.

    `source` is of `origin`, `opt` are the flags of test.py, `args` those of the export, `rows` the
    measured differences.
    """
    lines = [f"# {output.name}", "", f"The generator of the run {opt.name}, as an ONNX graph.", ""]
    lines += ["| | |", "|---|---|"]
    facts = [*source.items(), *inside(opt, args, net), *interface(model, args)]
    lines += [f"| {name} | {value} |" for name, value in facts]
    lines += ["", "## Differences from PyTorch", "", *differences(rows, args)]
    lines += ["", "## Use", "", "```python", *example(output, opt, args), "```"]
    return "\n".join(lines) + "\n"


def origin(weights: Path, opt: Any) -> dict[str, str]:
    """Return where the weights come from."""
    names = ("netG", "ngf", "norm", "input_nc", "output_nc", "upsample")
    return {
        "run": opt.name,
        "epoch": f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch,
        "weights": weights.name,
        "SHA-256 of the weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "architecture": " ".join(f"--{name} {getattr(opt, name)}" for name in names),
        "direction": f"{opt.direction}, --model {opt.model}",
    }


def inside(opt: Any, args: argparse.Namespace, net: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield what the graph does between its input and its output."""
    yield "padding", padding(args, net)
    yield "processing", processing(opt, args)
    sizes = f"--preprocess {opt.preprocess} --load_size {opt.load_size} --crop_size {opt.crop_size}"
    yield "not inside", f"resizing and cropping; test.py of this run does {sizes}"
    yield "statistics", statistics(opt, net)
    if args.dropout:
        noise = "on: new noise at every run (two were seen to differ); compared below without it"
    elif opt.no_dropout or opt.eval:
        noise = "none in this network at test time"
    else:
        noise = "off, as test.py --dropout_at_test off; scripts.export --dropout keeps the noise"
    yield "dropout", noise


def statistics(opt: Any, net: nn.Module) -> str:
    """Return what the normalisation layers normalise by."""
    kinds = (nn.BatchNorm2d, InstanceNorm, nn.InstanceNorm2d)
    if not (layers := [module for module in net.modules() if isinstance(module, kinds)]):
        return "none: no normalisation"
    if opt.eval and isinstance(layers[0], nn.BatchNorm2d):
        return "running ones of the training (--eval)"
    return "each image's own (§3.3 of the paper), as test.py without --eval"


def padding(args: argparse.Namespace, net: nn.Module) -> str:
    """Return what the graph does with sizes that are no multiple of the network's stride."""
    if not isinstance(net, Generator) or type(net).forward is not Generator.forward:
        return "the network's own, if any"
    if args.size:
        return f"by reflection to multiples of {net.stride}, settled for the one size; cropped back"
    return f"any H and W: by reflection to multiples of {net.stride}, cropped back"


def processing(opt: Any, args: argparse.Namespace) -> str:
    """Return what stands for the values of an image."""
    colours = opt.model == "colorization"
    if args.processing and colours:
        return "RGB in 0..255 to L, with the new a and b back to RGB"
    if args.processing:
        return "0..255 to [-1, 1] and back, truncated and clipped"
    values = "x / 127.5 - 1 of 0..255 in; (y + 1) / 2 * 255, truncated, is an image out"
    if read_ranges(opt):
        values = "pixel_ranges.json beside the weights says of which values in the run's files"
    return f"none: values in [-1, 1]; {'L in, a and b out' if colours else values}"


def interface(model: "onnx.ModelProto", args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield what the graph takes and gives, and what wrote it."""
    import onnx

    for name, values in (("input", model.graph.input), ("output", model.graph.output)):
        kind = values[0].type.tensor_type
        shape = ", ".join(dim.dim_param or str(dim.dim_value) for dim in kind.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        yield name, f"`{values[0].name}`: {dtype} ({shape})"
    yield "opset", str(args.opset)
    yield "written with", f"torch {torch.__version__}, onnx {onnx.__version__}"


def differences(rows: list[ExportError], args: argparse.Namespace) -> Iterator[str]:
    """Yield the table of the check."""
    import onnxruntime

    unit = "grey levels" if args.processing else "in [-1, 1]"
    yield f"onnxruntime {onnxruntime.__version__} on the CPU, images of noise; {unit}."
    yield ""
    yield f"| batch | height | width | largest difference |{' values off |' * args.processing}"
    yield f"|---|---|---|---|{'---|' * args.processing}"
    for row in rows:
        off = f" {100 * row.share:.2g}% |" * args.processing
        yield f"| {row.batch} | {row.height} | {row.width} | {row.difference:.2g} |{off}"


def example(output: Path, opt: Any, args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of Python that translate an image."""
    colours = opt.model == "colorization"
    ins, outs = (3, 3) if colours and args.processing else (opt.input_nc, opt.output_nc)
    session = f'session = onnxruntime.InferenceSession("{output.name}")'
    height, width = args.size or (opt.crop_size, opt.crop_size)
    if not {ins, outs} <= {1, 3} or read_ranges(opt):
        yield "import numpy as np, onnxruntime"
        yield session
        yield f"x = np.zeros((1, {ins}, {height}, {width}), np.float32)  # images in [-1, 1]"
        yield '(fake,) = session.run(None, {"input": x})'
        yield f"print(fake.shape)  # (1, {outs}, {height}, {width}), in [-1, 1]"
        return
    resized = f".resize(({width}, {height}))" if args.size else ""
    levels = "np.asarray(image)[None]" if ins == 3 else "np.asarray(image)[None, ..., None]"
    yield "import numpy as np, onnxruntime"
    yield "from PIL import Image"
    yield session
    yield f'image = Image.open("input.png").convert("{"RGB" if ins == 3 else "L"}"){resized}'
    if args.processing:
        yield f"x = {levels}"
    else:
        yield f"x = {levels}.transpose(0, 3, 1, 2) / np.float32(127.5) - 1"
    yield '(fake,) = session.run(None, {"input": x})'
    if not args.processing:
        yield "fake = ((fake.transpose(0, 2, 3, 1) + 1) / 2 * 255).clip(0, 255).astype(np.uint8)"
    yield f'Image.fromarray(fake[0{", ..., 0" if outs == 1 else ""}]).save("output.png")'
