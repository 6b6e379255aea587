"""Large images in tiles."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs, near, refusal, result_images
from torch import Tensor, nn

from models.batch_norm import use_per_image_batch_norm
from models.image_noise import per_image_dropout
from models.layers import InstanceNorm
from models.networks import GENERATORS, Generator, ResnetGenerator, define_G
from models.tiling import Tiles, receptive_diameter
from util.util import tensor2im

TEST = ["--gpu_ids", "-1", "--num_threads", "0"]


def network(
    netG: str, norm: str, *, eval_: bool = False, dropout: bool = False, **more
) -> Generator:
    """Build a generator as at test time, its running statistics drawn."""
    torch.manual_seed(0)
    net = define_G(3, 3, 4, netG, norm, dropout, init_gain=0.3, **more)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    use_per_image_batch_norm(net)
    return net.train(not eval_)


def image(height: int, width: int) -> Tensor:
    """Draw an image, (1, 3, H, W) in [-1, 1]."""
    pixels = np.array(draw((width, height), 3))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


def both(net: Generator, x: Tensor, tile: int, overlap: int | None = None) -> tuple[Tensor, Tensor]:
    """Return the whole image's translation and that in tiles."""
    with torch.no_grad():
        whole = net(x)
        net.model = Tiles(net, tile, overlap)
        return whole, net(x)


# The receptive field --------------------------------------------------------------------


def small(netG: str, upsample: str) -> Generator:
    """Build a generator of positive weights without norms, so that no dependence cancels out."""
    build = GENERATORS.get(netG) or (lambda *a, **k: ResnetGenerator(*a, n_blocks=1, **k))
    net = build(1, 1, ngf=1, norm_layer=lambda nc: nn.Identity(), upsample=upsample).double()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.05 if parameter.dim() > 1 else 0.1)
    net.model[-1] = nn.Identity()  # tanh would be flat
    return net


@pytest.mark.parametrize(
    ("netG", "diameter"), [("resnet_1", 40), ("resnet_6blocks", 120), ("resnet_9blocks", 168)]
)
def test_the_receptive_diameter_is_what_gradients_reach(netG, diameter):
    net = small(netG, "transpose")
    assert receptive_diameter(net) == diameter
    middle, reached = 2 * (diameter // 2 + 20), []
    for at in range(middle, middle + 4):  # every place within a stride
        x = torch.rand(1, 1, 8, 2 * middle + 8, dtype=torch.double, requires_grad=True)
        net.model(x)[0, 0, 4, at].backward()
        columns = x.grad[0, 0].abs().sum(0).nonzero()[:, 0]
        reached += [at - int(columns[0]), int(columns[-1]) - at]
    assert max(reached) == diameter // 2


def test_an_upsampling_by_resizing_reaches_no_further_than_said():
    net = small("resnet_1", "resize")
    radius = receptive_diameter(net) // 2
    for at in range(100, 104):
        x = torch.rand(1, 1, 8, 208, dtype=torch.double, requires_grad=True)
        net.model(x)[0, 0, 4, at].backward()
        columns = x.grad[0, 0].abs().sum(0).nonzero()[:, 0]
        assert radius - 6 <= max(at - int(columns[0]), int(columns[-1]) - at) <= radius


# The whole image's result ---------------------------------------------------------------


@pytest.mark.parametrize("size", [(400, 330), (391, 129), (200, 453)])
@pytest.mark.parametrize(
    ("norm", "eval_", "upsample"),
    [("none", False, "transpose"), ("batch", True, "transpose"), ("batch", True, "resize")],
)
def test_tiles_of_a_resnet_are_the_whole_image(norm, eval_, upsample, size):
    net = network("resnet_6blocks", norm, eval_=eval_, upsample=upsample)
    whole, tiled = both(net, image(*size), 200)
    assert net.model.exact() and 0 <= net.model.overlap - net.model.diameter < 4
    assert whole.shape == tiled.shape == (1, 3, *size) and whole.std() > 0.1
    assert (whole - tiled).abs().max() < 1e-4
    assert near({"": tensor2im(whole)}, {"": tensor2im(tiled)})


def test_a_smaller_overlap_is_not_the_whole_image_and_is_blended():
    net = network("resnet_6blocks", "none")
    whole, tiled = both(net, image(300, 300), 200, overlap=16)
    assert not net.model.exact() and (whole - tiled).abs().max() > 0.01


@pytest.mark.parametrize(
    ("netG", "norm", "dropout", "exact"),
    [
        ("resnet_6blocks", "instance", False, False),
        ("resnet_6blocks", "batch", False, False),
        ("resnet_6blocks", "none", True, False),
        ("resnet_6blocks", "none", False, True),
        ("unet_64", "none", False, False),
    ],
)
def test_what_looks_at_the_whole_image_is_not_called_exact(netG, norm, dropout, exact):
    net = network(netG, norm, dropout=dropout)
    assert Tiles(net, 256).exact() == exact


class Numbered(nn.Module):
    """Layers whose output is the number of the call."""

    def __init__(self, *more: nn.Module):
        super().__init__()
        self.more, self.calls = nn.ModuleList(more), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.full_like(x, self.calls - 1)


def test_blended_tiles_pass_into_each_other_and_exact_ones_meet_in_the_middle():
    net = network("resnet_6blocks", "none")
    for live, widest in (([InstanceNorm(3)], 2.01 / 121), ([], 1)):
        net.model = Numbered(*live)
        y = Tiles(net, 240, 120)(torch.zeros(1, 3, 8, 480))[0, 0, 0]  # tiles at 0, 120, 240
        assert y[0] == 0 and y[-1] == 2 and abs(y[240] - 1) < 0.02
        step = (y[1:] - y[:-1]).max()
        assert 0 < step <= widest
    assert y.unique().tolist() == [0, 1, 2] and (y == 1).nonzero()[[0, -1], 0].tolist() == [
        180,
        299,
    ]


# How tiles lie ------------------------------------------------------------------------------


class Watched(nn.Module):
    """Layers that return what they are given, and keep its places and sizes."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append((int(x[0, 0, 0, 0]), int(x[0, 1, 0, 0]), *x.shape[-2:]))
        return x


@pytest.mark.parametrize("size", [(128, 64), (129, 700), (511, 513), (64, 64), (640, 320)])
@pytest.mark.parametrize(
    ("tile", "overlap"), [(128, 64), (192, 64), (256, 192), (100, 0), (128, None)]
)
def test_tiles_start_on_the_stride_and_cover_every_pixel_once(size, tile, overlap):
    net = network("unet_64", "none")
    net.model = watched = Watched()
    net.model = tiles = Tiles(net, tile, overlap)
    height, width = (-(-n // 64) * 64 for n in size)  # what the generator pads to
    x = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    result = tiles(x[None].float())
    assert torch.allclose(result, x[None].float(), atol=1e-3)
    assert all(top % 64 == left % 64 == 0 for top, left, *_ in watched.seen)
    assert all(max(shape) <= tiles.tile for *_, shape in [(s[2:],) for s in watched.seen])
    assert tiles.tile % 64 == 0 and tiles.tile - tile < 64
    assert net(torch.zeros(1, 3, *size)).shape[-2:] == size


def test_a_image_no_larger_than_a_tile_is_translated_at_once():
    net = network("unet_64", "batch")
    whole, tiled = both(net, image(120, 100), 128)
    assert torch.equal(whole, tiled)


def test_noise_in_tiles_comes_from_the_images_seed():
    net = network("unet_64", "batch", dropout=True)
    net.model = Tiles(net, 128)
    x = image(100, 300).repeat(2, 1, 1, 1)
    with torch.no_grad():
        found = []
        for seeds in ([5], [5], [6]):
            with per_image_dropout(seeds):
                found.append(net(x[:1]))
        with per_image_dropout([6, 5]):
            together = net(x)
    assert torch.equal(found[0], found[1]) and (found[0] - found[2]).abs().max() > 0.01
    assert (together[1] - found[0][0]).abs().max() < 1e-4


def test_sizes_that_do_not_get_on_are_refused():
    unet, resnet = network("unet_64", "batch"), network("resnet_6blocks", "none")
    refusal(lambda: Tiles(unet, 64), "--tile 64", "multiples of 64", "--tile 128", "--overlap 0")
    assert Tiles(unet, 64, 0).step == 64
    refusal(
        lambda: Tiles(unet, 128, 100),
        "--overlap 100",
        "--tile 128",
        "multiples of 64",
        "--tile 192",
    )
    refusal(lambda: Tiles(resnet, 100, 100), "--overlap 100", "--tile 104")
    assert Tiles(resnet, 100).overlap == 48 and Tiles(resnet, 121).overlap == 120


# test.py ------------------------------------------------------------------------------------


@pytest.fixture
def resnet(command: Callable, pairs) -> Callable:
    """A run `r` of a ResNet with batch norm on images of 300×96."""
    draw_pairs(pairs, size=(300, 96))
    net = ["--netG", "resnet_6blocks", "--init_gain", "0.3"]
    flags = ["--dataroot", pairs, "--name", "r", "--preprocess", "none", *net]
    assert command("train", *TINY, *flags).status == 0
    return command


@pytest.mark.parametrize("more", [[], ["--model", "cycle_gan"]], ids=["pix2pix", "cycle_gan"])
def test_test_py_in_tiles_gives_the_same_images(command, pairs, more, caplog):
    draw_pairs(pairs, size=(300, 96))
    net = ["--netG", "resnet_6blocks", "--norm", "batch", "--init_gain", "0.3", *more]
    flags = ["--dataroot", pairs, "--name", "r", "--preprocess", "none", *net]
    assert command("train", *TINY, *flags).status == 0
    found = {}
    for name, tiles in (("whole", []), ("tiles", ["--tile", "160"]), ("blended", ["--tile", "96"])):
        result = command("test", "--name", "r", *TEST, "--eval", *tiles, "--results_dir", name)
        assert result.status == 0, result.err
        found[name] = result_images("r", results=name)
    # What is translated twice looks at twice the field.
    once = {
        name: {k: v for k, v in images.items() if "rec" not in k} for name, images in found.items()
    }
    assert near(once["whole"], once["tiles"]) and not near(once["whole"], once["blended"])
    said = {
        "tiles": "tiles of 160 pixels, overlapping by 120, as the whole image would be; of",
        "blended": "tiles of 96 pixels, overlapping by 48, blended where they meet; of large",
    }
    for name, words in said.items():
        assert any(words in line for line in caplog.messages)
        assert f"Translated in {words}" in Path(f"{name}/r/test_latest/index.html").read_text()


def test_tiles_that_have_nothing_to_do_are_said_and_not_noted(resnet, caplog):
    flags = ["--preprocess", "resize_and_crop", "--tile", "160"]
    assert resnet("test", "--name", "r", *TEST, *flags).status == 0
    assert "--tile 160: has no effect" in caplog.text and "--preprocess none" in caplog.text
    assert "Translated in" not in Path("results/r/test_latest/index.html").read_text()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--overlap", "8"], ["--overlap 8", "--tile"]),
        (["--tile", "0"], ["--tile", "at least 1"]),
        (["--tile", "64", "--overlap", "64"], ["--overlap 64", "--tile 68"]),
        (["--tile", "x"], ["--tile", "whole number"]),
    ],
)
def test_wrong_tiles_are_refused_before_anything_is_written(resnet, flags, words, tmp_path):
    result = resnet("test", "--name", "r", *TEST, *flags)
    assert result.status == 2 and all(word in result.err for word in words), result.err
    assert not (tmp_path / "work/results").exists()
