"""Networks filled and outputs compared as tests/data/traces_family.json was recorded."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DATA = Path(__file__).resolve().parents[1] / "data"


def state_dicts(family: str) -> dict[str, dict[str, list[int]]]:
    """Return the shapes of a family's published state dicts: network -> key -> shape."""
    return json.loads((DATA / "state_dicts_family.json").read_text())[family]


def traces(kind: str, family: str) -> dict[str, Any]:
    """Return what was recorded of a family: kind is "forward" or "training"."""
    return json.loads((DATA / "traces_family.json").read_text())[kind][family]


def noise(name: str, shape: tuple[int, ...]) -> Tensor:
    """Return the uniform noise in [-1, 1] of a name."""
    values = np.random.RandomState(zlib.crc32(name.encode())).uniform(-1, 1, shape)
    return torch.from_numpy(values.astype(np.float32))


def filled(net: nn.Module) -> nn.Module:
    """Fill a network with numbers that depend on the names and shapes of its tensors alone."""
    state = net.state_dict()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            state[key] = _numbers(key, tuple(value.shape))
    net.load_state_dict(state)
    return net


def _numbers(key: str, shape: tuple[int, ...]) -> Tensor:
    values = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    x = torch.from_numpy(values.astype(np.float32))
    if key.endswith("weight") and len(shape) == 1:
        return 0.1 * x + 1
    if key.endswith(("_u", "_v")):
        return x / x.norm()
    if key.endswith("running_var"):
        return x.abs() + 0.5
    return (0.1 if key.endswith("running_mean") else 0.02) * x


def assert_recorded(x: Tensor, trace: dict[str, Any], tolerance: float = 1e-4) -> None:
    """Compare a tensor's shape, mean, standard deviation and eight values with a trace."""
    assert list(x.shape) == trace["shape"]
    x = x.detach().flatten()
    places = np.linspace(0, x.numel() - 1, 8).astype(int)
    found = [x.mean().item(), x.std().item(), *x[places].tolist()]
    wanted = [trace["mean"], trace["std"], *trace["samples"]]
    np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=0)
