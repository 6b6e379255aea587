"""What weights tell of the networks of DeepFillv2, and which flags build those."""

from typing import Any

from torch import Tensor

Weights = dict[str, Tensor]


def describe_inpaint_generator(weights: Weights) -> dict[str, Any]:
    """Return model, netG, cnum, attention and guided of a generator of DeepFillv2; empty for any
    other network.
    """
    first = weights.get("conv1.conv.weight")
    if first is None or first.dim() != 4 or "allconv17.conv.weight" not in weights:
        return {}
    return {
        "model": "inpaint",
        "netG": "inpaint",
        "cnum": first.shape[0],
        "attention": "contextual" if "pmconv1.conv.weight" in weights else "none",
        "guided": first.shape[1] == 6,
    }


def describe_inpaint_discriminator(weights: Weights) -> dict[str, Any]:
    """Return netD, ndf and guided of an SN-PatchGAN; empty for any other network."""
    first = weights.get("conv1.conv_sn.weight")
    if first is None or first.dim() != 4:
        return {}
    return {"netD": "sn_patch", "ndf": first.shape[0], "guided": first.shape[1] == 5}
