"""The flags of test.py."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, Options
from options.parser import FlagParser, number
from options.shared_flags import add_shared_flags
from options.sources import read_run
from options.train_options import TrainOptions

log = logging.getLogger(__name__)


class TestOptions(BaseOptions):
    """Translate pictures with a trained model and write a page of results."""

    __test__ = False  # not a pytest class
    is_train = False

    def __init__(self, infer: Callable[[Path], dict[str, Any]] | None = None):
        """`infer` reads the options of a run without saved ones off its weights."""
        self.infer = infer

    def add_phase_options(self, parser: FlagParser) -> None:
        add = parser.add_argument
        # One picture at a time, in order, unmirrored and uncropped.
        parser.set_defaults(phase="test", serial_batches=True, no_flip=True, load_size=None)
        with parser.section("testing"):
            # Of a CycleGAN run, the direction chooses it: see `_one_way`.
            add("--model_suffix", default="", help="with --model test: _A takes net_G_A.pth")
            parser.carry("model_suffix")
            add("--results_dir", default="./results/", help="folder of the results")
            add("--aspect_ratio", type=number(float, 0.01, 100), default=1.0, help="of results")
            add("--eval", action="store_true", help="running statistics and no dropout (§3.3)")
            add(
                "--dropout_at_test",
                choices=["on", "off"],
                default="on",
                help="off: no dropout, but still each picture's own statistics",
            )
            add(
                "--num_test",
                type=number(int, 1, infinite=True),
                default=float("inf"),
                help="translate the first N pictures",
            )

    def saved_options(self, run: Path, by_hand: dict[str, Any]) -> dict[str, Any]:
        saved = read_run(run)
        if not saved and self.infer is not None:
            saved = self.infer(run)
        if by_hand.get("model") == "test" and saved.get("model") == "cycle_gan":
            saved = _one_way(saved, by_hand.get("direction"), by_hand.get("model_suffix"))
        return saved

    def foreign_options(self, hooks: list[Callable[..., Any]]) -> set[str]:
        # One file serves both commands: what belongs to training alone is passed over.
        parser = FlagParser()
        add_shared_flags(parser)
        TrainOptions().add_phase_options(parser)
        for hook in hooks:
            with contextlib.suppress(ValueError):  # a model that does not train
                hook(parser, True)
        return set(parser.options())

    def finish(self, parser: FlagParser, opt: Options) -> None:
        if opt.load_size is None:
            opt.load_size = opt.crop_size
        super().finish(parser, opt)
        if opt.batch_size != 1:
            log.warning("--batch_size %d: test.py translates one picture at a time", opt.batch_size)
            opt.batch_size = 1


def _one_way(saved: dict[str, Any], direction: str | None, suffix: str | None) -> dict[str, Any]:
    """Return a CycleGAN run's options for one of its generators: that of the suffix, else that
    which goes in `direction`.

    G_A goes in the direction of the training, which is also meant by None.
    """
    if not suffix:
        suffix = "_A" if direction in (None, saved.get("direction", "AtoB")) else "_B"
    channels = [saved.get("input_nc", 3), saved.get("output_nc", 3)]
    input_nc, output_nc = channels[::-1] if suffix == "_B" else channels
    return {**saved, "input_nc": input_nc, "output_nc": output_nc, "model_suffix": suffix}
