"""Checkpoint files: tensors and plain Python, written atomically and read without running code."""

import contextlib
import difflib
import hashlib
import logging
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from util.errors import RunStopped
from util.files import atomic_write, known_kind

log = logging.getLogger(__name__)

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

    It may be the only one in a dict, such as {"state_dict": …}, or of several the one that the file
    is named after: "G" of latest_net_G.pth. torch.compile or DataParallel may have wrapped the
    model. ValueError names the file if it is absent or damaged, and says what
    it holds if that is no state dict.
    """
    loaded = load(path)
    if not _is_state_dict(loaded):
        inside = loaded if isinstance(loaded, dict) else {}
        names = [name for name, value in inside.items() if _is_state_dict(value) and value]
        net_name = path.stem.removesuffix("_ema").rpartition("_net_")[2]
        names = [net_name] if net_name in names else names
        if len(names) != 1:
            raise ValueError(f"{path}: not a state dict of tensors, but {_what(loaded, names)}")
        log.info("%s: reading its %s", path, names[0])
        loaded = inside[names[0]]
    return {_plain_key(str(key)): value for key, value in loaded.items()}


def _is_state_dict(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, Tensor) for v in value.values())


def _what(loaded: Any, found: list[Any]) -> str:
    """Say what a file holds in place of one state dict."""
    if not isinstance(loaded, dict):
        return type(loaded).__name__
    keys = ", ".join(str(key) for key in list(loaded)[:8]) + (", …" if len(loaded) > 8 else "")
    several = f"; save one of {', '.join(map(str, found))} in a file of its own" if found else ""
    return f"dict of {keys}{several}"


def _plain_key(key: str) -> str:
    """Return a parameter's name without what torch.compile and DataParallel add to it."""
    parts = [part for part in key.split(".") if part != "_orig_mod"]
    while len(parts) > 1 and parts[0] == "module":
        del parts[0]
    return ".".join(parts)


def load(path: Path) -> Any:
    """Read tensors and plain Python onto the CPU; nothing in the file is executed.

    ValueError names the file if it is absent, damaged, or holds anything else.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, not a file of weights")
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint{_others(path)}")
    try:
        if zipfile.is_zipfile(path):  # torch.load ignores the checksums
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged}: wrong checksum")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other kinds of archives; they are an error below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything on a damaged file
        kind = kind_of(path)
        if kind is None and "unsupported global" in str(error).lower():
            match = re.search(r"GLOBAL ([\w.]+)", str(error))
            which = f" ({match[1]})" if match else ""
            raise ValueError(
                f"{path}: holds Python objects{which}, which could run code when loaded; "
                f"save it again as a plain state dict"
            ) from None
        reason = f"but {kind}" if kind else "or damaged; copy it again"
        raise ValueError(f"{path}: not a checkpoint, {reason}") from None


def saved_progress(run: Path) -> dict[str, Any]:
    """Return the progress in a run's latest_state.pth; {} if there is none that can be read."""
    try:  # mapped, not read: the file also holds the optimizers
        state = torch.load(run / "latest_state.pth", weights_only=True, mmap=True)
        return dict(state["progress"])
    except Exception:  # torch.load raises nearly anything on a damaged file
        return {}


def kind_of(path: Path) -> str | None:
    """Say what a file is that torch cannot load, and what to do; None if that is not known."""
    with path.open("rb") as file:
        start = file.read(512)
    # A damaged archive may raise anything.
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
        names = [" ".join(name.split()) for name in archive.namelist()]
        if any(name.endswith("constants.pkl") for name in names):
            return "a TorchScript archive; save the model's state_dict() in place of it"
        if not any(name.endswith("data.pkl") for name in names):
            return f"a zip archive of {', '.join(names[:3]) or 'nothing'}; unpack it"
    if start.startswith(b"\x89HDF"):
        return "an HDF5 file, as of Keras; this needs weights of PyTorch"
    if kind := known_kind(start):
        return kind
    size = int.from_bytes(start[:8], "little")
    if start[8:9] == b"{" and size < path.stat().st_size:
        return "a safetensors file; save its tensors with torch.save"
    return "a tar archive; unpack it" if start[257:262] == b"ustar" else None


def without_stale_statistics(
    loaded: dict[str, Tensor], wanted: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Drop running statistics of instance norm, which only old checkpoints contain."""
    return {k: v for k, v in loaded.items() if k in wanted or k.rpartition(".")[2] not in RUNNING}


def part_that_fits(loaded: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights below the one prefix, such as `generator.`, that has all wanted names.

    Without such a prefix, or with several, the weights are returned as they are.
    """
    first = next(iter(wanted), "")
    prefixes = {name.removesuffix(first) for name in loaded if name.endswith(f".{first}")}
    fits = [p for p in prefixes if all(p + name in loaded for name in wanted)]
    if first in loaded or len(fits) != 1:
        return loaded
    return {name: loaded[fits[0] + name] for name in wanted}


def mismatches(loaded: dict[str, Tensor], wanted: dict[str, Tensor]) -> list[str]:
    """Return the keys that are missing, unexpected or of another shape."""
    keys = sorted(loaded.keys() ^ wanted.keys())
    return keys + [k for k in loaded.keys() & wanted.keys() if loaded[k].shape != wanted[k].shape]


def _others(path: Path) -> str:
    """Return what a run's folder holds in place of a file, and how to choose it."""
    run = path.parent
    names = [p.name for p in run.glob("*.pth")] if run.is_dir() else []
    if not names:
        runs = [p.name for p in run.parent.glob("*/") if p.is_dir() and p != run]
        near = difflib.get_close_matches(run.name, runs, n=1)
        if run.parent.name == run.parent.parent.name:  # --name checkpoints/NAME
            near = [run.name]
        hint = f"did you mean --name {near[0]}?" if near else "is --name right, and the folder?"
        problem = "has no weights" if run.is_dir() and any(run.glob("[!.]*")) else "is no run"
        return f"; {run} {problem} ({hint})"
    tag, net = path.name.split("_net_", 1) if "_net_" in path.name else ("", path.name)
    tags = [name.removesuffix(f"_net_{net}") for name in names if name.endswith(f"_net_{net}")]
    if net.endswith("_ema.pth") and not tags:
        fix = "train.py --ema writes EMA weights"
    elif tags:
        epochs = ", ".join(sorted(tags, key=lambda tag: (not tag.isdecimal(), len(tag), tag)))
        advice = "; train.py --val_freq keeps the best" if tag == "best" else ""
        return f"; of this network there are {epochs}{advice} (choose with --epoch or --load_iter)"
    else:
        fix = "networks of another --model or --model_suffix"
    networks = {name.split("_net_", 1)[1].removesuffix(".pth") for name in names if "_net_" in name}
    return f"; the folder holds weights of {', '.join(sorted(networks) or names)} only ({fix})"
