"""SPADE and pix2pixHD: inputs of any size, steps, styles, features of instances, refusals."""

from typing import Any

import pytest
import torch
from conftest import refusal, step
from support.graphs import graphs_of
from support.label_batches import label_batch
from support.training_plans import double_batch, double_nets
from torch import Tensor, nn

from models import weights
from models.instance_features import FeatureBank, averaged
from models.pix2pixHD_networks import GlobalGenerator, LocalEnhancer
from models.semantic import FromLabels, one_hot
from models.spade_networks import SPADEGenerator
from options.test_options import TestOptions
from training.cuda_graphs import WARM_UP
from training.ema import EMA, estimate_statistics
from training.validation import mean_scores

SPADE = ["--model", "spade", "--netG", "spade", "--label_nc", 4, "--no_vgg_loss"]
HD = ["--model", "pix2pixHD", "--netG", "global", "--label_nc", 4, "--no_vgg_loss"]
HD += ["--n_downsample_global", 2, "--n_blocks_global", 1]
# Without what differs between one batch and its parts: batch norm and power iterations.
PER_IMAGE = ["--norm_G", "spadeinstance3x3", "--norm_D", "instance"]


class Mean(nn.Module):
    """A generator that remembers what it has seen, and gives its first channels."""

    stride = 16

    def forward(self, semantics: Tensor) -> Tensor:
        self.seen = semantics
        return semantics[:, :3]


@pytest.mark.parametrize(("height", "width"), [(16, 32), (17, 40), (5, 3)])
def test_label_maps_of_any_size_are_padded_by_the_nearest_label(height: int, width: int) -> None:
    labels = torch.randint(0, 5, (2, 1, height, width)).float()
    labels = torch.cat([labels, (labels > 2).float()], 1)
    net = Mean()
    image = FromLabels(net, 5)(labels)
    torch.testing.assert_close(image, one_hot(labels, 5)[:, :3])
    assert net.seen.shape[1:] == (6, -(-height // 16) * 16, -(-width // 16) * 16)
    assert bool((net.seen[:, :5].sum(1) == 1).all())  # each padded pixel has a class
    torch.testing.assert_close(net.seen[:, :5, 0, 0], one_hot(labels, 5)[:, :5, 0, 0])


@pytest.mark.parametrize(
    "net",
    [
        GlobalGenerator(4, ngf=2, n_downs=2, n_blocks=1),
        LocalEnhancer(4, ngf=2, n_downs=1, n_blocks=1),
        SPADEGenerator(4, ngf=1),
        SPADEGenerator(4, ngf=1, norm="instance"),
    ],
)
def test_one_pixel_is_enough(net) -> None:
    with torch.no_grad():
        for size in ((1, 1), (2, 3), (1, 40)):
            assert FromLabels(net.eval(), 4)(torch.zeros(1, 1, *size)).shape[2:] == size


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 1)])
@pytest.mark.parametrize("flags", [[*SPADE, *PER_IMAGE], HD], ids=["spade", "pix2pixHD"])
def test_accumulated_batches_train_as_one_batch(make, flags, sizes) -> None:
    whole, parts = make(*flags), make(*flags, "--grad_accum", 3)
    double_nets(whole)
    double_nets(parts)
    for seed in range(2):
        batch = double_batch(label_batch(size=3, seed=seed))
        whole.train_on([batch])
        edges = [0, sizes[0], sum(sizes[:2]), 3]
        pieces = [(a, b) for a, b in zip(edges, edges[1:], strict=False) if a < b]
        parts.train_on([{k: v[a:b] for k, v in batch.items()} for a, b in pieces])
        losses = whole.get_current_losses()
        assert parts.get_current_losses() == pytest.approx(losses, rel=1e-6)


@pytest.mark.parametrize("flags", [SPADE, HD], ids=["spade", "pix2pixHD"])
def test_replayed_steps_train_as_steps_that_are_run(make, flags, monkeypatch) -> None:
    monkeypatch.setattr("models.semantic.semantic_map", one_hot)  # as on CUDA
    plain, graphed = make(*flags), make(*flags)
    stand_in = graphs_of(graphed)
    for seed in range(WARM_UP + 4):
        for model in (plain, graphed):
            step(model, label_batch(seed))
            if seed == WARM_UP + 2:
                model.last_scores = mean_scores(model, [label_batch(50)])
                model.update_learning_rate()
        if seed != WARM_UP + 2:
            assert graphed.get_current_losses() == plain.get_current_losses(), seed
    assert graphed.last_scores == plain.last_scores
    assert stand_in.replays == 3
    for net, wanted in zip(graphed.nets.values(), plain.nets.values(), strict=True):
        for key, value in wanted.state_dict().items():
            assert torch.equal(net.state_dict()[key], value), key


def test_the_kl_divergence_is_a_sum_over_the_images_of_a_step(make) -> None:
    model = make(*SPADE, "--use_vae", "--z_dim", 2)
    mean, log_variance = torch.rand(4, 2), torch.rand(4, 2)
    normal = torch.distributions.Normal
    of = normal(mean, (0.5 * log_variance).exp())
    wanted = torch.distributions.kl_divergence(of, normal(0, 1)).sum()
    model.images_in_step = 4
    parts = []
    for part in (slice(0, 3), slice(3, 4)):
        model.mean, model.log_variance = mean[part], log_variance[part]
        parts.append(model.kl_divergence() * (part.stop - part.start) / 4)
    torch.testing.assert_close(sum(parts), wanted)


def test_the_style_of_an_image_is_drawn_by_its_name_at_test_time(make) -> None:
    model = step(make(*SPADE, "--use_vae"), label_batch())
    batch = label_batch(size=2)
    batch["label"] = batch["label"][:1].expand(2, -1, -1, -1)
    batch["edges"] = batch["edges"][:1].expand(2, -1, -1, -1)
    model.set_input(batch)
    model.test()
    first = model.fake_B.clone()
    assert (first[0] - first[1]).abs().max() > 1e-4
    model.test()
    assert torch.equal(model.fake_B, first)
    model.set_input({k: v[1:] for k, v in batch.items()})
    model.test()
    torch.testing.assert_close(model.fake_B, first[1:], rtol=0, atol=1e-5)


def test_validations_use_running_statistics_and_change_nothing(make) -> None:
    model = step(make(*SPADE), label_batch())
    before = {key: value.clone() for key, value in model.nets["G"].state_dict().items()}
    model.set_input(label_batch(1))
    model.test()
    alone = model.fake_B.clone()
    model.set_input(
        {k: torch.cat([v, v]) for k, v in label_batch(1).items() if k != "label_paths"}
        | {"label_paths": ["a", "b"]}
    )
    model.test()
    torch.testing.assert_close(model.fake_B[:1], alone, rtol=0, atol=1e-5)
    assert model.nets["G"].training
    for key, value in model.nets["G"].state_dict().items():
        assert torch.equal(value, before[key]), key


class Batches:
    """A data set of the batches that it is given."""

    def __init__(self, *batches: dict[str, Any]):
        self.batches = batches

    def some_batches(self, most: int) -> Any:
        return iter(self.batches[:most])


def test_the_statistics_of_averaged_weights_are_their_own(make) -> None:
    model = make(*SPADE)
    ema = EMA(model.nets, decay=0.5)
    for seed in range(3):
        step(model, label_batch(seed, size=2))
        ema.update()
    batches = Batches(*(label_batch(seed, size=2) for seed in range(3)))
    ema.estimate = lambda: estimate_statistics(model, batches)
    live = {key: value.clone() for key, value in model.nets["G"].state_dict().items()}
    copied = ema.nets["G"].head_0.norm_0.param_free_norm.running_var.clone()
    attributes = vars(model).copy()
    ema.refresh()
    assert all(value is attributes[key] for key, value in vars(model).items())
    for key, value in model.nets["G"].state_dict().items():
        assert torch.equal(value, live[key]), key
    norm = ema.nets["G"].head_0.norm_0.param_free_norm
    assert norm.momentum == 0.1 and int(norm.num_batches_tracked) == 3
    assert not torch.equal(norm.running_var, copied)
    found = norm.running_var.clone()
    ema.refresh()  # once a step
    assert torch.equal(norm.running_var, found)
    estimate_statistics(model, Batches())  # no image can be read
    now = model.nets["G"].state_dict()
    assert all(torch.equal(now[key], live[key]) for key in live)


def test_only_the_last_enhancer_learns_in_the_first_epochs(make) -> None:
    flags = ["--netG", "local", "--n_local_enhancers", 1, "--niter_fix_global", 2]
    model = make(*HD, *flags)
    before = {key: value.clone() for key, value in model.nets["G"].state_dict().items()}

    def learnt() -> set[bool]:
        step(model, label_batch())
        now = model.nets["G"].state_dict()
        return {key.startswith("model1_") for key in now if not torch.equal(now[key], before[key])}

    assert learnt() == {True}
    model.update_learning_rate()
    assert learnt() == {True}
    model.update_learning_rate()
    assert learnt() == {True, False}


def test_test_images_draw_the_features_of_instances_of_their_class() -> None:
    bank = FeatureBank(3, 2, size=2)
    ids = torch.tensor([[[[5, 5, 9, 9]]]])
    labels = torch.tensor([[[[0.0, 0.0, 2.0, 2.0]]]])
    for value in (1.0, 2.0, 3.0):
        bank.keep(
            torch.tensor([[[[value, value, 10 * value, 10 * value]]] * 2]).view(1, 2, 1, 4),
            labels,
            ids,
        )
    assert bank.count.tolist() == [3, 0, 3]
    torch.manual_seed(0)
    drawn = torch.cat([bank.draw(labels, ids) for _ in range(20)])
    assert {*drawn[:, 0, 0, 0].tolist()} == {2.0, 3.0} and {*drawn[:, 1, 0, 3].tolist()} == {20, 30}
    assert torch.equal(drawn[..., 0], drawn[..., 1]) and torch.equal(drawn[..., 2], drawn[..., 3])
    assert bank.draw(torch.ones_like(labels), ids).abs().max() == 0  # a class without instances


def test_rgb_inputs_take_the_place_of_labels(make) -> None:
    model = make(*HD, "--dataset_mode", "aligned", "--label_nc", 0)
    images = {side: torch.rand(1, 3, 64, 64) for side in "AB"}
    step(model, {**images, "A_paths": ["a"], "B_paths": ["b"]})
    assert model.semantics.shape[1] == 3 and torch.equal(
        model.get_current_visuals()["real_A"], images["A"]
    )
    refusal(lambda: make(*HD, "--dataset_mode", "aligned"), "--label_nc 4", "--label_nc 0")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([*SPADE, "--netG", "unet_64"], ["--netG unet_64", "spade"]),
        ([*HD, "--netG", "unet_64"], ["--netG unet_64", "global and local"]),
        ([*SPADE, "--netD", "basic"], ["--netD basic", "multiscale"]),
        ([*SPADE, "--gan_mode", "wgangp"], ["--gan_mode wgangp", "scales"]),
        ([*SPADE, "--norm_G", "spectralbatch"], ["--norm_G", "spectralspadesyncbatch3x3"]),
        ([*HD, "--instance_feat", "--no_instance"], ["--instance_feat", "--no_instance"]),
        ([*SPADE, "--num_D", 7], ["--crop_size 128"]),
        ([*SPADE[:-1], "--vgg_weights", "none.pth"], ["--vgg_weights none.pth", "--no_vgg_loss"]),
    ],
)
def test_what_does_not_fit_is_refused(make, flags, said) -> None:
    refusal(lambda: make(*flags), *said)


def test_a_single_image_that_becomes_one_pixel_is_padded_in_training(make) -> None:
    model = make(*SPADE, "--num_upsampling_layers", "more")  # 64 pixels, halved six times
    step(model, label_batch(size=1))
    assert model.fake_B.shape[2:] == model.real_B.shape[2:]
    assert all(value.isfinite() for value in model.losses.values())


def test_a_generator_alone_is_tested(make, tmp_path) -> None:
    make(*HD).save_networks("latest")
    flags = [*HD[:-5], "--n_downsample_global", 2, "--n_blocks_global", 1, "--label_nc", 4]
    assert make(*flags, options=TestOptions).nets.keys() == {"G"}


def test_an_enhancer_starts_from_the_generator_of_half_the_size(make, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    small = step(make(*HD, "--ngf", 8), label_batch())
    small.save_networks("latest")
    large = make(*HD, "--netG", "local", "--ngf", 4, "--num_D", 3)
    weights.read(large.nets, "latest", tmp_path / "run", large.opt, grown=True)
    assert "network G: what the file lacks starts from scratch: model1_1, model1_2" in caplog.text
    assert "starts from scratch: scale2_layer0" in caplog.text
    for name in "GD":
        kept = small.nets[name].state_dict()
        found = large.nets[name].state_dict()
        shared = [key for key in found if key in kept and kept[key].shape == found[key].shape]
        assert len(shared) > 10 and all(torch.equal(found[key], kept[key]) for key in shared)
    other = make(*HD, "--ngf", 6)
    read = weights.read
    refusal(lambda: read(other.nets, "latest", tmp_path / "run", other.opt, grown=True), "G.pth")


def test_means_over_many_pixels_are_not_taken_in_bf16():
    features = torch.full((2, 300, 300), 0.4, dtype=torch.bfloat16)
    means = averaged(features, torch.zeros(300, 300, dtype=torch.long))
    assert torch.allclose(means, features.float(), atol=1e-3)


def test_a_run_with_styles_is_tested_at_other_sizes(make, tmp_path) -> None:
    """The first feature map of G has the size of the training."""
    sizes = ["--preprocess", "fixed", "--aspect_ratio", 2, "--crop_size", 64]
    trained = make(*SPADE, *sizes, "--use_vae", "--z_dim", 2, "--label_nc", 3)
    trained.save_networks("latest")
    for flags in (["--preprocess", "none"], ["--preprocess", "scale_width", "--crop_size", 32]):
        tested = make("--label_nc", 3, *flags, options=TestOptions)
        assert tested.nets["G"].first_size == trained.nets["G"].first_size


@pytest.mark.parametrize("flags", [SPADE, HD])
def test_a_perceptual_loss_of_other_channels_than_colours_is_refused(make, flags) -> None:
    flags = [flag for flag in flags if flag != "--no_vgg_loss"]
    refusal(lambda: make(*flags, "--output_nc", 4), "--output_nc 4: the perceptual loss")
