"""Load the generator of a run, and write it as a graph that is checked."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch

from models.inpaint_networks import HoleFiller
from models.semantic import FromLabels
from options.test_options import TestOptions
from scripts.onnx_export.check import Check, ExportError
from scripts.onnx_export.graph import frozen_copy, graph_of, on_levels
from translator import Translator

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

# Flags of test.py that the export always sets.
FIXED = "--gpu_ids -1 --precision fp32 --dropout_at_test off --preprocess none".split()


def load(options: TestOptions, flags: Sequence[str]) -> Translator:
    """Return a run whose generator is ready to be written: without noise, on images as they are."""
    translator = Translator(options.read([*flags, *FIXED]))
    if getattr(translator.opt, "hole_noise", 0):
        translator.model.generator().net.hole_noise = 0.0
        log.info("--hole_noise: the file fills holes without noise")
    return translator


def weights_of(translator: Translator) -> Path:
    """Return the file that the generator's weights were read from."""
    opt, model = translator.opt, translator.model
    generator = model.generator()
    generator = generator.net if isinstance(generator, FromLabels | HoleFiller) else generator
    name = next(name for name, net in model.nets.items() if net is generator)
    epoch = f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch
    return model.save_dir / f"{epoch}_net_{name}{'_ema' if opt.use_ema else ''}.pth"


def write_graph(
    file: BinaryIO, translator: Translator, args: argparse.Namespace, source: dict[str, str]
) -> tuple["onnx.ModelProto", list[ExportError]]:
    """Write and check the graph with `source` as metadata; return it and the differences.

    With --dropout, a graph without noise is checked first; the noisy graph then replaces it.
    """
    import onnx

    choices = {"size": args.size, "processing": args.processing, "tolerance": args.tolerance}
    check = Check(translator, **choices)
    example = torch.from_numpy(check.example())
    for noise in (False, True) if args.dropout else (False,):
        log.info(
            "writing the graph %s dropout, opset %d", "with" if noise else "without", args.opset
        )
        net = frozen_copy(translator.model.generator(), noise=noise, any_size=not args.size)
        if args.processing:
            net = on_levels(net, translator.opt)
        model = graph_of(net, check.inputs(example), args.size, args.opset)
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
