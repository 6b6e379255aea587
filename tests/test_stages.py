"""Stages that are replayed give what stages give that are run; batches that share a step, what
one batch of all their pictures gives.
"""

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import random_batch, refusal, step
from several import double_batch, double_nets

from training.cuda_graphs import WARM_UP, CudaRecorder, Stages, stages_of

MODELS = {
    "pix2pix": ["--pool_size", "3", "--no_dropout"],
    "pix2pix without D": ["--lambda_GAN", "0", "--no_dropout"],
    "cycle_gan": ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--pool_size", "2"],
    "template": ["--model", "template", "--no_dropout"],
}
INPUTS = ("real_A", "real_B", "fake_AB", "old_A", "old_B")


class StandIn:
    """Behaves as CUDA graphs do, on any device: a replay computes what the capture computed, from
    the tensors that the capture read and into those that it made.
    """

    def __init__(self, model: Any):
        self.model = model
        self.live: dict[str, Any] = {}  # what the last stage left, with its autograd graph
        self.replays = 0

    def run(self, stage: Callable[[], None]) -> None:
        stage()

    def capture(self, stage: Callable[[], None]) -> Callable[[], None]:
        read, before = self.inputs(stage), tensors(vars(self.model))
        stage()
        after = tensors(vars(self.model))
        made = {key: value for key, value in after.items() if before.get(key) is not value}
        self.live = dict(vars(self.model))

        def replay() -> None:
            self.replays += 1
            assert self.inputs(stage) == read, "a graph reads the memory of its capture"
            attributes = dict(vars(self.model))
            vars(self.model).update({k: v for k, v in self.live.items() if k not in INPUTS})
            stage()
            self.live = dict(vars(self.model))
            for key, value in tensors(vars(self.model)).items():
                if key in made and made[key] is not value:
                    made[key].data.copy_(value.data)
            vars(self.model).update(attributes)  # Python sees nothing of a replay

        return replay

    def inputs(self, stage: Callable[[], None]) -> dict[str, int]:
        names = INPUTS if stage.__name__ == "update_D" else INPUTS[:2]
        found = {name: getattr(self.model, name, None) for name in names}
        return {k: v.data_ptr() for k, v in found.items() if v is not None}


def tensors(values: dict[str, Any]) -> dict[tuple, torch.Tensor]:
    """The tensors that a stage makes: attributes, losses, pictures."""
    found = {}
    for name, value in values.items():
        items = value.items() if name in ("losses", "visuals") else [(None, value)]
        found |= {(name, k): v for k, v in items if isinstance(v, torch.Tensor)}
    return found


def batches() -> list[dict[str, Any]]:
    """Ten batches; one in the middle and the last are smaller."""
    sizes = [2, 2, 2, 2, 2, 1, 2, 2, 2, 1]
    return [random_batch(size=size, seed=i) for i, size in enumerate(sizes)]


@pytest.mark.parametrize("name", MODELS)
def test_replayed_stages_train_as_stages_that_are_run(make, name):
    plain, graphed = make(*MODELS[name]), make(*MODELS[name])
    stand_in = StandIn(graphed)
    graphed.stages = Stages(graphed, stand_in)
    for i, batch in enumerate(batches()):
        for model in (plain, graphed):
            model.set_input(batch)
            model.optimize_parameters()
            if i == 6:
                model.update_learning_rate()
        assert graphed.get_current_losses() == plain.get_current_losses(), i
        pictures, wanted = graphed.get_current_visuals(), plain.get_current_visuals()
        assert all(torch.equal(pictures[key], wanted[key]) for key in wanted), i
    for net, wanted in zip(graphed.nets.values(), plain.nets.values(), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(net.parameters(), wanted.parameters(), strict=True)
        )
    stages = {"template": 1, "cycle_gan": 2, "pix2pix": 3, "pix2pix without D": 2}[name]
    regular = sum(len(batch["A"]) == 2 for batch in batches())
    assert stand_in.replays == stages * (regular - WARM_UP - 1)  # one is the capture


def test_a_loss_of_an_odd_batch_is_not_left_behind(make):
    model = make(*MODELS["pix2pix"])
    model.stages = Stages(model, StandIn(model))
    for batch in batches()[: WARM_UP + 3]:
        model.set_input(batch)
        model.optimize_parameters()
    assert model.fake_B.shape[0] == 1
    model.set_input(batches()[6])
    model.optimize_parameters()
    assert model.fake_B.shape[0] == 2 and model.visuals["fake_B"] is model.fake_B


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([], None),
        (["--gan_mode", "wgangp"], "--gan_mode wgangp"),
        (["--grad_accum", "2"], "--grad_accum"),
        (["--no_graphs"], "--no_graphs"),
    ],
)
def test_what_cannot_be_a_graph_is_said_in_one_line(make, caplog, monkeypatch, flags, reason):
    caplog.set_level(logging.INFO)
    model = make(*flags)
    assert model.stages is None and "CUDA graphs" not in caplog.text  # nor is it said on a CPU
    monkeypatch.setattr("training.cuda_graphs.CudaRecorder", lambda device: "recorder")
    found = stages_of(SimpleNamespace(opt=model.opt, device=torch.device("cuda")))
    assert (found is None) == bool(reason)
    assert (
        caplog.text.count("no CUDA graphs with") == bool(reason) and (reason or "") in caplog.text
    )


def test_several_processes_run_eagerly(make, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("training.cuda_graphs.count", lambda: 2)
    assert stages_of(SimpleNamespace(opt=make().opt, device=torch.device("cuda"))) is None
    assert "no CUDA graphs with several processes" in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", MODELS)
def test_cuda_graphs_train_as_stages_that_are_run(make, name):
    plain, graphed = (make(*MODELS[name], "--gpu_ids", "0", "--precision", "fp32") for _ in "ab")
    assert isinstance(graphed.stages.recorder, CudaRecorder)
    plain.stages = None
    for net, wanted in zip(graphed.nets.values(), plain.nets.values(), strict=True):
        net.load_state_dict(wanted.state_dict())
    for model in (plain, graphed):
        double_nets(model)
    for batch in map(double_batch, batches()):
        for model in (plain, graphed):
            step(model, batch)
        ours, theirs = graphed.get_current_losses(), plain.get_current_losses()
        assert ours == pytest.approx(theirs, rel=1e-6)  # sums are added in varying order
    assert graphed.stages.graphs


# Batches that share a step ---------------------------------------------------------------

ACCUMULATING = {
    "pix2pix": ["--norm", "instance", "--no_dropout"],
    "lsgan": ["--norm", "instance", "--no_dropout", "--gan_mode", "lsgan", "--lambda_GAN", "2"],
    "without D": ["--norm", "instance", "--no_dropout", "--lambda_GAN", "0"],
    "cycle_gan": ["--model", "cycle_gan", "--netG", "resnet_6blocks", "--pool_size", "0"],
}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1)])
@pytest.mark.parametrize("name", ACCUMULATING)
def test_accumulated_batches_train_as_one_batch(make, name, sizes):
    whole, parts = make(*ACCUMULATING[name]), make(*ACCUMULATING[name])
    double_nets(whole)
    double_nets(parts)
    for seed in range(3):
        batch = double_batch(random_batch(size=3, seed=seed))
        step(whole, batch)
        edges = [0, sizes[0], sum(sizes[:2]), 3]
        pieces = [(a, b) for a, b in zip(edges, edges[1:], strict=False) if a < b]
        parts.optimize_over([{k: v[a:b] for k, v in batch.items()} for a, b in pieces])
        losses = whole.get_current_losses()
        assert parts.get_current_losses() == pytest.approx(losses, rel=1e-6)
    for net, wanted in zip(parts.nets.values(), whole.nets.values(), strict=True):
        for (key, ours), theirs in zip(net.named_parameters(), wanted.parameters(), strict=True):
            if ours.dim() > 1:  # biases in front of instance norm follow rounding errors
                torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8, msg=key)


def test_a_model_that_cannot_accumulate_says_so_before_training(make):
    refusal(lambda: make("--model", "template", "--grad_accum", "2"), "--grad_accum", "template")
