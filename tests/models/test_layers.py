"""Norms, up-convolution, noise of each image, frozen weights."""

import copy
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.batch_norm import SyncBatchNorm, use_per_image_batch_norm, use_sync_batch_norm
from models.image_noise import Dropout, per_image_dropout
from models.layers import InstanceNorm, frozen_but, reflect_index
from models.resize_conv import ResizeConv2d
from models.test_time import preserved_statistics

LAYOUTS = (torch.contiguous_format, torch.channels_last)

# Norms -----------------------------------------------------------------------------------


# A CPU's small channels_last maps are normed in a way of their own.
SIZES = [(9, 7), (32, 32)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("gradient_layout", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_has_the_right_value_and_gradient_in_every_layout(
    layout, gradient_layout, batch, size
):
    x, gradient = torch.randn(2, batch, 6, *size)
    exact = x.double().requires_grad_(True)
    value = F.instance_norm(exact)
    value.backward(gradient.double())

    ours = x.to(memory_format=layout).requires_grad_(True)
    y = InstanceNorm(6)(ours)
    y.backward(gradient.to(memory_format=gradient_layout))
    torch.testing.assert_close(y.double(), value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.grad.double(), exact.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (1, 1), (5, 0.01), (1, 0.001)])
@pytest.mark.parametrize("size", [(9, 7), (32, 32), (60, 50)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nearly_flat_maps_far_from_0_are_normed_rightly(layout, size, mean, deviation):
    torch.manual_seed(0)
    x = torch.randn(2, 6, *size) * deviation + mean
    y = InstanceNorm(6)(x.to(memory_format=layout))
    wanted = F.instance_norm(x.double())
    assert (y.double() - wanted).abs().max() < 3e-4
    assert y.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_image_norm_of_a_batch_is_batch_norm_of_each_image(layout, size):
    norm = nn.BatchNorm2d(5)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(3, 5, *size) * 3 + 1
    each = torch.cat([norm(image[None]) for image in x])
    running = norm.running_mean.clone()
    net = nn.Sequential(norm)
    use_per_image_batch_norm(net)
    y = net(x.to(memory_format=layout))
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(y, each)
    assert torch.equal(norm.running_mean, running)


def test_instance_norm_has_no_state():
    norm = InstanceNorm(8)
    assert not norm.state_dict() and not list(norm.parameters())


def test_sync_batch_norm_takes_the_place_of_batch_norm_with_its_weights():
    net = nn.Sequential(nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5), nn.Sequential(nn.BatchNorm2d(5)))
    nn.init.normal_(net[1].weight)
    net[2].eval()
    wanted, parameters = copy.deepcopy(net.state_dict()), [id(p) for p in net.parameters()]
    use_sync_batch_norm(net)
    assert type(net[1]) is type(net[2][0]) is SyncBatchNorm
    assert net[1].training and not net[2][0].training
    torch.testing.assert_close(net.state_dict(), wanted)
    assert [id(p) for p in net.parameters()] == parameters  # which optimizers hold


def test_sync_batch_norm_is_batch_norm_in_a_validation():
    plain, sync = nn.BatchNorm2d(5), SyncBatchNorm(5)
    nn.init.normal_(plain.weight)
    sync.load_state_dict(plain.state_dict())
    with torch.inference_mode():
        x = torch.randn(2, 5, 4, 4) * 3 + 1
        torch.testing.assert_close(sync(x), plain(x))
    torch.testing.assert_close(sync.state_dict(), plain.state_dict())


# Dropout ---------------------------------------------------------------------------------


def drop(seeds: list[int], x: torch.Tensor | None = None) -> torch.Tensor:
    x = torch.ones(len(seeds), 2, 8, 8) if x is None else x
    with per_image_dropout(seeds):
        return Dropout(0.5)(x)


def test_noise_of_a_image_depends_on_its_seed_alone():
    one, two, three = (drop([seed]) for seed in (1, 2, 3))
    assert torch.equal(drop([1, 2, 3]), torch.cat([one, two, three]))
    assert torch.equal(drop([3, 1]), torch.cat([three, one]))
    torch.manual_seed(99)
    assert torch.equal(drop([2]), two)
    assert not torch.equal(one, two)


def test_layers_of_one_image_draw_different_noise():
    x = torch.ones(1, 2, 8, 8)
    with per_image_dropout([1]):
        assert not torch.equal(Dropout(0.5)(x), Dropout(0.5)(x))


def test_image_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    drop([1, 2])
    assert torch.equal(torch.get_rng_state(), before)
    Dropout(0.5)(torch.ones(8))
    assert not torch.equal(torch.get_rng_state(), before)


def test_dropout_keeps_the_mean():
    with per_image_dropout([7]):
        y = Dropout(0.2)(torch.ones(1, 8, 64, 64))
    assert set(y.unique().tolist()) == {0.0, 1.25}
    assert y.mean().item() == pytest.approx(1, abs=0.02)


def test_noise_scales_the_gradient_like_the_image():
    x = torch.ones(1, 2, 8, 8, requires_grad=True)
    y = drop([4], x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_dropout_is_inert_in_eval():
    x = torch.randn(2, 3, 4, 4)
    with per_image_dropout([1, 2]):
        assert torch.equal(Dropout(0.5).eval()(x), x)


def test_wrong_number_of_seeds_is_an_error():
    with pytest.raises(ValueError, match="2 .* 3 images"):
        drop([1, 2], torch.ones(3, 1, 2, 2))


def test_without_seeds_dropout_is_that_of_torch():
    x = torch.ones(2, 3, 8, 8)
    torch.manual_seed(5)
    plain = nn.Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout(0.5)(x), plain)


def test_nested_noise_ends_with_its_block():
    x = torch.ones(1, 2, 8, 8)
    with per_image_dropout([1]):
        with pytest.raises(KeyError), per_image_dropout([2]):
            assert torch.equal(Dropout(0.5)(x), drop([2]))
            raise KeyError
        assert torch.equal(Dropout(0.5)(x), drop([1]))
        with per_image_dropout(None):
            torch.manual_seed(5)
            unseeded = Dropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(unseeded, Dropout(0.5)(x))


def test_another_thread_has_its_own_noise():
    inside, leave, results = threading.Event(), threading.Event(), {}

    def other() -> None:
        with per_image_dropout([2, 3]):
            inside.set()
            leave.wait(10)
            results["other"] = Dropout(0.5)(torch.ones(2, 2, 8, 8))

    with per_image_dropout([1]):
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10)
        results["this"] = Dropout(0.5)(torch.ones(1, 2, 8, 8))
        leave.set()
        thread.join()
    assert torch.equal(results["this"], drop([1]))
    assert torch.equal(results["other"], drop([2, 3]))


# Contexts --------------------------------------------------------------------------------


def test_only_what_an_optimizer_trains_collects_gradients():
    one, two, three = (nn.Linear(2, 2) for _ in range(3))
    one.bias.requires_grad_(False)
    optimizer = torch.optim.Adam(three.parameters())
    x = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(KeyError), frozen_but(optimizer, [one, two, three]):
        three(two(one(x))).sum().backward()
        raise KeyError
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None for net in (one, two) for p in net.parameters())
    assert all(p.grad is not None for p in three.parameters())
    assert [p.requires_grad for p in one.parameters()] == [True, False]
    assert all(p.requires_grad for p in two.parameters())


def test_preserved_statistics_undoes_what_forward_passes_left():
    nets = [nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3)) for _ in range(2)]
    x = torch.randn(2, 1, 4, 4) + 5
    nets[0](x)
    before = [{k: v.clone() for k, v in net.state_dict().items()} for net in nets]
    with pytest.raises(KeyError), preserved_statistics(iter(nets)):
        for net in nets:
            net(x)
            assert net[1].num_batches_tracked > 0
        raise KeyError
    for net, old in zip(nets, before, strict=True):
        torch.testing.assert_close(net.state_dict(), old, rtol=0, atol=0)


# Sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (4, 7), (1, 300), (17, 16)])
def test_resize_convolution_doubles_each_pixel_and_convolves(size, layout, bias):
    layer = ResizeConv2d(3, 5, bias=bias).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=layout)
    found, wanted = [], []
    for make, results in (
        (layer, found),
        (lambda x: F.conv2d(doubled(x), layer.weight, layer.bias, padding=1), wanted),
    ):
        leaf = x.clone().requires_grad_()
        y = make(leaf)
        assert y.shape == (2, 5, 2 * size[0], 2 * size[1])
        results += [y, *torch.autograd.grad(y.square().sum(), [leaf, *layer.parameters()])]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def doubled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


@pytest.mark.parametrize(("size", "target"), [(1, 8), (2, 9), (3, 64), (50, 64), (7, 7)])
def test_reflect_index_is_repeated_reflection_about_the_edge_pixels(size, target):
    before = (target - size) // 2
    expected = np.pad(np.arange(size), (before, target - size - before), mode="reflect")
    assert reflect_index(size, target, torch.device("cpu")).tolist() == expected.tolist()
