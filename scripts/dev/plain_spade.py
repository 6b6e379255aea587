"""A direct implementation of the SPADE paper (arXiv:1903.07291): eager, float32, one-hot maps.

The baseline of `python -m scripts.dev.benchmark`, not part of the framework.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm


class Spade(nn.Module):
    """Batch norm, then γ and β of the semantic map (eq. 1)."""

    def __init__(self, width: int, semantic_nc: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.shared = nn.Conv2d(semantic_nc, 128, 3, padding=1)
        self.gamma = nn.Conv2d(128, width, 3, padding=1)
        self.beta = nn.Conv2d(128, width, 3, padding=1)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        hidden = F.relu(self.shared(F.interpolate(semantics, size=x.shape[2:])))
        return self.norm(x) * (1 + self.gamma(hidden)) + self.beta(hidden)


class Block(nn.Module):
    """x + two convolutions, each after a SPADE layer (fig. 4)."""

    def __init__(self, before: int, after: int, semantic_nc: int):
        super().__init__()
        inner, self.grows = min(before, after), before != after
        self.conv_0 = spectral_norm(nn.Conv2d(before, inner, 3, padding=1))
        self.conv_1 = spectral_norm(nn.Conv2d(inner, after, 3, padding=1))
        self.norm_0, self.norm_1 = Spade(before, semantic_nc), Spade(inner, semantic_nc)
        if self.grows:
            self.conv_s = spectral_norm(nn.Conv2d(before, after, 1, bias=False))
            self.norm_s = Spade(before, semantic_nc)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        y = self.conv_0(F.leaky_relu(self.norm_0(x, semantics), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, semantics), 0.2))
        return y + (self.conv_s(self.norm_s(x, semantics)) if self.grows else x)


class Generator(nn.Module):
    """Five doublings from a small convolution of the semantic map to an image."""

    def __init__(self, semantic_nc: int, width: int = 64):
        super().__init__()
        widths = [width * times for times in (16, 16, 16, 16, 8, 4, 2, 1)]
        self.first = nn.Conv2d(semantic_nc, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            Block(before, after, semantic_nc)
            for before, after in zip(widths, widths[1:], strict=False)
        )
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, semantics: Tensor) -> Tensor:
        x = self.first(F.interpolate(semantics, scale_factor=1 / 32))
        for number, block in enumerate(self.blocks):
            x = block(F.interpolate(x, scale_factor=2) if number not in (0, 2) else x, semantics)
        return self.last(F.leaky_relu(x, 0.2)).tanh()


class Discriminator(nn.Module):
    """Two PatchGANs, one on the image halved, that give the features of all layers."""

    def __init__(self, inputs: int, width: int = 64):
        super().__init__()
        self.scales = nn.ModuleList(nn.ModuleList(patch_layers(inputs, width)) for _ in range(2))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        outputs = []
        for layers in self.scales:
            features = [x]
            for layer in layers:
                features.append(layer(features[-1]))
            outputs.append(features[1:])
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return outputs


def patch_layers(inputs: int, width: int) -> list[nn.Module]:
    layers = [nn.Sequential(nn.Conv2d(inputs, width, 4, 2, 2), nn.LeakyReLU(0.2))]
    for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
        conv = nn.Conv2d(width * before, width * after, 4, stride, 2, bias=False)
        norm = nn.InstanceNorm2d(width * after)
        layers.append(nn.Sequential(spectral_norm(conv), norm, nn.LeakyReLU(0.2)))
    return [*layers, nn.Conv2d(width * 8, 1, 4, 1, 2)]


class SPADE:
    """G, D, their Adam optimizers and one training step, without the perceptual loss."""

    def __init__(self, G: nn.Module, D: nn.Module, classes: int):
        self.G, self.D, self.classes = G, D, classes
        self.adam_G = torch.optim.Adam(G.parameters(), lr=1e-4, betas=(0.0, 0.9))
        self.adam_D = torch.optim.Adam(D.parameters(), lr=4e-4, betas=(0.0, 0.9))

    def step(self, labels: Tensor, edges: Tensor, image: Tensor) -> dict[str, Tensor]:
        """Train on label maps, edges of instances and images; return the losses."""
        hot = F.one_hot(labels[:, 0], self.classes).permute(0, 3, 1, 2)
        semantics = torch.cat([hot.to(image.dtype), edges.to(image.dtype)], 1)

        self.adam_G.zero_grad()
        self.D.requires_grad_(False)
        fake, real = self.judge(semantics, self.G(semantics), image)
        losses = {"GAN": -sum(scale[-1].mean() for scale in fake) / 2}
        distances = [
            F.l1_loss(a, b.detach())
            for of_fake, of_real in zip(fake, real, strict=True)
            for a, b in zip(of_fake[:-1], of_real[:-1], strict=True)
        ]
        losses["GAN_Feat"] = 10 * sum(distances) / 2
        sum(losses.values()).backward()
        self.adam_G.step()
        self.D.requires_grad_(True)

        self.adam_D.zero_grad()
        with torch.no_grad():
            image_again = self.G(semantics)
        fake, real = self.judge(semantics, image_again, image)
        losses["D_Fake"] = sum(F.relu(1 + scale[-1]).mean() for scale in fake) / 2
        losses["D_real"] = sum(F.relu(1 - scale[-1]).mean() for scale in real) / 2
        (losses["D_Fake"] + losses["D_real"]).backward()
        self.adam_D.step()
        return losses

    def judge(self, semantics: Tensor, fake: Tensor, real: Tensor) -> list[list[list[Tensor]]]:
        """Return what D makes of fake and real images, as one batch."""
        pairs = [torch.cat([semantics, image], 1) for image in (fake, real)]
        scales = self.D(torch.cat(pairs))
        return [[[layer.chunk(2)[i] for layer in scale] for scale in scales] for i in (0, 1)]
