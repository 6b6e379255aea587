"""The averaged generator."""

import copy

import pytest
import torch
from torch import nn

from training.ema import EMA


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


def test_it_stands_in_for_the_generator_until_the_end_whatever_happens():
    nets = networks()
    averages, before = EMA(nets, decay=0.5), dict(nets)
    with pytest.raises(KeyError), averages.applied(nets):
        assert nets["G"] is averages.nets["G"] and nets["D"] is before["D"]
        raise KeyError
    assert nets == before
