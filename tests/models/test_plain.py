"""The benchmark's yardstick computes what our models compute."""

from typing import Any

import pytest
import torch
from conftest import TINY

from models import create_model
from models.label_windows import LabelMap
from options.train_options import TrainOptions
from scripts.dev import plain_cyclegan, plain_pix2pix, plain_spade
from util.label_maps import instance_edges


def make(tmp_path: Any, model: str, *flags: str) -> Any:
    place = ["--name", "r", "--checkpoints_dir", str(tmp_path), "--model", model]
    place += ["--dataroot", "pairs"]
    made = create_model(TrainOptions().read([*TINY, *place, *flags]))
    made.setup(made.opt)
    return made


def give(ours: torch.nn.Module, plain: torch.nn.Module) -> None:
    """Put our weights into a plain network, whose tensors come in the same order."""
    mine, theirs = plain.state_dict(), list(ours.state_dict().values())
    plain.load_state_dict(dict(zip(mine, theirs, strict=True)))


def images(seed: int, count: int) -> dict[str, Any]:
    sides = torch.rand(2, count, 3, 64, 64, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    paths = [str(i) for i in range(count)]
    return {"A": sides[0], "B": sides[1], "A_paths": paths, "B_paths": paths}


@pytest.mark.parametrize("batch", [1, 3])
def test_plain_pix2pix_has_the_losses_of_ours(tmp_path, batch):
    ours = make(tmp_path, "pix2pix", "--no_dropout", "--netG", "unet_64", "--batch_size", batch)
    plain = plain_pix2pix.Pix2Pix(
        plain_pix2pix.unet(6, ours.opt.ngf), plain_pix2pix.patchgan(6, ours.opt.ndf)
    )
    for module in plain.G.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    give(ours.netG, plain.G)
    give(ours.netD, plain.D)
    compare(ours, plain, batch)


def test_plain_cyclegan_has_the_losses_of_ours(tmp_path):
    flags = ["--netG", "resnet_6blocks", "--pool_size", "0", "--norm", "instance"]
    ours = make(tmp_path, "cycle_gan", *flags)
    opt = ours.opt
    nets = [plain_cyclegan.resnet(6, opt.ngf) for _ in "AB"]
    nets += [plain_cyclegan.discriminator(opt.ndf) for _ in "AB"]
    for name, net in zip(("G_A", "G_B", "D_A", "D_B"), nets, strict=True):
        give(ours.nets[name], net)
    # In float64: the biases in front of instance norm follow rounding errors.
    for net in (*ours.nets.values(), *nets):
        net.double()
    compare(ours, plain_cyclegan.CycleGAN(*nets), 1, torch.float64)


@pytest.mark.parametrize("batch", [1, 3])
def test_plain_spade_has_the_losses_of_ours(tmp_path, batch):
    flags = ["--dataset_mode", "labels", "--label_nc", "20", "--no_vgg_loss", "--netG", "spade"]
    flags += ["--norm_D", "spectralinstance", "--n_layers_D", "4", "--netD", "multiscale"]
    ours = make(tmp_path, "spade", *flags, "--batch_size", batch)
    opt = ours.opt
    G, D = plain_spade.Generator(21, opt.ngf), plain_spade.Discriminator(24, opt.ndf)
    give(ours.nets["G"], G)
    give(ours.nets["D"], D)
    for net in (*ours.nets.values(), G, D):  # in float64, as the CycleGANs
        net.double()
    plain = plain_spade.SPADE(G, D, 20)
    for seed in range(5):
        torch.manual_seed(seed)
        small = torch.randint(0, 20, (batch, 1, 4, 4))
        label = small.repeat_interleave(16, 2).repeat_interleave(16, 3)
        image = torch.rand(batch, 3, 64, 64, dtype=torch.float64) * 2 - 1
        edges = instance_edges(label).double()
        ours.set_input({"label": label, "edges": edges, "image": image, "label_paths": ["none"]})
        ours.optimize_parameters()
        wanted = {k: value.item() for k, value in plain.step(label, edges, image).items()}
        assert isinstance(ours.semantics, LabelMap)  # of distinct windows, not one-hot
        assert ours.get_current_losses() == pytest.approx(wanted, rel=1e-6)


def compare(ours: Any, plain: Any, batch: int, dtype: torch.dtype = torch.float32) -> None:
    for step in range(10):
        item = images(step, batch)
        item |= {side: item[side].to(dtype) for side in "AB"}
        ours.set_input(item)
        ours.optimize_parameters()
        expected = {name: value.item() for name, value in plain.step(item["A"], item["B"]).items()}
        for name, value in ours.get_current_losses().items():
            assert value == pytest.approx(expected[name], rel=0.002, abs=0.002), (step, name)
