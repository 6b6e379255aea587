"""The contract of a model: networks, losses and pictures in dicts, one update a step."""

import argparse
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models.data_parallel import begin_together, mean_over_processes, share_of, share_statistics
from models.networks import get_scheduler
from models.optimizers import Builder, load_optimizer
from models.test_time import prepare_for_test, test_mode
from models.weights import check_fit
from training.cuda_graphs import Stages, stages_of
from util.checkpoint import load_weights, save_weights
from util.device import pick_device, pick_layout, place, use_tf32
from util.distributed import is_main_process
from util.files import run_folder, write_options
from util.image_pool import ImagePool
from util.metrics import lower_is_better

log = logging.getLogger(__name__)


class BaseModel(Builder, ABC):
    """Networks with their losses and one training step.

    `models/foo_model.py` with a class `FooModel(BaseModel)` makes `--model foo` work. A subclass
    fills, in its constructor, `nets` (name → network, built on the CPU; the name is in the file
    names: latest_net_NAME.pth) and, when training, `optimizers`; in `forward` and the losses,
    `visuals` (name → (N, C, H, W) in [-1, 1], in the order shown) and `losses` (name → scalar).
    """

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        """Add flags of this model or change defaults; return the parser.

        `parser.carry("flag")` makes test.py take a flag over from the run.
        """
        return parser

    def __init__(self, opt: Any):
        self.opt = opt
        self.isTrain: bool = opt.isTrain
        self.save_dir = run_folder(opt)
        self.device = pick_device(opt.gpu_ids)
        self.layout = pick_layout(self.device, self.isTrain)
        self.nets: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.schedulers: list[Any] = []
        self.losses: dict[str, Tensor] = {}
        self.visuals: dict[str, Tensor] = {}
        self.image_paths: list[str] = []
        self.share = 1.0  # of this process in the current batch: see `share_of`
        self.stages: Stages | None = None
        self.pools: dict[str, ImagePool] = {}

    # What a subclass uses -------------------------------------------------------------

    def take(self, batch: dict[str, Any], name: str) -> Tensor:
        """Return a batch's pictures on the device; ValueError if the dataset has none such."""
        if name not in batch:
            raise ValueError(
                f"--dataset_mode {self.opt.dataset_mode}: gives no pictures {name}, which "
                f"--model {self.opt.model} --direction {self.opt.direction} needs"
            )
        self.share = share_of(batch)
        pictures = batch[name].to(self.device, non_blocking=True, memory_format=self.layout)
        return self.stages.fixed(name, pictures) if self.stages else pictures

    def run(self, stage: Callable[[], None]) -> None:
        """Run a part of the training step: a method that reads and sets attributes of tensors.

        On a GPU it is replayed as a CUDA graph, so that it must do the same each time.
        """
        self.stages.run(stage) if self.stages else stage()

    def eager(self, name: str, pictures: Tensor) -> Tensor:
        """Return pictures that were made between stages for the next stage to read."""
        return self.stages.between(name, pictures) if self.stages else pictures

    # What a subclass writes -----------------------------------------------------------

    @abstractmethod
    def set_input(self, batch: dict[str, Any]) -> None:
        """Take a batch of the dataset onto the device, and its files as `image_paths`."""

    @abstractmethod
    def forward(self) -> None:
        """Run the generators on the input and fill `visuals`."""

    def optimize_parameters(self) -> None:
        """Train for one step on the current input."""
        raise ValueError(f"--model {self.opt.model}: cannot be trained")

    def optimize_over(self, batches: Sequence[dict[str, Any]]) -> None:
        """Train for one step on several batches, as on a batch of all their pictures."""
        raise ValueError(f"--grad_accum: --model {self.opt.model} lacks optimize_over(self)")

    def generator(self) -> nn.Module:
        """Return the network that translates a picture, (N, input_nc, …) → (N, output_nc, …)."""
        return self.nets["G"]

    def shown(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the picture that the generator's output for `real` is shown as, (N, C, H, W)."""
        return fake

    def compared(self) -> tuple[Tensor, Tensor] | None:
        """Return outputs and targets, (N, C, H, W) in [-1, 1], after `test` on a validation batch;
        None: there are no targets, and `validation_loss` is what is measured.
        """
        return None

    def validation_loss(self) -> Tensor:
        """Return a scalar, lower is better, after `test` on a validation batch."""
        raise ValueError(
            f"--val_freq, --early_stop, --lr_policy plateau: --model {self.opt.model} lacks "
            f"compared(self) or validation_loss(self)"
        )

    # Training -------------------------------------------------------------------------

    def setup(self, opt: Any, *, load: bool | None = None, first_epoch: int | None = None) -> None:
        """Load weights, place the networks, start the schedules; then the model can run.

        In training, `load` (default: as --continue_train says) and `first_epoch` (default:
        --epoch_count) are set by `training.resume`.
        """
        self.check_abilities()
        load = not self.isTrain or opt.continue_train if load is None else load
        if load:
            self.load_networks(f"iter_{opt.load_iter}" if opt.load_iter else opt.epoch)
        for name, net in self.nets.items():
            self.nets[name] = place(net, self.device, opt.precision, self.layout)
            count = sum(p.numel() for p in net.parameters()) / 1e6
            layers = f":\n{net}" if opt.verbose else ""
            log.info("network %s: %.3f million parameters%s", name, count, layers)
        use_tf32(opt.precision, self.device)
        if not self.isTrain:
            prepare_for_test(self.nets, opt)
            return
        begin_together(self)
        mode = "min" if lower_is_better(opt.best_metric) else "max"
        self.schedulers = [
            get_scheduler(optimizer, opt, first_epoch, mode)
            for optimizer in self.optimizers.values()
        ]
        self.stages = stages_of(self)

    def check_abilities(self) -> None:
        """Raise a ValueError for a flag of training that this model has no method for."""
        own, opt = type(self), self.opt
        measured = (own.compared, own.validation_loss)
        if opt.isTrain and opt.val_freq:
            if measured == (BaseModel.compared, BaseModel.validation_loss):
                self.validation_loss()  # which says so
        if opt.isTrain and opt.grad_accum > 1 and own.optimize_over is BaseModel.optimize_over:
            self.optimize_over([])

    def update(self, optimizer: Optimizer, loss: Tensor) -> None:
        """Take one step of `optimizer` down the gradient of `loss`."""
        optimizer.zero_grad(set_to_none=True)
        (loss if self.share == 1 else loss * self.share).backward()
        optimizer.step()

    def update_learning_rate(self, metric: float | None = None) -> None:
        """Step the schedules, after an epoch; `plateau` follows `metric`, and waits for one."""
        for scheduler in self.schedulers:
            if metric is None and self.opt.lr_policy == "plateau":
                continue
            # A run that goes on from the end of an epoch has not stepped its optimizers yet.
            scheduler.optimizer._opt_called = True
            scheduler.step(*([metric] if self.opt.lr_policy == "plateau" else []))

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first optimizer."""
        return float(next(iter(self.optimizers.values())).param_groups[0]["lr"])

    # Testing --------------------------------------------------------------------------

    def eval(self) -> None:
        """Use running statistics and no dropout from now on, against §3.3."""
        for net in self.nets.values():
            net.eval()

    def test(self) -> None:
        """Run `forward` as at test time (§3.3): statistics of this batch, dropout on.

        Each picture's noise comes from (--seed, its file's stem) alone; running statistics stay.
        """
        with test_mode(self.nets.values(), self.image_paths, self.opt.seed):
            self.forward()

    # What others read -----------------------------------------------------------------

    def compute_visuals(self) -> None:  # noqa: B027
        """Make pictures that are only shown; here there are none. Training loops of old call it."""

    def get_current_visuals(self) -> dict[str, Tensor]:
        """Return the pictures of the last forward pass, (N, C, H, W) in [-1, 1]."""
        return dict(self.visuals)

    def get_current_losses(self) -> dict[str, float]:
        """Return the losses of the last step as numbers, means over all processes; this waits."""
        values = [torch.as_tensor(value).detach().float() for value in self.losses.values()]
        numbers = torch.stack(values).tolist() if values else []
        return dict(zip(self.losses, mean_over_processes(numbers, self.share), strict=True))

    def loss_tensors(self) -> dict[str, Tensor]:
        """Return the losses of the last step, still on the device."""
        return self.losses

    def get_image_paths(self) -> list[str]:
        """Return the files of the current input."""
        return self.image_paths

    # Files ----------------------------------------------------------------------------

    def save_networks(self, epoch: int | str) -> None:
        """Write `EPOCH_net_NAME.pth` for every network; EPOCH is a number, latest, best or iter_N.

        The options go beside them only now, so that they always belong to the weights. All
        processes call it, and process 0 writes.
        """
        share_statistics(self.nets.values())
        if not is_main_process():
            return
        for name, net in self.nets.items():
            save_weights(net.state_dict(), self.save_dir / f"{epoch}_net_{name}.pth")
        write_options(self.opt, self.save_dir, "train_opt")

    def load_networks(self, epoch: int | str) -> None:
        """Read `EPOCH_net_NAME.pth` for every network.

        ValueError names the file and the flags to change. In training only G's file must be
        there; a network without one starts fresh, which is said.
        """
        for name, net in self.nets.items():
            ema = "_ema" if not self.isTrain and self.opt.use_ema and name.startswith("G") else ""
            path = self.save_dir / f"{epoch}_net_{name}{ema}.pth"
            if self.isTrain and not name.startswith("G") and not path.exists():
                log.warning("network %s starts fresh: %s is not there", name, path)
                continue
            net.load_state_dict(check_fit(net, load_weights(path), path, self.opt))
            log.info("network %s: loaded %s", name, path)

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in a training: networks, optimizers, schedulers, image pools."""
        return {
            "networks": {name: net.state_dict() for name, net in self.nets.items()},
            "optimizers": {name: optim.state_dict() for name, optim in self.optimizers.items()},
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "pools": {name: pool.state_dict() for name, pool in self.pools.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` has returned, after `setup`.

        The learning rate follows from the options and the epoch; only `plateau` remembers one.
        """
        plateau = self.opt.lr_policy == "plateau"
        for name, net in self.nets.items():
            net.load_state_dict(state["networks"][name])
        for name, optimizer in self.optimizers.items():
            load_optimizer(optimizer, state["optimizers"][name], keep_rate=not plateau)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            if plateau:
                scheduler.load_state_dict(saved)
        for name, pool in self.pools.items():
            pool.load_state_dict(state["pools"][name])
