"""The contract of a model: networks, losses and images in dicts; `update` takes one step."""

import argparse
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from models import building, data_parallel, networks, precision, schedules, weights
from models.diffaug import DiffAugment
from models.grad_accum import accumulate
from models.layers import frozen_but
from models.lazy_r1 import LazyR1
from models.losses import stack_losses
from models.test_time import eval_mode, prepare_for_test, test_mode
from util.device import memory_format_for, pick_device, use_tf32
from util.distributed import is_main_process
from util.files import run_folder, write_options
from util.image_pool import ImagePool
from util.metrics import lower_is_better

log = logging.getLogger(__name__)


class BaseModel(ABC):
    """Networks with their losses and one training step.

    `models/foo_model.py` with a class `FooModel(BaseModel)` makes `--model foo` work. A subclass
    fills these dicts:

    - in its constructor `nets` (name → network on the CPU, saved as latest_net_NAME.pth); when
      training also `optimizers`, `updates` (name of an optimizer → its loss, in the order of the
      step) and `pools` (name → image pool);
    - in `forward` and the losses `visuals` (name → (N, C, H, W) in [-1, 1]) and `losses`
      (name → scalar).
    """

    loss_names: Sequence[str] = ()  # the printed order; unlisted losses come first
    visual_names: Sequence[str] = ()  # the shown order; unlisted images come first
    pooled: Sequence[str] = ()  # the attributes that `query_pool` replaces
    graphed: Sequence[str] = ()  # the methods that training/cuda_graphs.py may capture

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        """Add flags of this model or change defaults; return the parser.

        `parser.add_argument` also takes `role`, what the flag is for (options/roles.py), and
        `carry=True`: test.py takes it over from the run.
        """
        return parser

    @staticmethod  # noqa: B027
    def check_options(opt: Any) -> None:
        """Raise a ValueError for options that the model cannot have, before any image is read."""

    def __init__(self, opt: Any):
        self.opt = opt
        self.isTrain: bool = opt.isTrain
        self.save_dir = run_folder(opt)
        self.device = pick_device(opt.gpu_ids)
        self.layout = memory_format_for(self.device, self.isTrain)
        # With --precision bf16 the context in which networks compute.
        self.autocast = partial(precision.autocast, self.device, opt.precision)
        self.nets: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.schedulers: list[Any] = []
        self.updates: dict[str, Callable[[], Tensor]] = {}  # --grad_accum steps through it
        self.pools: dict[str, ImagePool] = {}
        self.losses: dict[str, Tensor] = {}
        self.visuals: dict[str, Tensor] = {}
        self.image_paths: list[str] = []
        self.loss_weight = 1.0  # of this rank in the current batch
        self.augment = DiffAugment()  # of what D sees; `make_augment` in a subclass with D
        self.r1 = LazyR1(getattr(opt, "lambda_r1", 0.0))
        # Whether `test_mode` uses running statistics and no dropout (--eval).
        self.eval_at_test: bool = getattr(opt, "eval", False)
        # How `setup` starts; training/resume.py sets both.
        self.loads_weights: bool = not opt.isTrain or opt.continue_train
        self.first_epoch: int | None = None  # of the schedules; None: --epoch_count

    # What a subclass writes -----------------------------------------------------------

    @abstractmethod
    def set_input(self, batch: dict[str, Any]) -> None:
        """Move a batch of the dataset to the device, and keep its files as `image_paths`."""

    @abstractmethod
    def forward(self) -> None:
        """Run the generators on the input and fill `visuals`."""

    def query_pool(self) -> None:  # noqa: B027
        """Put older fakes among those that D is shown; none by default."""

    def optimize_parameters(self) -> None:
        """Train for one step on the current input."""
        raise ValueError(f"--model {self.opt.model}: cannot be trained")

    def reals(self) -> Iterable[tuple[nn.Module, Tensor]]:
        """Return each discriminator with the real images of the current input as it sees them,
        (N, C, H, W): `--lambda_r1` takes the gradient there.
        """
        raise ValueError(f"--lambda_r1: --model {self.opt.model} lacks reals(self)")

    def generator(self) -> nn.Module:
        """Return the network that translates an image, (N, input_nc, …) → (N, output_nc, …)."""
        return self.nets["G"]

    def translate(self, real: Tensor) -> Tensor:
        """Return what the generator makes of its input, within `test_mode`."""
        return self.generator()(real)

    def to_image(self, real: Tensor, fake: Tensor) -> Tensor:
        """Convert the output for `real` to an image, (N, C, H, W); colorization adds `real`."""
        return fake

    @classmethod
    def targets_of(cls, batch: dict[str, Any], opt: Any) -> Tensor | None:
        """Return a batch's targets as images, (N, C, H, W) in [-1, 1] or uint8, as the test writes
        them; None if it has none. No network is needed.
        """
        return batch.get("A" if opt.direction == "BtoA" else "B")

    def metric_pair(self) -> tuple[Tensor, Tensor] | None:
        """Return outputs and targets, (N, C, H, W) in [-1, 1], after `test` on a validation batch.

        None: there are no targets; `validation_loss` is measured instead.
        """
        return None

    def metric_hole(self) -> Tensor | None:
        """Return the holes of `metric_pair`, (N, 1, H, W) of 0 or 1; None unless they are filled
        images.
        """
        return None

    def validation_loss(self) -> Tensor:
        """Return a scalar, lower is better, after `test` on a validation batch."""
        raise ValueError(
            f"--val_freq, --early_stop, --lr_policy plateau: --model {self.opt.model} lacks "
            f"metric_pair(self) or validation_loss(self)"
        )

    # What a subclass uses -------------------------------------------------------------

    def make_generator(
        self, input_nc: int | None = None, output_nc: int | None = None
    ) -> networks.Generator:
        """Build a generator as the options say, or with other numbers of channels."""
        channels = input_nc or self.opt.input_nc, output_nc or self.opt.output_nc
        return building.build_generator(self.opt, *channels)

    def make_discriminator(self, input_nc: int) -> networks.Discriminator:
        """Build a discriminator as the options say; ValueError if the crop is too small for it."""
        return building.build_discriminator(self.opt, input_nc)

    def make_augment(self, image: slice = slice(None)) -> DiffAugment:
        """Build the changes of --diffaug; the channels `image` of what D sees are an image."""
        return DiffAugment(getattr(self.opt, "diffaug", None) or (), image)

    def make_optimizer(self, *nets: nn.Module) -> Optimizer:
        """Build the Adam that trains these networks together."""
        return building.build_optimizer(self.nets, nets, self.opt, self.device)

    def sides(self) -> tuple[str, str]:
        """Return which images of a batch are the input, and which the target: "A" or "B".

        --dataset_mode single has inputs alone, as A.
        """
        forwards = self.opt.direction == "AtoB" or self.opt.dataset_mode == "single"
        return ("A", "B") if forwards else ("B", "A")

    def to_device(self, batch: dict[str, Any], name: str) -> Tensor:
        """Move the images `name` of a batch to the device; ValueError if the batch lacks them."""
        if name not in batch:
            raise ValueError(
                f"--dataset_mode {self.opt.dataset_mode}: has no images {name} (aligned has them), "
                f"which --model {self.opt.model} --direction {self.opt.direction} needs"
            )
        self.loss_weight = data_parallel.loss_weight(batch)
        non_blocking = self.device.type == "cuda"  # elsewhere a batch may be freed before its copy
        return batch[name].to(self.device, non_blocking=non_blocking, memory_format=self.layout)

    take = to_device  # its first name, in models that users have written

    def update(self, name: str, loss: Callable[[], Tensor]) -> None:
        """Take one step of an optimizer down the gradient of `loss`, all other networks frozen."""
        optimizer = self.optimizers[name]
        with frozen_but(optimizer, self.nets.values()):
            value = self.weighted(loss, self.loss_weight)
            optimizer.zero_grad(set_to_none=True)  # just before new ones: it reuses their memory
            value.backward()
        optimizer.step()

    def weighted(self, loss: Callable[[], Tensor], weight: float) -> Tensor:
        """Compute a loss in the precision of the training, times `weight`."""
        with self.autocast():
            value = loss()
        return value if weight == 1 else value * weight

    # Training -------------------------------------------------------------------------

    def setup(self, opt: Any) -> None:
        """Load weights, place the networks, start the schedules; then the model can run."""
        if self.loads_weights:
            self.load_networks(f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch)
        for name, net in self.nets.items():
            net.to(self.device, memory_format=self.layout)
            count = sum(p.numel() for p in net.parameters()) / 1e6
            layers = f":\n{net}" if opt.verbose else ""
            log.info("network %s: %.3f million parameters%s", name, count, layers)
        use_tf32(opt.precision, self.device)
        self.forward = precision.within(self.autocast, self.forward)
        if not self.isTrain:
            if self.eval_at_test:
                self.eval()
            prepare_for_test(self.nets, opt)
            return
        data_parallel.train_together(self.nets, self.optimizers, opt, self.device)
        mode = "min" if lower_is_better(opt.best_metric) else "max"
        self.schedulers = [
            schedules.get_scheduler(optimizer, opt, self.first_epoch, mode)
            for optimizer in self.optimizers.values()
        ]

    def train_on(self, batches: Sequence[dict[str, Any]]) -> None:
        """Train for one step on a batch, or on the sum of several batches' gradients."""
        if self.opt.grad_accum > 1:
            accumulate(self, batches)
        else:
            self.set_input(batches[0])
            self.optimize_parameters()
        self.r1.step(self, batches)

    def update_learning_rate(self, metric: float | None = None) -> None:
        """Step the schedules after an epoch; `plateau` follows `metric`, and waits for one."""
        schedules.step(self.schedulers, metric)

    def learning_rates(self) -> str:
        """Return the learning rate in words, by optimizer if they differ."""
        rates = {k: float(optim.param_groups[0]["lr"]) for k, optim in self.optimizers.items()}
        if len(set(rates.values())) == 1:
            return f"{next(iter(rates.values())):.7f}"
        return ", ".join(f"{rate:.7f} of {name}" for name, rate in rates.items())

    # Testing --------------------------------------------------------------------------

    def eval(self) -> None:
        """Use running statistics and no dropout from now on, unlike pix2pix §3.3."""
        for net in self.nets.values():
            net.eval()

    def test(self) -> None:
        """Run `forward` as at test time (pix2pix §3.3): live statistics, dropout on.

        Each image's noise comes from (--seed, its file's stem) alone; running statistics stay.
        """
        with self.test_mode(self.names_of_images()):
            self.forward()

    def names_of_images(self) -> list[str]:
        """Return the files of the current input or, in a script that has none, their numbers."""
        files = self.image_paths
        if files:
            return [files] if isinstance(files, str) else files
        images = [v for v in vars(self).values() if isinstance(v, Tensor) and v.dim() == 4]
        return [str(number) for number in range(max(map(len, images), default=0))]

    @contextlib.contextmanager
    def test_mode(self, names: Iterable[str], seed: int | None = None) -> Iterator[None]:
        """Within it, the networks translate a batch of images as test.py does.

        The noise of each image depends on `seed` (default: --seed) and the stem of its name alone.
        """
        seed = self.opt.seed if seed is None else seed
        values = [*self.nets.values(), *vars(self).values()]  # a network may be an attribute alone
        nets = {module for module in values if isinstance(module, nn.Module)}
        modes = eval_mode(nets) if self.eval_at_test else contextlib.nullcontext()
        with modes, test_mode(nets, names, seed), self.autocast():
            yield

    # What others read -----------------------------------------------------------------

    def compute_visuals(self) -> None:  # noqa: B027
        """Compute extra images for display; none by default."""

    def get_current_visuals(self) -> dict[str, Tensor]:
        """Return the images of the last forward pass, (N, C, H, W) in [-1, 1]."""
        visuals = in_order(self.visuals, self.visual_names)
        return {name: normal_tensor(image) for name, image in visuals.items()}

    def get_current_losses(self) -> dict[str, float]:
        """Return the losses of the last step as numbers, means over all ranks; this waits."""
        losses = in_order(self.losses, self.loss_names)
        numbers = stack_losses(losses.values()).tolist() if losses else []
        means = data_parallel.reduce_losses(numbers, self.loss_weight)
        printed = dict(zip(losses, means, strict=True))
        if self.r1.gamma:
            (printed["D_R1"],) = data_parallel.reduce_losses([float(self.r1.last)], 1.0)
        return printed

    def get_image_paths(self) -> list[str]:
        """Return the files of the current input."""
        return self.image_paths

    # Files ----------------------------------------------------------------------------

    def save_networks(self, epoch: int | str) -> None:
        """Write `EPOCH_net_NAME.pth` for every network; EPOCH is a number, latest, best or iter_N.

        The options are written with the weights, so that they match; first, as they tell a run that
        was killed within its first save. All ranks call it, and rank 0 writes.
        """
        data_parallel.average_buffers(self.nets.values())
        if not is_main_process():
            return
        write_options(self.opt, self.save_dir, "train_opt")
        weights.write(self.nets, epoch, self.save_dir)

    def load_networks(self, epoch: int | str) -> None:
        """Read `EPOCH_net_NAME.pth` for every network.

        ValueError names the file and the flags to change. In training only G's file must be
        there; a network without one starts from scratch, which is logged.
        """
        weights.read(self.nets, epoch, self.save_dir, self.opt)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in a training: networks, optimizers, schedulers, image pools,
        the steps towards the next R1.
        """
        return {
            "networks": {name: net.state_dict() for name, net in self.nets.items()},
            "optimizers": {name: optim.state_dict() for name, optim in self.optimizers.items()},
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "pools": {name: pool.state_dict() for name, pool in self.pools.items()},
            "r1": self.r1.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], *, rates: bool = True) -> None:
        """Restore what `state_dict` has returned, after `setup`.

        The learning rate follows from the options and the epoch; `plateau` restores its own, unless
        `rates` is False.
        """
        keep_rate = self.opt.lr_policy != "plateau" or not rates
        for name, net in self.nets.items():
            net.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            building.load_optimizer(optimizer, state["optimizers"][name], keep_rate=keep_rate)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            schedules.load(scheduler, saved)
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name])
        self.r1.load_state_dict(state.get("r1", {"steps": 0, "last": 0.0}))  # of an older version


def in_order(values: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return the values whose names are not listed, then the others in the order of `names`."""
    others = [name for name in values if name not in names]
    return {name: values[name] for name in [*others, *(n for n in names if n in values)]}


def normal_tensor(image: Any) -> Any:
    """Return an image that autograd and in-place operations accept, unlike an inference tensor."""
    inference = isinstance(image, Tensor) and image.is_inference()
    return image.clone() if inference else image
