"""The averaged generator."""

import copy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from conftest import random_batch
from torch import nn

from training.ema import EMA, estimate_statistics
from training.validation import mean_scores


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    return {"G": net, "D": nn.Conv2d(1, 1, 1)}


def drift(net: nn.Module) -> None:
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    net(torch.randn(2, 1, 5, 5))  # moves the running statistics


def test_it_is_the_moving_average_of_the_weights_and_has_the_statistics_of_the_last_step():
    nets = networks()
    averages = EMA(nets, decay=0.3)
    wanted = {name: p.clone().double() for name, p in nets["G"].named_parameters()}
    for step in range(1, 6):
        drift(nets["G"])
        averages.update()
        decay = min(0.3, (1 + step) / (10 + step))
        for name, p in nets["G"].named_parameters():
            wanted[name] = decay * wanted[name] + (1 - decay) * p.detach().double()
    assert list(averages.nets) == ["G"]
    for name, p in averages.nets["G"].named_parameters():
        torch.testing.assert_close(p.double(), wanted[name], atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(averages.nets["G"].buffers(), nets["G"].buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_the_first_weights_are_soon_forgotten_whatever_the_decay():
    nets = {"G": nn.Linear(1, 1)}
    with torch.no_grad():
        nets["G"].weight.fill_(1000.0)
    averages = EMA(nets, decay=0.9999)
    with torch.no_grad():
        nets["G"].weight.fill_(0.0)
    for _ in range(50):
        averages.update()
    assert averages.nets["G"].weight.item() < 0.01


def test_it_goes_on_where_its_state_was_saved():
    nets = networks()
    averages = EMA(nets, decay=0.5)
    drift(nets["G"])
    averages.update()
    state = copy.deepcopy(averages.state_dict())
    again = EMA(nets, decay=0.5)
    again.load_state_dict(state)
    drift(nets["G"])
    for one in (averages, again):
        one.update()
    assert again.steps == averages.steps == 2
    for ours, theirs in zip(
        again.nets["G"].parameters(), averages.nets["G"].parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_the_averages_are_applied_until_the_end_whatever_happens():
    nets = networks()
    ema = EMA(nets, decay=0.5)
    drift(nets["G"])
    ema.update()
    before = {name: copy.deepcopy(net.state_dict()) for name, net in nets.items()}
    averages = copy.deepcopy(ema.nets["G"].state_dict())
    places = [p.data_ptr() for p in nets["G"].parameters()]
    with pytest.raises(KeyError), ema.applied():
        torch.testing.assert_close(nets["G"].state_dict(), averages, rtol=0, atol=0)
        raise KeyError
    for name, net in nets.items():
        torch.testing.assert_close(net.state_dict(), before[name], rtol=0, atol=0)
    torch.testing.assert_close(ema.nets["G"].state_dict(), averages, rtol=0, atol=0)
    assert [p.data_ptr() for p in nets["G"].parameters()] == places  # which CUDA graphs read


@pytest.mark.parametrize("model", ["pix2pix", "cycle_gan", "colorization"])
def test_every_model_is_measured_with_its_averages(make, model):
    """CycleGAN keeps its generators as attributes too."""
    flags = ["--model", model, *(["--netG", "resnet_6blocks"] if model == "cycle_gan" else [])]
    trained, averaged = make(*flags), make(*flags)
    batches = [random_batch(channels=(1, 2) if model == "colorization" else (3, 3))]
    ema = EMA(trained.nets, decay=0.5)
    for p in (p for net in ema.nets.values() for p in net.parameters()):
        p.data.add_(0.01 * torch.randn_like(p))
    for name, net in ema.nets.items():
        averaged.nets[name].load_state_dict(net.state_dict())
    with ema.applied():
        found = mean_scores(trained, batches)
    assert found == mean_scores(averaged, batches) != mean_scores(trained, batches)


def test_statistics_are_estimated_once_a_step_and_are_those_of_all_batches(make):
    """They are a mean over the passes; afterwards the training's own go on as before."""
    model = make()
    norm = next(m for m in model.netG.modules() if isinstance(m, nn.BatchNorm2d))
    averages, means = EMA(model.nets, 0.9), []
    norm.register_forward_hook(lambda _, inputs, output: means.append(inputs[0].mean((0, 2, 3))))
    batches = [random_batch(seed=seed) for seed in range(3)]
    dataset = SimpleNamespace(some_batches=lambda count: batches)
    averages.estimate = partial(estimate_statistics, model, dataset)
    with averages.applied():
        assert len(means) == 3
        torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    averages.refresh()
    assert len(means) == 3  # of the same step
    averages.update()
    averages.refresh()
    assert len(means) == 6 and norm.momentum == 0.1
