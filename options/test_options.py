"""The options of test.py: its flags override the run's saved options."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, Options
from options.config_files import read_run
from options.parser import FlagParser, flags_of
from options.train_flags import add_train_flags
from options.values import typed_values
from util.registry import find_class, known

log = logging.getLogger(__name__)

# Flags of both commands of which test.py has defaults of its own.
OF_LOADING = {"phase", "serial_batches", "no_flip", "load_size", "batch_size"}


class TestOptions(BaseOptions):
    """Translate images with a trained model and write a page of results."""

    __test__ = False  # not a pytest class
    is_train = False

    def __init__(
        self,
        infer: Callable[[Path], dict[str, Any]] | None = None,
        batches: bool = False,
        also: Sequence[str] = (),
    ):
        """`infer` finds the options of a run without saved options from its weights. `batches`
        allows a default --batch_size above 1. `also` holds flags of the calling script, which
        are suggested for a mistyped flag.
        """
        self.infer, self.batches, self.also = infer, batches, also
        self.said: set[str] = set()  # warnings, which are the same whenever the flags are read
        self.sizes: set[str] = set()  # options of sizes that are those of the run
        self.of_run: dict[str, Any] = {}

    def saved_options(
        self, parser: FlagParser, run: Path, by_hand: dict[str, Any]
    ) -> dict[str, Any]:
        saved = read_run(run)
        if not saved and self.infer is not None:
            saved = self.inferred = self.infer(run)
        self.of_run = saved
        run_model, suffix = saved.get("model"), by_hand.get("model_suffix")
        model = by_hand.get("model", run_model)
        if suffix and model != "test":
            raise ValueError(f"--model_suffix {suffix}: works only with --model test")
        if saved.get("dataset_mode") == "measurements" and model != run_model:
            raise ValueError(
                f"--model {model}: the run is one on measurements; leave --model to it (inputs "
                f"without targets are translated too)"
            )
        carried = saved
        # Label maps that are only scaled are tested at the size of the training.
        scaled = saved.get("preprocess") == "scale_width" and "preprocess" not in by_hand
        self.sizes = {"load_size"} if scaled and saved.get("dataset_mode") == "labels" else set()
        direction, trained = by_hand.get("direction"), saved.get("direction", "AtoB")
        if model == run_model in ("pix2pix", "colorization") and direction not in (None, trained):
            self.warn(
                f"--direction {direction}: the run was trained {trained}, and its G translates in "
                f"that direction only; the results will not be what it has learned"
            )
        if model != run_model:
            carried = {k: v for k, v in saved.items() if k not in parser.carried_with_model}
            # --model test: its inputs are those of the training, in their values and channels.
            if (model == "test" or not by_hand.get("dataroot")) and "direction" in saved:
                carried["direction"] = saved["direction"]
        renamed = run / f"{_epoch(parser, by_hand)}_net_G.pth"
        if run_model == "cycle_gan" and model == "test" and suffix is None and renamed.is_file():
            log.info("--model test: translates with %s; --model_suffix _A chooses G_A", renamed)
        elif run_model == "cycle_gan" and model in ("cycle_gan", "test"):
            carried = carried | _generator_options(saved, by_hand.get("direction"), suffix)
        return carried

    def warn(self, text: str) -> None:
        """Log a warning, once however often this object reads flags."""
        if text not in self.said:
            self.said.add(text)
            log.warning("%s", text)

    def carried_options(self, parser: FlagParser) -> set[str]:
        return super().carried_options(parser) | self.sizes

    def foreign_options(self, hooks: list[Callable[..., Any]]) -> set[str]:
        # One file serves both commands: ignore flags that only train.py has, of any model, since
        # --model may be another one here.
        for package, flag in (("models", "--model"), ("data", "--dataset_mode")):
            for name in known(package):
                with contextlib.suppress(Exception):  # a user's file may not import
                    hooks = [*hooks, find_class(package, name, flag).modify_commandline_options]
        return flags_of(add_train_flags) | flags_of(*hooks, values=(True,))

    def options_of_config(self, parser: FlagParser, config: dict[str, Any]) -> dict[str, Any]:
        # A file that the run was trained with says how the training loads images.
        names = OF_LOADING & config.keys()
        in_file, of_run = (
            typed_values(parser, {name: values.get(name) for name in names})
            for values in (config, self.of_run)
        )
        return {k: v for k, v in config.items() if k not in names or in_file[k] != of_run[k]}

    def finish(self, parser: FlagParser, opt: Options) -> None:
        if opt.load_size is None:
            opt.load_size = opt.defaults["load_size"] = opt.crop_size
        if opt.overlap is not None and not opt.tile:
            parser.error(f"--overlap {opt.overlap}: needs --tile")
        if opt.page_only and opt.num_shards:
            parser.error("--page_only: translates nothing; leave out --num_shards and --shard_id")
        if (opt.num_shards is None) != (opt.shard_id is None):
            parser.error("--num_shards N, --shard_id I: give both; I is 0 to N - 1")
        if opt.num_shards and opt.shard_id >= opt.num_shards:
            parser.error(
                f"--shard_id {opt.shard_id}: the shards of --num_shards {opt.num_shards} are 0 to "
                f"{opt.num_shards - 1}"
            )
        if opt.batch_size is None:  # images in a batch need one size
            in_batches = self.batches and opt.preprocess.endswith("crop") and not opt.tile
            opt.batch_size = max(1, 16 * 256**2 // opt.crop_size**2) if in_batches else 1
        axis, run_axis = getattr(opt, "slice_axis", None), self.of_run.get("slice_axis")
        if axis and run_axis and axis != run_axis:
            self.warn(f"--slice_axis {axis}: the run was trained on slices that are {run_axis}")
        around = getattr(opt, "slices_around", 0)
        run_around = int(self.of_run.get("slices_around", 0))  # in a table it is a text
        if around != run_around and "slices_around" in self.of_run:
            parser.error(f"--slices_around {around}: the run was trained with {run_around}")
        if getattr(opt, "missing", "") == "zero" and self.of_run.get("missing") == "error":
            self.warn("--missing zero: the run was trained with all inputs of each subject")
        if getattr(opt, "hole_noise", 0) and not float(self.of_run.get("hole_noise", 0)):
            self.warn(
                f"--hole_noise {opt.hole_noise:g}: the run was trained without noise, and its G "
                f"fills holes worse with it"
            )
        super().finish(parser, opt)


def _epoch(parser: FlagParser, by_hand: dict[str, Any]) -> str:
    """Return how the names of the chosen weights begin: an epoch, or iter_N."""
    number = by_hand.get("load_iter")
    return f"iter_{number}" if number else by_hand.get("epoch", parser.get_default("epoch"))


def _generator_options(
    saved: dict[str, Any], direction: str | None, suffix: str | None
) -> dict[str, Any]:
    """Return a CycleGAN run's options for one generator: that of `suffix` if given, else that
    of `direction`.

    G_A translates in the direction of the training, which is also the default direction.
    """
    trained = saved.get("direction", "AtoB")
    suffix = suffix or ("_A" if direction in (None, trained) else "_B")
    channels = [saved.get("input_nc", 3), saved.get("output_nc", 3)]
    input_nc, output_nc = channels[::-1] if suffix == "_B" else channels
    opposite = "AtoB" if trained == "BtoA" else "BtoA"
    way = opposite if suffix == "_B" else trained
    options = {"input_nc": input_nc, "output_nc": output_nc, "direction": way}
    return {**options, "model_suffix": suffix}
