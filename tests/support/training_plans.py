"""What the tests of several processes start: `torchrun … training_plans.py PLAN.json`.

A plan is a list of trainings; each is run step by step, and process 0 writes what it saw.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from support.graphs import graphs_of
from torch import Tensor

from data import create_dataset
from models import create_model
from models.base_model import BaseModel
from models.data_parallel import average_buffers
from options.train_options import TrainOptions
from util import distributed
from util.distributed import launch
from util.files import run_folder
from util.seeding import seed_everything


def double_nets(model: BaseModel) -> None:
    """Turn a model to float64, so that Adam does not blow rounding up."""
    for net in model.nets.values():
        net.double()


def double_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch for such a model."""
    names = ("A", "B", "image", "edges", "mask", "sketch")
    return batch | {name: batch[name].double() for name in names if name in batch}


class Run:
    """A training, driven step by step: epochs of the data set, one after the other."""

    def __init__(self, flags: Sequence[Any], double: bool, graphs: bool):
        self.opt = TrainOptions().read([str(flag) for flag in flags])
        seed_everything(self.opt.seed)
        self.double = double
        self.dataset, self.model = create_dataset(self.opt), create_model(self.opt)
        if double:
            double_nets(self.model)
        self.model.setup(self.opt)
        self.stand_in = graphs_of(self.model) if graphs else None
        self.batches = iter(self.dataset)

    def step(self) -> dict[str, float]:
        """Train on the next batch; return its losses."""
        batch = next(self.batches, None)
        if batch is None:
            self.batches = iter(self.dataset)
            batch = next(self.batches)
        self.model.train_on([double_batch(batch) if self.double else batch])
        exact = torch.stack([loss.detach().double() for loss in self.model.losses.values()])
        means = mean_losses(exact, self.model)
        shown = self.model.get_current_losses()
        assert {k: round(v, 4) for k, v in means.items()} == {k: round(shown[k], 4) for k in means}
        return shown | means


def mean_losses(exact: Tensor, model: BaseModel) -> dict[str, float]:
    """Return the losses over all processes without rounding them to float32."""
    everyones = distributed.all_gather(exact * model.loss_weight)
    return dict(zip(model.losses, torch.stack(everyones).mean(0).tolist(), strict=True))


def drive(plan: dict[str, Any]) -> dict[str, Any]:
    """Run one training of a plan; return its losses, and whether all processes agree."""
    run = Run(plan["flags"], plan.get("double", False), plan.get("graphs", False))
    losses = [run.step() for _ in range(plan["steps"])]
    average_buffers(run.model.nets.values())
    states = {name: net.state_dict() for name, net in run.model.nets.items()}
    everyones = distributed.all_gather(states)
    equal = all(
        torch.equal(theirs[name][key], tensor)
        for theirs in everyones
        for name, state in states.items()
        for key, tensor in state.items()
    )
    if distributed.is_main_process():
        folder = run_folder(run.opt)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(states, folder / "states.pth")
    found = {"losses": losses, "equal": equal, "processes": distributed.world_size()}
    return found | ({"replays": run.stand_in.replays} if run.stand_in else {})


def deviation(one: list[dict[str, float]], two: list[dict[str, float]]) -> float:
    """Return the largest relative difference of a loss."""
    assert [losses.keys() for losses in one] == [losses.keys() for losses in two]
    return max(
        abs(a[name] - b[name]) / max(abs(a[name]), 1e-30)
        for a, b in zip(one, two, strict=True)
        for name in a
    )


def share_a_gpu() -> None:
    """Let all processes train on the first GPU, over gloo: NCCL wants a GPU for each."""
    init = dist.init_process_group
    dist.init_process_group = lambda backend, **how: init("gloo", **how)
    distributed.local_rank, distributed.local_world_size = lambda: 0, lambda: 1


def main() -> None:
    path = Path(sys.argv[1])
    if "share_a_gpu" in sys.argv:
        share_a_gpu()
    with launch.process_group():
        found = [drive(plan) for plan in json.loads(path.read_text())]
        if distributed.is_main_process():
            path.with_suffix(".found").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
