"""A direct implementation of the pix2pix paper: eager, float32, PIL images one at a time.

The baseline of `python -m scripts.dev.benchmark`, not part of the framework.
`python -m scripts.dev.plain_pix2pix PAIRS WEIGHTS OUT` translates a folder of A|B images.
"""

import random
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset


@cache
def to_tensor() -> Callable[[Image.Image], Tensor]:
    """Return the usual transform to [-1, 1]; torchvision is imported late, as it takes seconds."""
    from torchvision import transforms

    return transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


class Level(nn.Module):
    """A level of the U-Net: down, inner levels, up, concatenated with its input."""

    def __init__(self, outer: int, inner: int, inside: nn.Module | None, ends: int = 0, drop=False):
        super().__init__()
        self.outermost = bool(ends)
        self.down = nn.Conv2d(ends or outer, inner, 4, 2, 1, bias=False)
        self.down_norm = nn.BatchNorm2d(inner) if inside and not ends else nn.Identity()
        self.inside = inside or nn.Identity()
        self.up = nn.ConvTranspose2d(inner * (2 if inside else 1), outer, 4, 2, 1, bias=bool(ends))
        self.up_norm = nn.Identity() if ends else nn.BatchNorm2d(outer)
        self.drop = nn.Dropout(0.5 if drop else 0)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down_norm(self.down(x if self.outermost else F.leaky_relu(x, 0.2)))
        y = self.up(F.relu(self.inside(y)))
        return y.tanh() if self.outermost else torch.cat([x, self.drop(self.up_norm(y))], 1)


def unet(downs: int = 8, width: int = 64) -> nn.Module:
    """The generator of appendix 6.1.1, for RGB."""
    net = Level(width * 8, width * 8, None)
    for _ in range(downs - 5):
        net = Level(width * 8, width * 8, net, drop=True)
    for times in (4, 2, 1):
        net = Level(width * times, width * times * 2, net)
    return Level(3, width, net, ends=3)


def patchgan(
    inputs: int = 6, width: int = 64, norm=nn.BatchNorm2d, bias: bool = False
) -> nn.Module:
    """The 70×70 discriminator of appendix 6.1.2."""
    layers = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
        layers += [nn.Conv2d(width * before, width * after, 4, stride, 1, bias=bias)]
        layers += [norm(width * after), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(width * 8, 1, 4, 1, 1))


class Pix2Pix:
    """G, D, their Adam optimizers and one training step."""

    def __init__(self, G: nn.Module, D: nn.Module):
        self.G, self.D = G, D
        self.adam_G, self.adam_D = (
            torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (G, D)
        )

    def step(self, A: Tensor, B: Tensor) -> dict[str, Tensor]:
        """Train on a batch; return the losses."""
        fake = self.G(A)

        self.adam_D.zero_grad()
        D_fake = gan(self.D(torch.cat([A, fake.detach()], 1)), 0.0)
        D_real = gan(self.D(torch.cat([A, B], 1)), 1.0)
        (0.5 * (D_fake + D_real)).backward()
        self.adam_D.step()

        self.adam_G.zero_grad()
        self.D.requires_grad_(False)
        G_GAN, G_L1 = gan(self.D(torch.cat([A, fake], 1)), 1.0), 100 * F.l1_loss(fake, B)
        (G_GAN + G_L1).backward()
        self.adam_G.step()
        self.D.requires_grad_(True)
        return {"G_GAN": G_GAN, "G_L1": G_L1, "D_real": D_real, "D_fake": D_fake}


def gan(logits: Tensor, label: float) -> Tensor:
    """The loss of eq. 1."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def load_pair(path: Path, load: int = 286, crop: int = 256) -> tuple[Tensor, Tensor]:
    """Read an A|B image; resize, crop and flip both halves alike (§3.3)."""
    pair = Image.open(path).convert("RGB")
    half = pair.width // 2
    x, y = random.randint(0, load - crop), random.randint(0, load - crop)
    mirrored = load > crop and random.random() > 0.5
    sides = []
    for left in (0, half):
        side = pair.crop((left, 0, left + half, pair.height))
        side = side.resize((load, load), Image.Resampling.BICUBIC)
        side = side.crop((x, y, x + crop, y + crop))
        sides.append(side.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else side)
    return to_tensor()(sides[0]), to_tensor()(sides[1])


class Pairs(Dataset):
    """A|B images as pairs of tensors."""

    def __init__(self, files: Sequence[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return load_pair(self.files[index])


def save(image: Tensor, path: Path) -> None:
    """Write (1, 3, H, W) in [-1, 1] as a PNG."""
    pixels = ((image[0] + 1) * 127.5).clamp(0, 255).byte()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)


def main(argv: Sequence[str]) -> None:
    """Translate B to A for all pairs in a folder; write input, output and target."""
    folder, weights, out = map(Path, argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    G = unet().to(device)
    G.load_state_dict(dict(zip(G.state_dict(), torch.load(weights).values(), strict=True)))
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.iterdir()):
        target, real = (side[None] for side in load_pair(path, 256, 256))
        with torch.no_grad():
            fake = G(real.to(device)).cpu()
        for label, image in (("real_A", real), ("fake_B", fake), ("real_B", target)):
            save(image, out / f"{path.stem}_{label}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
