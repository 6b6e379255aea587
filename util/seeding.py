"""Seeds and random states: --seed determines all randomness of a run."""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch on all devices."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def image_seed(seed: int, path: str) -> int:
    """Return the seed of an image's noise: 63 bits of a hash of (seed, file stem)."""
    stem = Path(path).stem.removesuffix(".nii")  # of .nii.gz
    name = stem.encode("utf-8", "surrogateescape")  # the same bytes in every locale
    digest = hashlib.sha256(f"{seed}/".encode() + name).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def random_states() -> dict[str, Any]:
    """Return the states of all random generators of this process."""
    kind, words, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": [kind, words.tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore random states; those of GPUs only if the number of GPUs is the same.

    Checkpoints of earlier versions have none of Apple's GPU.
    """
    random.setstate(states["python"])
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    if states.get("mps") is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all randomness within it; afterwards restore the random states of before."""
    before = random_states()
    seed_everything(seed)
    try:
        yield
    finally:
        set_random_states(before)
