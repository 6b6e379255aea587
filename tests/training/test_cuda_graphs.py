"""Graphs that replay a step train as the step does, or say why they cannot; batches that share a
step train as one batch of all their images.
"""

import random
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, draw_pairs, random_batch, refusal, step
from support.graphs import graphs_of
from support.training_plans import double_batch, double_nets
from torch import Tensor

from models.pix2pix_model import Pix2PixModel
from models.template_model import TemplateModel
from training.cuda_graphs import STEP, WARM_UP, CudaRecorder, enable_cuda_graphs
from training.ema import EMA, estimate_statistics
from training.resume import resume
from training.validation import mean_scores

CYCLE_GAN = ["--model", "cycle_gan", "--netG", "resnet_6blocks"]
MODELS = {
    "pix2pix": ["--pool_size", "3", "--no_dropout"],
    "pix2pix, no pool": ["--no_dropout", "--norm_D", "spectral"],
    "cycle_gan, no pool": [*CYCLE_GAN, "--pool_size", "0"],
    "pix2pix without D": ["--lambda_GAN", "0", "--no_dropout"],
    "pix2pix, bf16": ["--pool_size", "3", "--no_dropout", "--precision", "bf16"],
    "cycle_gan": [*CYCLE_GAN, "--pool_size", "2"],
    "colorization": ["--model", "colorization", "--no_dropout"],
    "template": ["--model", "template", "--no_dropout"],
}
# The graphs of a step; one, if no image pool is between its methods.
GRAPHS = {"pix2pix": 3, "pix2pix, bf16": 3, "cycle_gan": 2}


SIZES = [4, 4, 4, 4, 4, 1, 4, 4, 4, 1]


def batches(model: str = "", sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """Batches of 4 with one of 1 among them and one as the last."""
    channels = (1, 2) if model == "colorization" else (3, 3)
    return [random_batch(size=n, seed=i, channels=channels) for i, n in enumerate(sizes)]


@pytest.mark.parametrize("name", MODELS)
def test_replayed_methods_train_as_methods_that_are_run(make, name):
    plain, graphed = make(*MODELS[name]), make(*MODELS[name])
    stand_in = graphs_of(graphed)
    for i, batch in enumerate(batches(name)):
        for model in (plain, graphed):
            model.set_input(batch)
            model.optimize_parameters()
            if i in (1, 7) and name != "template":
                held_out = random_batch(
                    size=1, seed=50, channels=(1, 2) if "color" in name else (3, 3)
                )
                model.last_scores = mean_scores(model, [held_out])
            if i == 6:
                model.update_learning_rate()
        if i not in (1, 7):
            assert graphed.get_current_losses() == plain.get_current_losses(), i
            images, wanted = graphed.get_current_visuals(), plain.get_current_visuals()
            assert all(torch.equal(images[key], wanted[key]) for key in wanted), i
        elif name != "template":
            assert graphed.last_scores == plain.last_scores
    for net, wanted in zip(graphed.nets.values(), plain.nets.values(), strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(net.parameters(), wanted.parameters(), strict=True)
        )
    regular = sum(len(batch["A"]) == 4 for batch in batches(name))
    assert stand_in.replays == GRAPHS.get(name, 1) * (regular - WARM_UP - 1)  # one: the capture


def test_a_loss_of_an_odd_batch_is_not_left_behind(make):
    model = make(*MODELS["pix2pix"])
    graphs_of(model)
    for batch in batches()[: WARM_UP + 3]:
        step(model, batch)
    assert model.fake_B.shape[0] == 1
    step(model, batches()[6])
    assert model.fake_B.shape[0] == 4 and model.visuals["fake_B"] is model.fake_B


def test_images_that_a_method_adds_are_there_after_a_replay(make, monkeypatch):
    """As in a user's model that empties `visuals` in `set_input`."""

    def set_input(self: Pix2PixModel, batch: dict[str, Any]) -> None:
        original_set_input(self, batch)
        self.visuals = {"real_A": self.real_A}

    def forward(self: Pix2PixModel) -> None:
        shown = self.visuals
        original_forward(self)
        self.visuals = shown
        self.visuals["fake_B"] = self.fake_B

    original_set_input, original_forward = Pix2PixModel.set_input, Pix2PixModel.forward
    monkeypatch.setattr(Pix2PixModel, "set_input", set_input)
    monkeypatch.setattr(Pix2PixModel, "forward", forward)
    model = make(*MODELS["pix2pix"])
    stand_in = graphs_of(model)
    for batch in batches(sizes=[4] * (WARM_UP + 3)):
        step(model, batch)
    assert stand_in.replays and model.visuals["fake_B"] is model.fake_B


def test_the_shapes_of_the_first_batches_need_not_stay(make):
    """A first look at validation images of another size does not keep graphs from training."""
    model = make(*MODELS["pix2pix"])
    stand_in = graphs_of(model)
    mean_scores(model, [random_batch(size=1)])
    for batch in batches()[:5]:
        step(model, batch)
    assert stand_in.replays == 3


@pytest.mark.parametrize("short", [1, 3])
@pytest.mark.parametrize("name", ["pix2pix", "cycle_gan", "template"])
def test_a_short_batch_is_never_what_is_captured(make, name, short):
    """A resume in mid-epoch may start with one, and an epoch of 5 images has as many of them."""
    model = make(*MODELS[name])
    stand_in = graphs_of(model)
    for batch in batches(name, [short, 4] * 6):
        step(model, batch)
    assert len(stand_in.graphs.buffers["real_A"]) == 4
    assert stand_in.replays == GRAPHS.get(name, 1) * (6 - WARM_UP - 1)


def test_a_run_with_validations_resumed_before_a_short_batch_is_replayed(command, monkeypatch):
    """Its first look at validation images and its first batch have one image."""
    draw_pairs(Path("data"), count=5)
    stands = []
    monkeypatch.setattr("train.enable_cuda_graphs", lambda model, opt: stands.append(model))
    flags = [*TINY, "--dataroot", "data", "--no_html", "--no_dropout", "--val_freq", "1"]
    flags += ["--batch_size", "4", "--n_epochs", "6"]
    for name in ("plain", "graphed"):
        steps = []
        with monkeypatch.context() as patch:
            patch.setattr(Pix2PixModel, "optimize_parameters", stop_after(1, steps))
            assert command("train", *flags, "--name", name).status == 130
        if name == "graphed":
            build = lambda model, opt: stands.append(graphs_of(model))  # noqa: E731
            monkeypatch.setattr("train.enable_cuda_graphs", build)
        assert command("train", "--name", name, "--continue_train").status == 0
    assert len(stands[-1].graphs.buffers["real_A"]) == 4
    assert stands[-1].replays == 5 - WARM_UP - 1  # five epochs with a whole batch each
    files = [Path("checkpoints", name, "latest_net_G.pth") for name in ("plain", "graphed")]
    plain, graphed = (torch.load(path, weights_only=True) for path in files)
    assert all(torch.equal(plain[key], graphed[key]) for key in plain)


def stop_after(count: int, steps: list[int]) -> Callable[[Any], None]:
    """Return a step that interrupts the training once `count` of them are done."""
    optimize = Pix2PixModel.optimize_parameters

    def step_and_stop(self: Any) -> None:
        optimize(self)
        steps.append(1)
        if len(steps) == count:
            signal.raise_signal(signal.SIGINT)

    return step_and_stop


@pytest.mark.parametrize("pool", ["0", "3"])
def test_an_estimate_of_statistics_for_the_ema_is_no_step(make, pool):
    """It translates batches without gradients, in the averages."""
    model = make(*MODELS["pix2pix"], "--pool_size", pool)
    stand_in, ema = graphs_of(model), EMA(model.nets, 0.9)
    dataset = SimpleNamespace(some_batches=lambda count: [random_batch(size=4)] * count)
    ema.estimate = partial(estimate_statistics, model, dataset)
    for number, batch in enumerate(batches(sizes=[4] * (WARM_UP + 4))):
        step(model, batch)
        ema.update()
        if number in (1, WARM_UP + 2):
            before, replays = model.nets["G"].state_dict(), stand_in.replays
            before = {name: value.clone() for name, value in before.items()}
            ema.refresh()
            assert stand_in.replays == replays
            after = model.nets["G"].state_dict()
            assert all(torch.equal(before[name], after[name]) for name in before)
            own, average = (dict(nets["G"].named_buffers()) for nets in (model.nets, ema.nets))
            mean = next(name for name in own if name.endswith("running_mean"))
            assert average[mean].any() and not torch.equal(average[mean], own[mean])
    assert stand_in.replays == (3 if pool == "3" else 1) * 3


@pytest.mark.parametrize("sizes", [[64, 96] * 8, [*range(64, 74)] * 5])
def test_a_step_is_captured_only_after_one_of_its_shapes(make, sizes):
    """A model may have forgotten what it keeps for other shapes, which a capture cannot make."""
    model = make("--model", "template", "--no_dropout")
    stand_in, step_before = graphs_of(model), []
    capture = stand_in.capture
    stand_in.capture = lambda method: step_before.append(sizes_seen[-2:]) or capture(method)
    sizes_seen = []
    for size in [*sizes, 80, 80, 80, 80, 80]:
        sizes_seen.append(size)
        batch = random_batch()
        step(model, batch | {n: F.interpolate(batch[n], (64, size)) for n in "AB"})
    assert step_before == [[80, 80]] and stand_in.replays == 1


@pytest.mark.parametrize("sizes", [[2] * 6, [1] * 6])
def test_a_data_set_smaller_than_a_batch_is_captured(make, sizes):
    model = make(*MODELS["pix2pix"], "--batch_size", "4")
    stand_in = graphs_of(model)
    for batch in batches(sizes=sizes):
        step(model, batch)
    assert stand_in.replays == 3 * (6 - WARM_UP - 1)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([64] * 20, False),
        ([64, 64, 64, 96] * 5, False),
        ([*range(64, 84)], True),
        ([64, 64, 64, 64, *range(65, 81)], True),
    ],
)
def test_steps_that_run_without_graphs_are_said_once(make, caplog, monkeypatch, sizes, said):
    monkeypatch.setattr("training.cuda_graphs.LOOK_AFTER", 20)
    model = make("--model", "template", "--no_dropout")
    graphs_of(model)
    for size in [*sizes, *sizes]:
        batch = random_batch()
        step(model, batch | {n: F.interpolate(batch[n], (64, size)) for n in "AB"})
    assert caplog.text.count("without CUDA graphs") == said, caplog.text


class Changing(TemplateModel):
    """A model whose `set_input` sets what no graph can see."""

    count = 0
    kind = ""

    def set_input(self, batch: dict[str, Any]) -> None:
        super().set_input(batch)
        Changing.count += 1
        if self.kind == "number":
            self.weight = 1 / Changing.count
        elif self.kind == "flag":
            self.late = Changing.count > WARM_UP + 1
        elif self.kind == "dict":
            self.targets = {"real_B": self.real_B.clone()}


@pytest.mark.parametrize(
    ("kind", "name"), [("number", "weight"), ("flag", "late"), ("dict", "targets")]
)
def test_what_a_graph_cannot_see_is_an_error(make, monkeypatch, kind, name):
    monkeypatch.setattr(Changing, "kind", kind)
    monkeypatch.setattr(Changing, "count", 0)
    model = Changing(make("--model", "template").opt)
    model.setup(model.opt)
    graphs_of(model)

    def train() -> None:
        for batch in batches()[:5]:
            step(model, batch)

    refusal(train, STEP, name, "graphed", "--no_graphs")


def test_a_tensor_that_set_input_makes_is_copied_into_its_buffer(make):
    class Weighted(TemplateModel):
        def set_input(self, batch: dict[str, Any]) -> None:
            super().set_input(batch)
            self.weight = batch["A"].mean() + 2  # another tensor each time

        def loss_G(self) -> Tensor:
            return super().loss_G() * self.weight

    plain, graphed = (Weighted(make("--model", "template", "--no_dropout").opt) for _ in "ab")
    for model in (plain, graphed):
        torch.manual_seed(0)
        model.setup(model.opt)
    graphed.load_state_dict(plain.state_dict())
    stand_in = graphs_of(graphed)
    for batch in batches()[:7]:
        step(plain, batch)
        step(graphed, batch)
        assert torch.equal(plain.fake_B, graphed.fake_B)
    assert stand_in.replays


class Busy(TemplateModel):
    """A model whose step does more than its graphed method."""

    kind = ""

    def optimize_parameters(self) -> None:
        super().optimize_parameters()
        match self.kind:
            case "reads a loss":
                assert self.losses["G"].item() > 0
            case "draws":
                random.random()
            case "draws by NumPy":
                np.random.rand()
            case "draws by torch":
                torch.rand(1)
            case "sets a tensor":
                self.fake_B = self.real_A
            case "changes weights":
                with torch.no_grad():
                    next(self.nets["G"].parameters()).mul_(1)
            case "views":
                self.fake_B = self.fake_B.detach()


@pytest.mark.parametrize(
    ("kind", "whole"),
    [
        ("", True),
        ("views", True),
        ("reads a loss", False),
        ("draws", False),
        ("draws by NumPy", False),
        ("draws by torch", False),
        ("sets a tensor", False),
        ("changes weights", False),
    ],
)
def test_a_step_is_one_graph_if_it_does_nothing_but_call_graphed_methods(
    make, monkeypatch, kind, whole
):
    monkeypatch.setattr(Busy, "kind", kind)
    model = Busy(make("--model", "template").opt)
    model.setup(model.opt)
    stand_in = graphs_of(model)
    for batch in batches()[:5]:
        step(model, batch)
    (name,) = stand_in.graphs.graphs
    assert name == (STEP if whole else "update_G")


def test_a_step_called_by_its_methods_runs_them_though_the_whole_was_captured(make):
    plain, graphed = make("--no_dropout"), make("--no_dropout")
    stand_in = graphs_of(graphed)
    for i, batch in enumerate(batches(sizes=[4] * 8)):
        step(plain, batch)
        graphed.set_input(batch)
        for method in ("optimize_parameters",) if i < 5 else ("forward", "update_D", "update_G"):
            getattr(graphed, method)()
        assert graphed.get_current_losses() == plain.get_current_losses()
    assert [*stand_in.graphs.graphs] == [STEP] and stand_in.replays == 1


def test_a_model_without_graphed_methods_is_left_alone(make, monkeypatch):
    monkeypatch.setattr(TemplateModel, "graphed", ())
    model = make("--model", "template")
    stand_in = graphs_of(model)
    for batch in batches()[:5]:
        step(model, batch)
    assert not stand_in.graphs.graphs and not stand_in.graphs.modes


def test_a_method_that_the_captured_step_lacks_is_an_error(make):
    model = make(*MODELS["pix2pix"])
    graphs_of(model)
    for batch in batches()[: WARM_UP + 1]:
        model.set_input(batch)
        model.forward()
        model.update_G()
    refusal(lambda: step(model, batches()[0]), "update_D", "graphed", "--no_graphs")


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
    model = make(*flags)
    assert enable_cuda_graphs(model, model.opt) is None
    assert "CUDA graphs" not in caplog.text  # nor is it said on a CPU
    monkeypatch.setattr("training.cuda_graphs.CudaRecorder", lambda device: "recorder")
    monkeypatch.setattr(model, "device", SimpleNamespace(type="cuda"))
    found = enable_cuda_graphs(model, model.opt)
    assert (found is None) == bool(reason)
    assert caplog.text.count("no CUDA graphs with") == bool(reason)
    assert (reason or "") in caplog.text


@pytest.mark.parametrize(
    ("flags", "backend", "said"),
    [
        ([], "cpu:gloo,cuda:nccl", "no CUDA graphs with several processes:"),
        (["--distributed_graphs"], "gloo", "no CUDA graphs with several processes without NCCL:"),
        (["--distributed_graphs"], "cpu:gloo,cuda:nccl", ""),  # as util/distributed names it
    ],
)
def test_several_processes_have_graphs_if_asked_for(
    make, caplog, monkeypatch, flags, backend, said
):
    model = make(*flags)
    monkeypatch.setattr("training.cuda_graphs.world_size", lambda: 2)
    monkeypatch.setattr("training.cuda_graphs.dist.get_backend", lambda: backend)
    monkeypatch.setattr("training.cuda_graphs.CudaRecorder", lambda device: "recorder")
    monkeypatch.setattr(model, "device", SimpleNamespace(type="cuda"))
    assert (enable_cuda_graphs(model, model.opt) is None) == bool(said)
    assert said in caplog.text and ("CUDA graphs" in caplog.text) == bool(said)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", MODELS)
def test_cuda_graphs_train_as_methods_that_are_run(make, name):
    flags = [*MODELS[name], "--gpu_ids", "0"]
    flags += [] if "bf16" in name else ["--precision", "fp32"]
    plain, graphed = make(*flags), make(*flags)
    graphs = enable_cuda_graphs(graphed, graphed.opt)
    assert isinstance(graphs.recorder, CudaRecorder)
    graphed.load_state_dict(plain.state_dict())
    exact = "bf16" not in name
    for model in (plain, graphed) if exact else ():
        double_nets(model)
    for batch in map(double_batch, batches(name)) if exact else batches(name):
        for model in (plain, graphed):
            step(model, batch)
        ours, theirs = graphed.get_current_losses(), plain.get_current_losses()
        # In float64 sums are added in varying order; get_current_losses rounds to float32.
        assert ours == pytest.approx(theirs, rel=1e-6 if exact else 0.05)
    pairs = zip(graphed.nets.values(), plain.nets.values(), strict=True)
    for p, q in (
        pair for nets in pairs for pair in zip(*(n.parameters() for n in nets), strict=True)
    ):
        assert not exact or (p - q).abs().max() < 1e-9
    assert graphs.graphs


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
    whole = make(*ACCUMULATING[name])
    parts = make(*ACCUMULATING[name], "--grad_accum", "3")
    double_nets(whole)
    double_nets(parts)
    for seed in range(3):
        batch = double_batch(random_batch(size=3, seed=seed))
        step(whole, batch)
        edges = [0, sizes[0], sum(sizes[:2]), 3]
        pieces = [(a, b) for a, b in zip(edges, edges[1:], strict=False) if a < b]
        parts.train_on([{k: v[a:b] for k, v in batch.items()} for a, b in pieces])
        losses = whole.get_current_losses()
        assert parts.get_current_losses() == pytest.approx(losses, rel=1e-6)
    for net, wanted in zip(parts.nets.values(), whole.nets.values(), strict=True):
        for (key, ours), theirs in zip(net.named_parameters(), wanted.parameters(), strict=True):
            if ours.dim() > 1:  # biases in front of instance norm follow rounding errors
                torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8, msg=key)


def test_a_model_without_updates_says_so_before_training(make, tmp_path):
    model = make("--grad_accum", "2")
    model.updates = {}
    refusal(lambda: resume(model, model.opt), "--grad_accum", "pix2pix", "updates")


def test_accumulated_batches_query_the_pool_and_their_losses_are_whole(make):
    model = make("--pool_size", "5", "--grad_accum", "2")
    model.set_input(random_batch())
    model.loss_weight = 0.25
    model.train_on([random_batch(seed=seed) for seed in range(2)])
    assert len(model.pools["fake_AB_pool"].images) == 2 and model.loss_weight == 1.0
