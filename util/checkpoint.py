"""Checkpoint files: tensors and plain Python, written atomically and read without running code."""

import difflib
import hashlib
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.errors import RunStopped
from util.files import atomic_write

RUNNING = ("running_mean", "running_var", "num_batches_tracked")


def save(content: Any, path: Path) -> None:
    """Write tensors and plain Python atomically; `RunStopped` names the file and the cause."""
    try:
        with atomic_write(path) as file:
            torch.save(content, file)
    except (OSError, RuntimeError) as error:  # torch wraps the OSError in a RuntimeError
        context = error.__context__
        while context is not None:
            if isinstance(context, KeyboardInterrupt):
                raise context from None
            context = context.__context__
        cause = error if isinstance(error, OSError) else error.__context__
        why = getattr(cause, "strerror", None) or str(error).splitlines()[0]
        raise RunStopped(
            f"{path}: could not be written ({why}); the previous file is intact"
        ) from None


def save_weights(state_dict: dict[str, Tensor], path: Path) -> None:
    """Write a state dict as CPU tensors, atomically."""
    save({k: v.detach().to("cpu").contiguous() for k, v in state_dict.items()}, path)


def fingerprint(state_dicts: Iterable[dict[str, Tensor]]) -> str:
    """Return the first 16 hex digits of the weights' SHA-256."""
    digest = hashlib.sha256()
    for state in state_dicts:
        for name, value in state.items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict onto the CPU; nothing in the file is executed.

    ValueError names the file if it is absent, damaged, or holds anything but tensors.
    """
    loaded = load(path)
    if not isinstance(loaded, dict) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise ValueError(f"{path}: not a state dict of tensors, but {type(loaded).__name__}")
    return {str(k).removeprefix("module."): v for k, v in loaded.items()}


def load(path: Path) -> Any:
    """Read tensors and plain Python onto the CPU; nothing in the file is executed.

    ValueError names the file if it is absent, damaged, or holds anything else.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint{_others(path)}")
    try:
        if zipfile.is_zipfile(path):  # torch.load ignores the checksums
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged}: wrong checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported global" in str(error).lower():
            raise ValueError(
                f"{path}: holds Python objects, which could run code when loaded; "
                f"save it again as a plain state dict"
            ) from None
        raise ValueError(f"{path}: not a checkpoint, or damaged") from None
    except Exception:  # torch.load raises nearly anything on a damaged file
        raise ValueError(f"{path}: not a checkpoint, or damaged; copy it again") from None


def without_stale_statistics(
    loaded: dict[str, Tensor], wanted: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Drop running statistics of instance norm, which only old checkpoints contain."""
    return {k: v for k, v in loaded.items() if k in wanted or k.rpartition(".")[2] not in RUNNING}


def mismatches(loaded: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    """Return the keys that are missing, unexpected or of another shape."""
    odd = sorted(loaded.keys() ^ wanted.keys())
    return odd + [k for k in loaded.keys() & wanted.keys() if loaded[k].shape != wanted[k].shape]


def _others(path: Path) -> str:
    names = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
    if not names:
        runs = [p.name for p in path.parent.parent.glob("*/") if p.is_dir() and p != path.parent]
        near = difflib.get_close_matches(path.parent.name, runs, n=1)
        meant = f"did you mean --name {near[0]}?" if near else "is --name right?"
        return f"; {path.parent} holds none ({meant} train.py writes them there)"
    net = path.name[path.name.find("_net_") :]
    if net.endswith("_ema.pth") and not any(name.endswith("_ema.pth") for name in names):
        fix = "train.py --ema writes EMA weights"
    elif path.name.startswith("best_net_"):
        fix = "train.py --val_freq keeps the best; choose with --epoch"
    elif any(name.endswith(net) for name in names):
        fix = "choose with --epoch or --load_iter"
    else:
        fix = "networks of another --model or --model_suffix"
    return f"; the folder holds {', '.join(names[:8])} ({fix})"
