"""A validation measures the averaged generators of every model and leaves a training as it is."""

import copy
from typing import Any

import pytest
import torch
from conftest import random_batch, refusal, step
from torch import Tensor, nn

from models.by_name import NamedModel
from models.template_model import TemplateModel
from training.ema import EMA
from training.resume import resume
from training.state import Progress, TrainingState
from training.validation import Validation, mean_scores
from util.seeding import random_states


class AttributeModel(TemplateModel):
    """A user's model that calls its network by an attribute, and keeps a second network."""

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.netG = self.nets["G"]
        self.features = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))  # in no dict

    def forward(self) -> None:
        self.fake_B = self.netG(self.real_A + 0.1 * torch.randn_like(self.real_A))  # its own noise
        self.features(self.fake_B)
        self.visuals = {"real_A": self.real_A, "fake_B": self.fake_B, "real_B": self.real_B}

    def metric_pair(self) -> tuple[Tensor, Tensor]:
        return self.fake_B, self.real_B


class ListModel(NamedModel):
    """A user's model with lists of names, and two handles on its generator."""

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.loss_names, self.model_names, self.visual_names = ["G"], ["G"], ["fake"]
        self.netG = self.make_generator()
        self.handles = [self.netG]
        self.optimizers.append(self.make_optimizer(self.netG))

    def set_input(self, batch: dict[str, Any]) -> None:
        self.real, self.target = batch["A"], batch["B"]
        self.image_paths = batch["A_paths"]

    def forward(self) -> None:
        self.fake = self.handles[0](self.real)

    def optimize_parameters(self) -> None:
        self.forward()
        self.loss_G = (self.fake - self.target).abs().mean()
        self.optimizers["0"].zero_grad()
        self.loss_G.backward()
        self.optimizers["0"].step()

    def validation_loss(self) -> Tensor:
        return (self.fake - self.target).abs().mean()


class NoiseInEveryLayer(ListModel):
    """A user's model whose handle is a bound method of the network."""

    def __init__(self, opt: Any):
        super().__init__(opt)
        self.handles = [self.netG.forward]


OWN = {kind.__name__: kind for kind in (AttributeModel, ListModel, NoiseInEveryLayer)}
SHIPPED = {
    "pix2pix": [],
    "pix2pix, sync_batch": ["--norm", "sync_batch"],
    "pix2pix, instance": ["--norm", "instance"],
    "pix2pix without D": ["--lambda_GAN", "0"],
    "pix2pix, bf16": ["--precision", "bf16"],
    "cycle_gan": ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--norm", "batch"],
    "cycle_gan, U-Net with dropout": ["--model", "cycle_gan", "--norm", "batch"],
    "colorization": ["--model", "colorization"],
}
NAMES = ["pix2pix", "cycle_gan", "colorization", *OWN]
NAMES += [pytest.param(name, marks=pytest.mark.slow) for name in SHIPPED if name not in NAMES]


def build(make: Any, name: str) -> TrainingState:
    """Return the state of a training after two steps, with an EMA that is far from its weights."""
    model = make(*SHIPPED.get(name, ["--model", "template"]))
    if name in OWN:
        model = OWN[name](model.opt)
        model.setup(model.opt)
    ema = EMA(model.nets, decay=0.5)
    for seed in range(2):
        step(model, batch_of(name, seed))
        ema.update()
    with torch.no_grad():
        for p in (p for net in ema.nets.values() for p in net.parameters()):
            p.add_(0.02 * torch.randn_like(p))
    return TrainingState(model.opt, model, Progress(), ema)


def batch_of(name: str, seed: int) -> dict[str, Any]:
    return random_batch(seed, size=2, channels=(1, 2) if name == "colorization" else (3, 3))


def everything(state: TrainingState) -> dict[str, Any]:
    """Return a copy of all that a validation may not change."""
    model = state.model
    modules = {**vars(model), **model.nets, **state.ema.nets}
    modules = {name: value for name, value in modules.items() if isinstance(value, nn.Module)}
    found: dict[str, Any] = {"random": random_states(), "model": model.state_dict()}
    found |= {name: net.state_dict() for name, net in modules.items()}
    for name, net in modules.items():
        found[f"{name} flags"] = [module.training for module in net.modules()]
        found[f"{name} gradients"] = [p.grad for p in net.parameters()]
        found[f"{name} frozen"] = [p.requires_grad for p in net.parameters()]
        found[f"{name} places"] = [p.data_ptr() for p in [*net.parameters(), *net.buffers()]]
    return copy.deepcopy(found) | {"ids": [id(net) for net in modules.values()]}


def assert_equal(one: Any, other: Any, at: str = "") -> None:
    """Expect nested values to be equal to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key in one:
            assert_equal(one[key], other[key], f"{at} {key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), at
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{at} {number}")
    elif isinstance(one, Tensor):
        assert torch.equal(one, other), at
    else:
        assert one == other, at


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_a_validation_changes_nothing_of_the_training(make, name, mode):
    state = build(make, name)
    if mode == "eval":
        state.model.eval()
    batches = [batch_of(name, seed) for seed in (7, 8)]  # which sets the global seed
    before = everything(state)
    Validation(state.model.opt, state, batches).measure()
    assert_equal(before, everything(state))


@pytest.mark.parametrize("name", NAMES)
def test_the_scores_named_ema_are_those_of_the_averaged_weights(make, name):
    state = build(make, name)
    batches = [batch_of(name, seed) for seed in (7, 8)]
    scores = Validation(state.model.opt, state, batches).measure()
    for key, net in state.ema.nets.items():  # as test.py --use_ema loads them
        state.model.nets[key].load_state_dict(net.state_dict())
    raw = {name: value for name, value in scores.items() if not name.endswith("_ema")}
    wanted = mean_scores(state.model, batches)
    assert {name: scores[f"{name}_ema"] for name in wanted} == wanted
    assert all(wanted[name] != raw[name] for name in wanted)


def test_an_ema_that_would_average_nothing_is_refused_before_training(make, monkeypatch):
    class Renamed(TemplateModel):
        def __init__(self, opt: Any):
            super().__init__(opt)
            self.nets = {"Unet": self.nets["G"]}

    model = make("--model", "template", "--ema", "0.9")
    renamed = Renamed(model.opt)
    refusal(lambda: resume(renamed, model.opt), "--ema", "template", "Unet", "G")
