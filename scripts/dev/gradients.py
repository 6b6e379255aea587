"""Compare gradients with those in float64: `python -m scripts.dev.gradients`.

For every network, norm, layout and precision that a training can choose, prints the relative error
of the gradients of all weights, and the fraction of equal signs. A wrong gradient in a layer shows
here, even if the losses look normal.
"""

import copy
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.losses import GANLoss
from models.networks import define_D, define_G
from options.parser import OneLineParser
from scripts.dev.measure import machine
from util.command import run_command
from util.device import use_tf32

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
NETWORKS = ("unet_64", "resnet_6blocks", "basic")
NORMS = ("batch", "instance", "none")


class Agreement(NamedTuple):
    """How gradients agree with those in float64."""

    error: float  # ‖g − g64‖ / ‖g64‖
    signs: float  # fraction of entries with equal signs


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = OneLineParser(prog="python -m scripts.dev.gradients", description=__doc__)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=default, help="device to test")
    args = parser.parse_args(argv)
    print(f"{machine()}\n")
    print("| network | norm | batch | layout | precision | relative error | equal signs |")
    print("|---|---|---|---|---|---|---|")
    for choice in choices(torch.device(args.device)):
        name, norm, batch, layout, precision, result = choice
        figures = f"{result.error:.1e} | {result.signs:.2%}"
        print(f"| {name} | {norm} | {batch} | {layout} | {precision} | {figures} |")
        sys.stdout.flush()


def choices(device: torch.device) -> Iterator[tuple[str, str, int, str, str, Agreement]]:
    """Yield every network, norm, batch, layout and precision, with its agreement."""
    precisions = ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16")
    for name, norm, batch in itertools.product(NETWORKS, NORMS, (1, 2)):
        net, x = network(name, norm), images(name, batch)
        exact = gradients(copy.deepcopy(net).double(), x.double())
        for layout, precision in itertools.product(LAYOUTS, precisions):
            use_tf32(precision, device)
            place = {"device": device, "memory_format": LAYOUTS[layout]}
            fast = copy.deepcopy(net).to(**place)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                approximate = gradients(fast, x.to(**place))
            yield name, norm, batch, layout, precision, agreement(approximate, exact)


def network(name: str, norm: str) -> nn.Module:
    """Build a network with a quarter of the usual width."""
    torch.manual_seed(0)
    build = (define_D, 6) if name == "basic" else (define_G, 3, 3)
    return build[0](*build[1:], 16, name, norm=norm)


def images(name: str, batch: int) -> Tensor:
    """Return random input for a network."""
    generator = torch.Generator().manual_seed(1)
    channels = 6 if name == "basic" else 3
    return torch.rand(batch, channels, 64, 64, generator=generator) * 2 - 1


def gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the gradients of all weights for a loss as in training.

    Biases are left out: before instance norm, their gradients are zero up to rounding.
    """
    y = net(x)
    wanted = -x[:, :3] if y.shape[1] == 3 else None
    loss = (y - wanted).abs().mean() if wanted is not None else GANLoss("vanilla")(y, True)
    loss.backward()
    return [p.grad.cpu().double() for p in net.parameters() if p.dim() > 1]


def agreement(found: Sequence[Tensor], exact: Sequence[Tensor]) -> Agreement:
    """Compare gradients with exact ones."""
    ours, theirs = (torch.cat([g.flatten() for g in gs]) for gs in (found, exact))
    error = (ours - theirs).norm() / theirs.norm()
    return Agreement(error.item(), (ours.sign() == theirs.sign()).double().mean().item())


if __name__ == "__main__":
    raise SystemExit(run_command(main))
