"""--model inpaint: its losses, the order of its step, what is pasted, and how it trains."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import refusal, step
from support.graphs import graphs_of
from support.holes import SMALL, hole_batch
from support.training_plans import double_batch, double_nets
from torch import Tensor

from models.inpaint_model import in_bytes, pasted
from options.test_options import TestOptions
from options.train_options import TrainOptions
from training.cuda_graphs import WARM_UP
from training.ema import EMA
from training.validation import mean_scores
from util.metrics import eight_bit
from util.util import tensor2im


def state(model: Any) -> dict[str, Tensor]:
    nets = model.nets.items()
    return {f"{name} {k}": v.clone() for name, net in nets for k, v in net.state_dict().items()}


def test_the_losses_are_those_of_the_paper(make) -> None:
    model = make(*SMALL, "--lambda_L1", 3)
    model.nets["D"].eval()  # whose power iterations stand still
    batch = hole_batch(size=2)
    model.set_input(batch)
    model.forward()
    real, mask = batch["A"], batch["mask"]
    stage_1, stage_2 = model.nets["G"](real, mask)
    filled = stage_2 * mask + real * (1 - mask)
    of_real, of_fake = (model.nets["D"](torch.cat([x, mask], 1)) for x in (real, filled))
    wanted = F.relu(1 - of_real).mean() / 2 + F.relu(1 + of_fake).mean() / 2
    torch.testing.assert_close(model.loss_D(), wanted)
    wanted = -of_fake.mean() + 3 * ((stage_1 - real).abs().mean() + (stage_2 - real).abs().mean())
    torch.testing.assert_close(model.loss_G(), wanted)
    assert [*model.get_current_losses()] == ["G_GAN", "G_L1_stage_1", "G_L1", "D_real", "D_fake"]


def test_d_learns_first_and_g_from_the_d_that_has_learnt(make, monkeypatch) -> None:
    model, order = make(*SMALL), []
    update = model.update

    def noted(name: str, loss: Any) -> None:
        before = state(model)
        update(name, loss)
        moved = {
            key.split()[0]
            for key, value in state(model).items()
            if not torch.equal(value, before[key]) and not key.endswith("weight_u")
        }
        order.append((name, moved))

    monkeypatch.setattr(model, "update", noted)
    step(model, hole_batch(size=2))
    assert order == [("D", {"D"}), ("G", {"G"})]
    (group,) = model.optimizers["G"].param_groups
    assert (float(group["lr"]), group["betas"]) == (1e-4, (0.5, 0.999))
    assert model.opt.batch_size == 16


def test_every_weight_learns(make) -> None:
    model = make(*SMALL, "--guided")
    before = state(model)
    for seed in range(2):
        step(model, hole_batch(seed, size=2, guided=True))
    same = [key for key, value in state(model).items() if torch.equal(value, before[key])]
    assert same == []


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1)])
def test_accumulated_batches_train_as_one_batch(make, sizes) -> None:
    whole, parts = make(*SMALL), make(*SMALL, "--grad_accum", 3)
    for model in (whole, parts):
        double_nets(model)
        model.nets["D"].eval()  # power iterations are one a batch
    for seed in range(2):
        batch = double_batch(hole_batch(size=3, seed=seed))
        whole.train_on([batch])
        edges = [0, sizes[0], sum(sizes[:2]), 3]
        pieces = [(a, b) for a, b in zip(edges, edges[1:], strict=False) if a < b]
        parts.train_on([{k: v[a:b] for k, v in batch.items()} for a, b in pieces])
        losses = whole.get_current_losses()
        assert parts.get_current_losses() == pytest.approx(losses, rel=1e-6)


def test_replayed_steps_train_as_steps_that_are_run(make) -> None:
    plain, graphed = make(*SMALL), make(*SMALL)
    stand_in = graphs_of(graphed)
    for seed in range(WARM_UP + 4):
        for model in (plain, graphed):
            step(model, hole_batch(seed))
            if seed == WARM_UP + 2:
                model.last_scores = mean_scores(model, [hole_batch(50)])
        if seed != WARM_UP + 2:
            assert graphed.get_current_losses() == plain.get_current_losses(), seed
    assert graphed.last_scores == plain.last_scores
    assert stand_in.replays == 3
    for key, value in state(plain).items():
        assert torch.equal(state(graphed)[key], value), key


def test_bf16_trains_with_weights_and_images_of_float32(make) -> None:
    plain, model = make(*SMALL), make(*SMALL, "--precision", "bf16")
    for one in (plain, model):
        step(one, hole_batch(size=2))
    assert {value.dtype for value in state(model).values()} == {torch.float32}
    assert {x.dtype for x in (model.stage_1, model.stage_2, model.fake_B)} == {torch.float32}
    losses, wanted = model.get_current_losses(), plain.get_current_losses()
    assert losses == pytest.approx(wanted, abs=0.03)
    assert losses != wanted


def test_an_ema_follows_g(make) -> None:
    model = make(*SMALL, "--lr", "0.01")
    ema = EMA(model.nets, decay=0.5)
    for seed in range(3):
        step(model, hole_batch(seed, size=2))
        ema.update()
    assert [*ema.nets] == ["G"]
    live = mean_scores(model, [hole_batch(7)])
    with ema.applied():
        averaged = mean_scores(model, [hole_batch(7)])
    assert averaged["L1"] != live["L1"] == mean_scores(model, [hole_batch(7)])["L1"]


@pytest.mark.parametrize("guided", [False, True])
def test_the_shown_images_keep_the_bytes_around_the_hole(make, guided: bool) -> None:
    model = make(*SMALL, *(["--guided"] if guided else []))
    batch = hole_batch(size=2, guided=guided)
    batch["A"][0, :, 6:9, 8:12] = 1  # white, as a hole is shown
    batch["A"][0, :, 9:12, 8:12] = -1  # black, as lines are shown
    assert batch["mask"][0, :, 6:12, 8].all()
    model.set_input(batch)
    model.test()
    shown = model.get_current_visuals()
    assert [*shown] == ["real_A", "stage_1", "fake_B", "real_B"]
    assert {image.dtype for image in shown.values()} == {torch.uint8}
    bytes_ = ((batch["A"] + 1) * 127.5).round().to(torch.uint8)
    hole = batch["mask"].bool().expand_as(bytes_)
    assert torch.equal(shown["real_B"], bytes_)
    assert torch.equal(shown["fake_B"][~hole], bytes_[~hole])
    assert torch.equal(shown["real_A"][~hole], bytes_[~hole])
    lines = (batch["sketch"].bool() if guided else torch.zeros(1).bool()).expand_as(bytes_)
    assert (shown["real_A"][hole & lines] <= 1).all()
    assert (shown["real_A"][hole & ~lines] >= 254).all()
    differ = (shown["real_A"] != shown["real_B"]).any(1, keepdim=True)
    assert torch.equal(differ, batch["mask"].bool())
    assert not torch.equal(shown["fake_B"][hole], bytes_[hole])
    assert np.array_equal(tensor2im(shown["stage_1"][1]), tensor2im(model.stage_1[1]))
    assert np.array_equal(
        tensor2im(shown["fake_B"])[hole[0].permute(1, 2, 0).numpy()],
        tensor2im(model.stage_2)[hole[0].permute(1, 2, 0).numpy()],
    )


def test_every_byte_comes_back() -> None:
    image = (torch.arange(256).view(1, 1, 16, 16) / 127.5 - 1).expand(1, 3, 16, 16)
    found = in_bytes(torch.full_like(image, -1), image, torch.zeros(1, 1, 16, 16))
    assert found[0, 0].flatten().tolist() == list(range(256))


@pytest.mark.parametrize("guided", [False, True])
def test_one_tensor_of_image_mask_and_sketch_is_translated(make, guided: bool) -> None:
    model = make(*SMALL, *(["--guided"] if guided else []))
    batch = hole_batch(size=2, guided=guided)
    model.set_input(batch)
    model.test()
    parts = [batch[name] for name in ("A", "mask", "sketch") if name in batch]
    real = torch.cat(parts, 1)
    with model.test_mode(["a", "b"]):
        fake = model.translate(real)
    assert torch.equal(fake, model.fake_B)
    shown = model.to_image(real, fake)
    assert torch.equal(shown, model.get_current_visuals()["fake_B"])


def test_scores_compare_the_filled_image_with_the_whole_one(make) -> None:
    model, batch = make(*SMALL), hole_batch()
    scores = mean_scores(model, [batch])
    fake, real = model.metric_pair()
    assert torch.equal(real, ((batch["A"] + 1) * 127.5).round().byte())  # the bytes of the file
    filled = pasted(model.stage_2, batch["A"], model.mask)
    assert torch.equal(fake, torch.where(model.mask > 0, eight_bit(filled), real))
    assert 0 < scores["L1"] < 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--netG", "unet_64"], ["--netG unet_64", "inpaint alone"]),
        (["--netD", "basic"], ["--netD basic", "sn_patch alone"]),
        (["--direction", "BtoA"], ["--direction BtoA", "does nothing"]),
        (["--gan_mode", "wgangp"], ["--gan_mode wgangp", "hinge"]),
        (["--cnum", "6"], ["--cnum 6", "multiple of 4"]),
    ],
)
def test_flags_that_do_not_fit_are_refused(make, flags, words) -> None:
    refusal(lambda: make(*SMALL, *flags), *words)


@pytest.mark.parametrize("mode", ["aligned", "unaligned", "single", "colorization", "labels"])
def test_data_without_masks_are_refused_before_they_are_read(mode: str) -> None:
    flags = [*SMALL, "--dataroot", "missing", "--dataset_mode", mode]
    words = f"--dataset_mode {mode}: has no masks", "needs --dataset_mode inpaint"
    refusal(lambda: TrainOptions().read(flags), *words)


def test_a_saved_run_gives_the_images_of_the_training(make) -> None:
    model, batch = make(*SMALL, "--attention", "none"), hole_batch(size=2)
    step(model, batch)
    model.save_networks("latest")
    model.set_input(batch)
    model.test()
    again = make(options=TestOptions)
    assert again.opt.attention == "none" and again.opt.cnum == 4
    again.set_input(batch)
    again.test()
    torch.testing.assert_close(again.fake_B, model.fake_B, rtol=0, atol=1e-5)
