"""The options of train.py: its flags and, with --continue_train, the saved options."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, Options
from options.config_files import existing_run, read_builtin, read_run
from options.parser import FlagParser, flags_of
from options.roles import as_flags
from options.run_names import train_parser
from options.test_flags import add_test_flags
from util.files import run_folder

log = logging.getLogger(__name__)


def last_epoch(opt: Any) -> int:
    """Return the number of the last epoch of a training that does not stop early."""
    return opt.n_epochs + opt.n_epochs_decay


class TrainOptions(BaseOptions):
    """Train a model on a folder of images."""

    is_train = True

    def __init__(
        self, infer: Callable[[Path], dict[str, Any]] | None = None, restarted: bool = False
    ):
        """`infer` finds the options of networks without saved options from their weights. In a
        training that has been `restarted`, --overwrite has had its effect.
        """
        self.infer, self.restarted = infer, restarted
        self.of_networks = False  # whether saved options are only those of the networks

    def saved_options(
        self, parser: FlagParser, run: Path, by_hand: dict[str, Any]
    ) -> dict[str, Any]:
        # --continue_train keeps the saved flags unless they are given again.
        is_ours = any((run / name).exists() for name in ("latest_state.pth", "train_opt.json"))
        if by_hand.get("continue_train") and is_ours:
            return read_run(run)
        if by_hand.get("continue_train"):
            check_foreign_run(parser, run, read_run(run), by_hand)
        if not by_hand.get("init_from"):
            return {}
        # --init_from keeps the flags of the networks, also those that a model adds later.
        source = existing_run(by_hand["init_from"], "--init_from")
        saved = read_run(source) or (self.infer(source) if self.infer else {})
        say_other_direction(source, saved, by_hand)
        self.of_networks = True
        carried, options = self.carried_options(parser), parser.options()
        return {k: v for k, v in saved.items() if k in carried or k not in options}

    def carried_options(self, parser: FlagParser) -> set[str]:
        roles = parser.roles(self.phase)
        if not self.of_networks:
            return {name for name, role in roles.items() if role != "launch"}
        names = {name for name, role in roles.items() if role == "network"} - {"precision"}
        return names | {"input_nc", "output_nc"}

    def foreign_options(self, hooks: list[Callable[..., Any]]) -> set[str]:
        return flags_of(add_test_flags) | flags_of(*hooks, values=(False,))

    def finish(self, parser: FlagParser, opt: Options) -> None:
        super().finish(parser, opt)
        self._check_start(parser, opt)
        if opt.lambda_r1 and opt.gan_mode == "wgangp":
            parser.error("--lambda_r1: --gan_mode wgangp has a gradient penalty of its own")
        check_vgg_weights(parser, opt)
        if opt.model == "pix2pix" and opt.dataset_mode == "unaligned" and not opt.serial_batches:
            log.warning(
                "--dataset_mode unaligned: pairs each A with any B, which --model pix2pix cannot "
                "learn from; use --model cycle_gan, or --dataset_mode aligned for pairs"
            )
        needs_validation = opt.best_metric or opt.early_stop or opt.lr_policy == "plateau"
        opt.val_freq = opt.val_freq or (1 if needs_validation else 0)
        last = last_epoch(opt)
        if opt.epoch_count > last:
            parser.error(
                f"--epoch_count {opt.epoch_count}: nothing to train: the last epoch is {last}; "
                f"raise --n_epochs {opt.n_epochs} or --n_epochs_decay {opt.n_epochs_decay}"
            )

    def _check_start(self, parser: FlagParser, opt: Options) -> None:
        """Check the flags that say what a training starts from."""
        folder = run_folder(opt)
        opt.overwrite = opt.overwrite and not self.restarted
        if opt.continue_train and opt.overwrite:
            parser.error("--overwrite: would delete what --continue_train resumes; leave one out")
        if opt.init_from and folder.resolve() == Path(opt.init_from).resolve():
            parser.error(
                f"--init_from {opt.init_from}: is the folder of this run; choose another --name, "
                f"or --continue_train"
            )
        if opt.continue_train and opt.init_from and (folder / "latest_state.pth").exists():
            # The same command, resumed: its --epoch is that of --init_from.
            opt.init_from, opt.epoch, opt.load_iter = None, "latest", 0
        if not (opt.continue_train or opt.init_from) and (opt.epoch != "latest" or opt.load_iter):
            flag = "--load_iter" if opt.load_iter else "--epoch"
            log.warning("%s is ignored: a run without --continue_train starts from scratch", flag)


def check_vgg_weights(parser: FlagParser, opt: Options) -> None:
    """Raise ValueError, before any image is read, if the file --vgg_weights is missing."""
    path, switch = getattr(opt, "vgg_weights", None), getattr(opt, "no_vgg_loss", None)
    used = path and opt.lambda_vgg > 0 and not switch and opt.perceptual == "vgg19"
    if used and not Path(path).is_file():
        hint = "" if switch is None else "; --no_vgg_loss trains without them"
        parser.error(f"--vgg_weights {path}: no such file; torchvision's is vgg19-*.pth{hint}")


def check_foreign_run(
    parser: FlagParser, run: Path, saved: dict[str, Any], by_hand: dict[str, Any]
) -> None:
    """Raise ValueError if a run of another program is resumed without --dataroot.

    The flags of such a run are not taken over: it would train on the built-in images and overwrite
    its weights.
    """
    if "dataroot" in saved and not by_hand.get("dataroot"):
        with contextlib.suppress(ValueError):  # a model that is not here
            parser = train_parser(str(saved.get("model", "pix2pix")))
        roles, options = parser.roles("train"), parser.options()
        changed = {
            name: value
            for name, value in saved.items()
            if name in options and roles[name] in ("data", "network", "training")
            if str(value) != str(options[name].default)
        }
        flags = " ".join(as_flags(changed))
        raise ValueError(
            f"--continue_train: {run} was trained by another program, whose flags have to be given "
            f"again; its train_opt.txt says {flags}"
        )
    if not saved and not by_hand.get("dataroot") and any(run.glob("*_net_*.pth")):
        raise ValueError(
            f"--continue_train: {run} has weights and no saved flags; give all flags again, with "
            f"--dataroot"
        )
    say_other_direction(run, saved, by_hand)


def say_other_direction(run: Path, saved: dict[str, Any], by_hand: dict[str, Any]) -> None:
    """Warn if --direction is not the one that the weights were trained with."""
    model = str(by_hand.get("model", saved.get("model", "pix2pix")))
    preset = {} if by_hand.get("dataroot") else read_builtin(model)
    direction = by_hand.get("direction", preset.get("direction", "AtoB"))
    trained = saved.get("direction", "AtoB")
    if direction != trained and any(run.glob("*_net_*.pth")):
        log.warning(
            "--direction %s: the weights of %s are of --direction %s", direction, run, trained
        )
