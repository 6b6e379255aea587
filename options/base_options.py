"""The flags that train.py and test.py share, and how one configuration comes of all sources."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from options.parser import FlagParser, closest, gpu_list, number
from options.sources import BUILTIN_PRESET, read_yaml
from util.registry import find_class

# What test.py takes over from a run: all that lets the same network see the same kind of picture.
CARRIED = {
    *("model", "dataset_mode", "dataroot", "direction", "input_nc", "output_nc", "ngf", "netG"),
    *("norm", "no_dropout", "upsample", "preprocess", "crop_size", "precision"),
}
# … of which a --model given by hand drops these.
OF_THE_MODEL = {"model", "dataset_mode", "dataroot", "direction"}

_MISSING: Any = object()


class Options(argparse.Namespace):
    """The parsed options as attributes; `defaults` holds what each would be if nobody set it."""

    __slots__ = ("defaults",)  # so that vars(opt) is the options alone

    def text(self) -> str:
        """Return a table of all options, the non-default ones marked."""
        lines = ["----------------- Options ---------------"]
        for name, value in sorted(vars(self).items()):
            default = self.defaults.get(name, value)
            mark = f"\t[default: {_plain(default)}]" if value != default else ""
            lines.append(f"{name:>25}: {_plain(value)!s:<30}{mark}".rstrip())
        return "\n".join([*lines, "----------------- End -------------------"])


class BaseOptions:
    """Turns flags, YAML files and a run's saved options into one `Options`.

    Precedence: base < phase < model < dataset < built-in preset (when there is no dataroot)
    < the run's saved options (test only) < --config file < command line.
    """

    is_train: bool

    def parse(self, args: Sequence[str] | None = None) -> Options:
        """Parse `args` (default: sys.argv[1:]); a mistake ends with one line and status 2."""
        try:
            return self.read(sys.argv[1:] if args is None else args)
        except (ValueError, OSError) as error:
            sys.stderr.write(f"{os.path.basename(sys.argv[0])}: error: {error}\n")
            raise SystemExit(2) from None

    def read(self, args: Sequence[str]) -> Options:
        """Parse `args`; a mistake is a ValueError that starts with the flag or the file."""
        parser = FlagParser(description=self.__doc__)
        add_base_options(parser)
        self.add_phase_options(parser)
        return self._read(parser, [str(a) for a in args])

    def add_phase_options(self, parser: FlagParser) -> None:
        """Add the flags of this phase (train or test) and its defaults."""
        raise NotImplementedError

    def saved_options(self, run: Path) -> dict[str, Any]:
        """Return the options saved in the run's folder; training starts from none."""
        return {}

    def foreign_options(self, hooks: list[Callable[..., Any]]) -> set[str]:
        """Return options that a --config file may hold although this phase has none such."""
        return set()

    def _read(self, parser: FlagParser, argv: list[str]) -> Options:
        # Selector pass: what chooses the files to read and the hooks to call.
        given = _given(parser, argv)
        config = read_yaml(given["config"]) if given.get("config") else {}
        by_hand = {**config, **given}
        defaults = {name: action.default for name, action in parser.options().items()}
        saved = self.saved_options(_run_folder({**defaults, **by_hand}))
        if "model" in by_hand:
            saved = {k: v for k, v in saved.items() if k not in OF_THE_MODEL}
        builtin = not (by_hand.get("dataroot") or saved.get("dataroot"))
        preset = read_yaml(BUILTIN_PRESET) if builtin else {}

        # Each hook once: the model's may choose the dataset.
        chosen = {**preset, **saved, **by_hand}
        hooks = []
        for package, flag in (("models", "model"), ("data", "dataset_mode")):
            name = chosen.get(flag, parser.get_default(flag))
            hooks.append(find_class(package, name, f"--{flag}").modify_commandline_options)
            with parser.section(f"{flag.removesuffix('_mode')} {name}"):
                hooks[-1](parser, self.is_train)
        parser.add_argument("-h", "--help", action="help", help="show this and exit")

        # The strict parse, one source after the other into one namespace.
        carried = CARRIED | parser.carried
        if not self.is_train:
            preset = {k: v for k, v in preset.items() if k in carried}
        saved = {k: v for k, v in saved.items() if k in carried and k in parser.options()}
        opt = Options()
        opt.defaults = vars(parser.parse_args([]))
        _apply(parser, opt, preset, f"{BUILTIN_PRESET}: ")
        _apply(parser, opt, saved, "the run's saved options: ")
        foreign = self.foreign_options(hooks) - set(parser.options()) if config else set()
        config = {k: v for k, v in config.items() if k not in foreign}
        _apply(parser, opt, config, f"{given.get('config')}: ")
        parser.parse_args(argv, opt)
        self.finish(parser, opt)
        return opt

    def finish(self, parser: FlagParser, opt: Options) -> None:
        """Fill in what follows from other options and check what argparse cannot."""
        opt.isTrain = self.is_train
        if opt.suffix:
            opt.name = _named(vars(opt))
        inside = os.path.normpath(opt.name)
        if os.path.isabs(inside) or inside.split(os.sep)[0] in ("..", "."):
            parser.error(
                f"--name {opt.name}: leaves the folder --checkpoints_dir; use a plain name"
            )
        for flag in ("phase", "epoch"):
            value = getattr(opt, flag)
            if not value or value != os.path.basename(value) or value in (".", ".."):
                parser.error(f"--{flag} {value}: must be a plain name without slashes")
        resizes = opt.preprocess in ("resize_and_crop", "scale_width_and_crop")
        if resizes and opt.load_size < opt.crop_size:
            parser.error(
                f"--load_size {opt.load_size}: smaller than --crop_size {opt.crop_size}; "
                f"pictures are cropped after they are resized"
            )


def _apply(parser: FlagParser, opt: Options, values: dict[str, Any], source: str) -> None:
    """Parse `values` into `opt` as if they were flags, so that argparse checks them all."""
    parser.source = source
    actions, tokens = parser.options(), []
    for name, value in values.items():
        if name not in actions:
            parser.error(f"{name}: unknown option{closest(name, list(actions))}")
        if actions[name].nargs != 0:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            tokens.append(f"--{name}={text}")
        elif str(value).lower() in ("true", "yes", "on", "1"):
            tokens.append(f"--{name}")
        elif str(value).lower() in ("false", "no", "off", "0"):
            setattr(opt, name, False)
        else:
            parser.error(f"{name}: {value!r} is neither true nor false")
    parser.parse_args(tokens, opt)
    parser.source = ""


def _given(parser: FlagParser, argv: list[str]) -> dict[str, Any]:
    """Return the shared options that stand on the command line, parsed; others are passed over."""
    namespace = argparse.Namespace(**dict.fromkeys(parser.options(), _MISSING))
    parser.parse_known_args(argv, namespace)
    return {k: v for k, v in vars(namespace).items() if v is not _MISSING}


def _run_folder(values: dict[str, Any]) -> Path:
    return Path(values["checkpoints_dir"]) / _named(values)


def _named(values: dict[str, Any]) -> str:
    """Return the run's name: --name, and --suffix with its {option} fields filled in."""
    if not values["suffix"]:
        return values["name"]
    try:
        return f"{values['name']}_{values['suffix'].format(**values)}"
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(
            f"--suffix {values['suffix']}: {error} is no option; write e.g. {{model}}_{{netG}}"
        ) from None


def _plain(value: Any) -> Any:
    return ",".join(map(str, value)) or "-1" if isinstance(value, list) else value


def add_base_options(parser: FlagParser) -> None:
    """Add the flags that train.py and test.py share."""
    add, size = parser.add_argument, number(int, at_least=1)
    with parser.section("run"):
        add("--name", default="experiment_name", help="the run: its folder in --checkpoints_dir")
        add("--checkpoints_dir", default="./checkpoints", help="folder of all runs")
        add("--suffix", default="", help="added to --name, e.g. {model}_{netG}")
        add("--config", help="YAML file of options; the command line wins over it")
        add("--seed", type=number(int, 0, 2**63 - 1), default=0, help="of all randomness")
        add("--gpu_ids", type=gpu_list, default="0", help="e.g. 0 or 0,1; -1 is the CPU")
        add("--precision", choices=["fp32", "bf16"], default="fp32", help="of the networks")
        add("--epoch", default="latest", help="which saved epoch to load")
        add("--load_iter", type=number(int, 0), default=0, help="load iter_N instead, if > 0")
        add("--verbose", action="store_true", help="print the networks, and tracebacks")
    with parser.section("data"):
        add("--dataroot", help="folder of the pictures; without it the built-in facades")
        add("--dataset_mode", default="unaligned", help="data/NAME_dataset.py reads them")
        add("--direction", choices=["AtoB", "BtoA"], default="AtoB", help="what becomes what")
        add("--phase", default="train", help="subfolder: train, val, test")
        add("--batch_size", type=size, default=1, help="pictures a step")
        add("--serial_batches", action="store_true", help="in order instead of shuffled")
        add("--num_threads", type=number(int, 0), default=4, help="processes that load data")
        add(
            "--max_dataset_size",
            type=number(int, 1, infinite=True),
            default=float("inf"),
            help="use the first N pictures",
        )
    with parser.section("pictures"):
        add(
            "--preprocess",
            choices=["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"],
            default="resize_and_crop",
            help="from the file to the network; none keeps the size",
        )
        add("--load_size", type=size, default=286, help="resize to this")
        add("--crop_size", type=size, default=256, help="then crop to this")
        add("--no_flip", action="store_true", help="no random mirroring")
        add("--input_nc", type=size, default=3, help="input channels: 3 RGB, 1 grey")
        add("--output_nc", type=size, default=3, help="output channels: 3 RGB, 1 grey")
        add("--display_winsize", type=size, default=256, help="width of a picture on a page")
    with parser.section("networks"):
        add("--model", default="pix2pix", help="models/NAME_model.py")
        add("--netG", default="resnet_9blocks", help="unet_256, resnet_9blocks, …")
        add("--netD", default="basic", help="basic (70×70), n_layers or pixel")
        add("--ngf", type=size, default=64, help="width of G: channels of its first convolution")
        add("--ndf", type=size, default=64, help="width of D")
        add("--n_layers_D", type=size, default=3, help="depth of D with --netD n_layers")
        add(
            "--norm",
            choices=["instance", "batch", "sync_batch", "sync_instance", "none"],
            default="instance",
            help="normalisation layers",
        )
        add("--no_dropout", action="store_true", help="no dropout in G")
        add("--upsample", choices=["transpose", "resize"], default="transpose", help="in G")
        add(
            "--init_type",
            choices=["normal", "xavier", "kaiming", "orthogonal"],
            default="normal",
            help="initial weights",
        )
        add("--init_gain", type=number(float, 0), default=0.02, help="their scale")
    with parser.section("experiment tracking"):
        add("--use_wandb", action="store_true", help="log to Weights & Biases")
        add("--wandb_project_name", default="CycleGAN-and-pix2pix", help="project there")
