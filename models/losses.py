"""What the networks learn from: GAN losses, pixel losses. Torch only, never the options."""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The distance between output and target (§3.1): its name as a loss, and its function.
PIXEL_LOSSES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]] | None] = {
    "l1": ("G_L1", F.l1_loss),
    "l2": ("G_L2", F.mse_loss),
    "none": None,
}


def _vanilla(logits: Tensor, label: float, reduction: str) -> Tensor:
    labels = torch.full_like(logits, label)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction=reduction)


def _lsgan(logits: Tensor, label: float, reduction: str) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, label), reduction=reduction)


# What a discriminator makes of an image: its logits, or, per scale, the features of every layer,
# of which the last are the logits.
DiscriminatorOutput = Tensor | Sequence[Sequence[Tensor]]

GAN_MODES = ("vanilla", "lsgan", "wgangp", "hinge")


class GANLoss(nn.Module):
    """How far D's patch logits are from judging "real" or "fake" (eq. 1; LSGAN arXiv:1611.04076).

    The gradient penalty of wgangp is a function of its own, `gradient_penalty`.
    """

    def __init__(
        self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0
    ):
        super().__init__()
        if gan_mode not in GAN_MODES:
            raise ValueError(f"--gan_mode {gan_mode}: unknown; known are {', '.join(GAN_MODES)}")
        self.gan_mode = gan_mode
        self.real_label, self.fake_label = target_real_label, target_fake_label

    def forward(
        self,
        prediction: DiscriminatorOutput,
        target_is_real: bool,
        for_discriminator: bool = True,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Return the mean loss, over patches and then scales; `for_discriminator=False` is the loss
        of G, which differs with hinge only.

        `valid` (N, 1, H, W) is 0 at pixels without data. It is max-pooled to the size of the
        prediction: the loss of a patch is 0 if its cell holds only such pixels.
        """
        if not isinstance(prediction, Tensor):
            losses = [
                self(layers[-1], target_is_real, for_discriminator, valid) for layers in prediction
            ]
            return sum(losses) / len(losses)
        logits = _at_least_float32(prediction)
        if valid is None:
            return self._loss(logits, target_is_real, for_discriminator, "mean")
        patch_losses = self._loss(logits, target_is_real, for_discriminator, "none")
        return (patch_losses * F.adaptive_max_pool2d(valid, logits.shape[-2:])).mean()

    def _loss(self, logits: Tensor, real: bool, for_discriminator: bool, reduction: str) -> Tensor:
        """Return the loss of each patch, or the mean, as `reduction` says."""
        reduce = torch.mean if reduction == "mean" else torch.clone
        sign = 1.0 if real else -1.0
        if self.gan_mode == "wgangp":
            return -sign * reduce(logits)
        if self.gan_mode == "hinge":
            return reduce(F.relu(1 - sign * logits)) if for_discriminator else -reduce(logits)
        label = self.real_label if real else self.fake_label
        return (_vanilla if self.gan_mode == "vanilla" else _lsgan)(logits, label, reduction)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def feature_matching(fake: DiscriminatorOutput, real: DiscriminatorOutput) -> Tensor:
    """Return the mean over the scales of Σ_layers E‖D_layer(fake) − D_layer(real)‖₁, without the
    logits; real has no gradient (arXiv:1711.11585, eq. 4).
    """
    distances = [
        F.l1_loss(_at_least_float32(fake_layer), _at_least_float32(real_layer.detach()))
        for fake_layers, real_layers in zip(fake, real, strict=True)
        for fake_layer, real_layer in zip(fake_layers[:-1], real_layers[:-1], strict=True)
    ]
    return sum(distances) / len(fake)


def gradient_penalty(netD: nn.Module, real: Tensor, fake: Tensor, weight: float = 10.0) -> Tensor:
    """WGAN-GP's penalty, weight · E[(‖∇_x̂ D(x̂)‖₂ − 1)²] (arXiv:1704.00028, eq. 3).

    `real` and `fake` (N, C, H, W) are what D sees; x̂ mixes them with one weight an image. Of
    images of different sizes it mixes the middles, as large as fits into both. D runs in the type
    of its weights, without autocast.
    """
    if real.shape != fake.shape:
        size = [min(sizes) for sizes in zip(real.shape[-2:], fake.shape[-2:], strict=True)]
        real, fake = (middle(images, *size) for images in (real, fake))
    mix = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    mixed = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    with torch.autocast(real.device.type, enabled=False):
        score = netD(mixed).float().sum()
        (gradient,) = torch.autograd.grad(score, mixed, create_graph=True)
    return weight * ((gradient.flatten(1) + 1e-16).norm(dim=1) - 1).square().mean()


def r1_penalty(netD: nn.Module, real: Tensor, image: slice = slice(None)) -> Tensor:
    """E‖∇_x D(x)‖² over real images x, the channels `image` of `real` (arXiv:1801.04406, §4.1).

    `real` (N, C, H, W) is what D sees. The logits of all patches, and of all scales, count as one
    sum. D runs in the type of its weights, without autocast.
    """
    start, stop, _ = image.indices(real.shape[1])
    x = real[:, start:stop].detach().requires_grad_(True)
    seen = torch.cat([real[:, :start].detach(), x, real[:, stop:].detach()], 1)
    with torch.autocast(real.device.type, enabled=False):
        output = netD(seen)
        logits = [output] if isinstance(output, Tensor) else [layers[-1] for layers in output]
        score = sum(scale.float().sum() for scale in logits)
        (gradient,) = torch.autograd.grad(score, x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def middle(images: Tensor, height: int, width: int) -> Tensor:
    """Return the middle (N, C, height, width) of larger images."""
    top, left = (images.shape[-2] - height) // 2, (images.shape[-1] - width) // 2
    return images[..., top : top + height, left : left + width]


def stack_losses(losses: Iterable[Tensor | float]) -> Tensor:
    """Return losses, tensors or plain numbers, as one tensor, on a GPU if one of them is there."""
    values = [torch.as_tensor(loss).detach().float() for loss in losses]
    devices = [value.device for value in values if value.device.type != "cpu"]
    return torch.stack([value.to(devices[0]) if devices else value for value in values])
