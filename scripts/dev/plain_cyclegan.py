"""A direct implementation of the CycleGAN paper (arXiv:1703.10593): eager, float32.

The baseline of `python -m scripts.dev.benchmark`, not part of the framework.
"""

from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.dev.plain_pix2pix import patchgan


class Block(nn.Module):
    """x + two reflect-padded 3×3 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.layers = nn.Sequential(*half, nn.ReLU(), *again)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def resnet(blocks: int = 9, width: int = 64) -> nn.Module:
    """The generator of appendix 7.2, for RGB."""
    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
    for nc in (width, width * 2):
        down = nn.Conv2d(nc, nc * 2, 3, 2, 1)
        layers += [down, nn.InstanceNorm2d(nc * 2), nn.ReLU()]
    layers += [Block(width * 4) for _ in range(blocks)]
    for nc in (width * 4, width * 2):
        up = nn.ConvTranspose2d(nc, nc // 2, 3, 2, 1, output_padding=1)
        layers += [up, nn.InstanceNorm2d(nc // 2), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    return nn.Sequential(*layers)


def discriminator(width: int = 64) -> nn.Module:
    """The 70×70 PatchGAN with instance norm, on single images."""
    return patchgan(3, width, nn.InstanceNorm2d, bias=True)


class CycleGAN:
    """The networks, one Adam for both G and one for both D, and one training step.

    D sees only the current fakes; an image pool would cost both sides the same.
    """

    def __init__(self, G_A: nn.Module, G_B: nn.Module, D_A: nn.Module, D_B: nn.Module):
        self.G_A, self.G_B, self.D_A, self.D_B = G_A, G_B, D_A, D_B
        self.adam_G, self.adam_D = (
            torch.optim.Adam(
                chain(*(net.parameters() for net in nets)), lr=2e-4, betas=(0.5, 0.999)
            )
            for nets in ((G_A, G_B), (D_A, D_B))
        )

    def step(self, A: Tensor, B: Tensor) -> dict[str, Tensor]:
        """Train on a batch of each domain; return the losses."""
        fake_B, fake_A = self.G_A(A), self.G_B(B)
        rec_A, rec_B = self.G_B(fake_B), self.G_A(fake_A)

        self.adam_G.zero_grad()
        for net in (self.D_A, self.D_B):
            net.requires_grad_(False)
        losses = {
            "G_A": mse(self.D_A(fake_B), 1.0),
            "cycle_A": 10 * F.l1_loss(rec_A, A),
            "idt_A": 5 * F.l1_loss(self.G_A(B), B),
            "G_B": mse(self.D_B(fake_A), 1.0),
            "cycle_B": 10 * F.l1_loss(rec_B, B),
            "idt_B": 5 * F.l1_loss(self.G_B(A), A),
        }
        sum(losses.values()).backward()
        self.adam_G.step()
        for net in (self.D_A, self.D_B):
            net.requires_grad_(True)

        self.adam_D.zero_grad()
        for name, net, real, fake in (
            ("D_A", self.D_A, B, fake_B.detach()),
            ("D_B", self.D_B, A, fake_A.detach()),
        ):
            losses[name] = 0.5 * (mse(net(real), 1.0) + mse(net(fake), 0.0))
            losses[name].backward()
        self.adam_D.step()
        return losses


def mse(prediction: Tensor, label: float) -> Tensor:
    """The least-squares GAN loss."""
    return F.mse_loss(prediction, torch.full_like(prediction, label))
