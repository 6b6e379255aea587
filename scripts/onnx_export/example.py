"""A Python example that uses an exported graph, for its card."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.value_range import read_ranges

LEVELS = "fake = ((fake.transpose(0, 2, 3, 1) + 1) / 2 * 255).clip(0, 255).astype(np.uint8)"


def example(output: Path, opt: Any, args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of a Python example that translates an image."""
    colours = opt.model == "colorization"
    ins, outs = (3, 3) if colours and args.processing else (opt.input_nc, opt.output_nc)
    session = f'session = onnxruntime.InferenceSession("{output.name}")'
    yield "import numpy as np, onnxruntime"
    if opt.dataset_mode != "labels" and (not {ins, outs} <= {1, 3} or read_ranges(opt)):
        yield session
        yield from on_zeros(opt, args)
        return
    yield "from PIL import Image"
    yield session
    if opt.dataset_mode == "labels":
        yield from on_labels(opt, args)
    elif opt.model == "inpaint":
        yield from on_holes(opt, args)
        return
    else:
        yield from on_image(ins, args)
    if not args.processing:
        yield LEVELS
    grey = opt.dataset_mode != "labels" and outs == 1
    yield f'Image.fromarray(fake[0{", ..., 0" if grey else ""}]).save("output.png")'


def on_zeros(opt: Any, args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines that translate zeros, for images that PIL does not have."""
    height, width = args.size or (opt.crop_size, opt.crop_size)
    yield f"x = np.zeros((1, {opt.input_nc}, {height}, {width}), np.float32)  # images in [-1, 1]"
    yield '(fake,) = session.run(None, {"input": x})'
    yield f"print(fake.shape)  # (1, {opt.output_nc}, {height}, {width}), in [-1, 1]"


def on_image(channels: int, args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines that translate an image of 1 or 3 channels."""
    resized = resize(args)
    levels = "np.asarray(image)[None]" if channels == 3 else "np.asarray(image)[None, ..., None]"
    yield f'image = Image.open("input.png").convert("{"RGB" if channels == 3 else "L"}"){resized}'
    if args.processing:
        yield f"x = {levels}"
    else:
        yield f"x = {levels}.transpose(0, 3, 1, 2) / np.float32(127.5) - 1"
    yield '(fake,) = session.run(None, {"input": x})'


def on_holes(opt: Any, args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines that fill a hole."""
    yield f'image = np.asarray(Image.open("image.png").convert("RGB"){resize(args)})[None]'
    nearest = resize(args, "Image.NEAREST")
    yield f'mask = np.asarray(Image.open("mask.png").convert("L"){nearest}) >= 128  # (H, W)'
    yield "x = image.transpose(0, 3, 1, 2) / np.float32(127.5) - 1"
    yield 'inputs = {"image": x, "mask": mask[None, None].astype(np.float32)}'
    if opt.guided:
        yield 'inputs["sketch"] = np.zeros_like(inputs["mask"])  # 1 on lines'
    yield "(fake,) = session.run(None, inputs)"
    yield LEVELS
    yield "fake = np.where(mask[None, ..., None], fake, image)  # the rest to the byte"
    yield 'Image.fromarray(fake[0]).save("output.png")'


def on_labels(opt: Any, args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines that translate a label map."""
    resized = resize(args, "Image.NEAREST")
    yield f'labels = np.asarray(Image.open("labels.png"){resized})  # (H, W) of class numbers'
    if args.processing:
        yield "x = labels[None, ..., None].astype(np.uint8)"
    elif opt.no_instance:
        yield "x = labels[None, None].astype(np.int64)"
    else:
        yield "padded = np.pad(labels, 1, mode='edge')"
        yield "edges = (padded[:-2, 1:-1] != labels) | (padded[2:, 1:-1] != labels)"
        yield "edges |= (padded[1:-1, :-2] != labels) | (padded[1:-1, 2:] != labels)"
        yield "x = np.stack([labels, edges])[None].astype(np.int64)"
    yield '(fake,) = session.run(None, {"input": x})'


def resize(args: argparse.Namespace, method: str = "") -> str:
    """Return the code that resizes an image of PIL to the size of the graph, if it has one."""
    if not args.size:
        return ""
    height, width = args.size
    return f".resize(({width}, {height}){f', {method}' if method else ''})"
