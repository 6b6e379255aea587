"""The Markdown card beside an exported graph: its origin, accuracy and use."""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from data.value_range import read_ranges
from models.inpaint_networks import STRIDE, HoleFiller
from models.layers import InstanceNorm
from models.networks import Generator
from models.semantic import FromLabels
from options.roles import as_flags
from scripts.onnx_export.check import ExportError
from scripts.onnx_export.example import example

if TYPE_CHECKING:
    import onnx


# The flags of the generators of models of label maps.
OF_LABELS = {
    "spade": ("ngf", "norm_G", "num_upsampling_layers", "use_vae"),
    "pix2pixHD": ("netG", "ngf", "norm", "n_downsample_global", "n_blocks_global"),
}


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
    """Return the card of the graph `model`, exported from the generator `net`, as Markdown.

    `source` comes from `origin`; `opt` are the options of test.py, `args` those of the export;
    `rows` are the measured differences.
    """
    lines = [f"# {output.name}", "", f"The generator of the run {opt.name}, as an ONNX graph.", ""]
    lines += ["| | |", "|---|---|"]
    facts = [*source.items(), *inside(opt, args, net), *interface(model, args)]
    lines += [f"| {name} | {value} |" for name, value in facts]
    inputs = "label maps" if opt.dataset_mode == "labels" else "images"
    lines += ["", "## Differences from PyTorch", "", *differences(rows, args, inputs)]
    lines += ["", "## Use", "", "```python", *example(output, opt, args), "```"]
    return "\n".join(lines) + "\n"


def origin(weights: Path, opt: Any) -> dict[str, str]:
    """Return the run, weights and architecture of the generator."""
    names: tuple[str, ...] = ("netG", "ngf", "norm", "input_nc", "output_nc", "upsample")
    if opt.dataset_mode == "labels":
        classes = "label_nc", "contain_dontcare_label", "no_instance"
        names = (*OF_LABELS.get(opt.model, ("ngf",)), *classes, "output_nc")
    elif opt.model == "inpaint":
        names = ("cnum", "attention", "guided")
    flags = {name: getattr(opt, name) for name in names}
    return {
        "run": opt.name,
        "epoch": f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch,
        "weights": weights.name,
        "SHA-256 of the weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "architecture": " ".join(as_flags({k: v for k, v in flags.items() if v is not False})),
        "direction": f"{opt.direction}, --model {opt.model}",
    }


def inside(opt: Any, args: argparse.Namespace, net: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield (name, description) of the processing inside and outside the graph."""
    yield "padding", padding(args, net)
    yield "processing", processing(opt, args)
    sizes = f"--preprocess {opt.preprocess} --load_size {opt.load_size} --crop_size {opt.crop_size}"
    yield "not inside", f"resizing and cropping; test.py of this run does {sizes}"
    yield "statistics", statistics(opt, net)
    if isinstance(net, FromLabels) and getattr(opt, "use_vae", False):
        yield "style", "z = 0, the mean of all styles"
    if isinstance(net, FromLabels):
        noise = "none in this network"
    elif args.dropout:
        noise = "on: new noise at every run (checked with two runs); compared below without noise"
    elif opt.no_dropout or opt.eval:
        noise = "none at test time in this network"
    else:
        noise = "off, as test.py --dropout_at_test off; scripts.export --dropout keeps the noise"
    yield "dropout", noise


def statistics(opt: Any, net: nn.Module) -> str:
    """Describe the statistics that the normalisation layers use."""
    kinds = (nn.BatchNorm2d, InstanceNorm, nn.InstanceNorm2d)
    if not (layers := [module for module in net.modules() if isinstance(module, kinds)]):
        return "none: no normalisation"
    if isinstance(layers[0], nn.BatchNorm2d) and (opt.eval or isinstance(net, FromLabels)):
        return "running statistics of the training" + " (--eval)" * opt.eval
    return "per-image statistics (§3.3 of the paper), as test.py without --eval"


def padding(args: argparse.Namespace, net: nn.Module) -> str:
    """Describe the padding for sizes that are not a multiple of the network's stride."""
    if isinstance(net, HoleFiller):
        return f"by the nearest pixels to multiples of {STRIDE}, fixed for this size; cropped back"
    if isinstance(net, FromLabels) and net.classes:
        fixed = ", fixed for this size" if args.size else ""
        return f"by the nearest label to multiples of {net.net.stride}{fixed}; cropped back"
    if not isinstance(net, Generator) or type(net).forward is not Generator.forward:
        return "the network's own, if any"
    if args.size:
        return f"by reflection to multiples of {net.stride}, fixed for this size; cropped back"
    return f"any H and W: by reflection to multiples of {net.stride}, cropped back"


def processing(opt: Any, args: argparse.Namespace) -> str:
    """Describe the mapping between image values and network values."""
    if opt.dataset_mode == "labels":
        return of_labels(opt, args)
    if opt.model == "inpaint":
        sketch = ", the sketch 1 on lines" * opt.guided
        return f"none: the image in [-1, 1], the mask 1 in the hole{sketch}, else 0"
    colours = opt.model == "colorization"
    if args.processing and colours:
        return "RGB in 0..255 to L, with the new a and b back to RGB"
    if args.processing:
        return "0..255 to [-1, 1] and back, truncated and clipped"
    values = "x / 127.5 - 1 of 0..255 in; (y + 1) / 2 * 255, truncated, is an image out"
    if read_ranges(opt):
        values = "pixel_ranges.json beside the weights holds the matching values of the run's files"
    return f"none: values in [-1, 1]; {'L in, a and b out' if colours else values}"


def of_labels(opt: Any, args: argparse.Namespace) -> str:
    """Describe the label maps that go in."""
    last = opt.label_nc - 1
    numbers = (
        f"class numbers 0 to {last}" + f", {opt.label_nc} unknown" * opt.contain_dontcare_label
    )
    one_hot = "; one-hot inside the graph"
    if args.processing:
        edges = "" if opt.no_instance else "; the edges of instances are those of the classes"
        return f"{numbers} in{one_hot}{edges}; an image of 0..255 out"
    edges = "" if opt.no_instance else ", then the edges of instances, 1 or 0, as second channel"
    return f"{numbers}{edges} in{one_hot}; an image in [-1, 1] out, (y + 1) / 2 * 255, truncated"


def interface(model: "onnx.ModelProto", args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield (name, description) of the input, the output and the versions."""
    import onnx

    inputs = [("input", value) for value in model.graph.input]
    for name, value in [*inputs, ("output", model.graph.output[0])]:
        kind = value.type.tensor_type
        shape = ", ".join(dim.dim_param or str(dim.dim_value) for dim in kind.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        yield name, f"`{value.name}`: {dtype} ({shape})"
    yield "opset", str(args.opset)
    yield "written with", f"torch {torch.__version__}, onnx {onnx.__version__}"


def differences(rows: list[ExportError], args: argparse.Namespace, what: str) -> Iterator[str]:
    """Yield the lines of the table of differences, measured on random images or label maps."""
    import onnxruntime

    unit = "in grey levels" if args.processing else "in [-1, 1]"
    yield f"onnxruntime {onnxruntime.__version__} on the CPU, random {what}; differences {unit}."
    yield ""
    yield f"| batch | height | width | largest difference |{' values off |' * args.processing}"
    yield f"|---|---|---|---|{'---|' * args.processing}"
    for row in rows:
        off = f" {100 * row.share:.2g}% |" * args.processing
        yield f"| {row.batch} | {row.height} | {row.width} | {row.difference:.2g} |{off}"
