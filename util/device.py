"""Devices, and what is set once for them: memory layout, TF32, the allocator."""

import contextlib
import ctypes
import logging
from collections.abc import Sequence

import torch

from util import distributed

log = logging.getLogger(__name__)


def pick_device(gpu_ids: Sequence[int]) -> torch.device:
    """Return the first of the GPUs asked for, else Apple's MPS, else the CPU (after one line).

    Of several processes on a machine, each gets one of them; the default 0 means as many as there
    are processes. ValueError if CUDA is there but that GPU is not. An empty list is the CPU.
    """
    if not gpu_ids:
        return torch.device("cpu")
    if torch.cuda.is_available():
        found, processes = torch.cuda.device_count(), distributed.local_world_size()
        ids = range(processes) if list(gpu_ids) == [0] else gpu_ids
        if processes > found:
            raise ValueError(
                f"{processes} processes on this machine, which has {found} GPU{'s' * (found > 1)}: "
                f"torchrun --nproc_per_node={found} starts one for each"
            )
        if max(ids) >= found:
            raise ValueError(f"--gpu_ids {max(ids)}: this machine has {found}, which count from 0")
        if processes > 1 and len(ids) != processes:
            raise ValueError(
                f"--gpu_ids {','.join(map(str, ids))}: {len(ids)} for {processes} processes on this "
                f"machine; torchrun --nproc_per_node={len(ids)} starts one for each"
            )
        torch.backends.cudnn.benchmark = True
        device = torch.device("cuda", ids[distributed.local_rank()])
        if processes > 1:
            torch.cuda.set_device(device)  # where the engine works too
        return device
    if torch.backends.mps.is_available() and distributed.world_size() == 1:
        return torch.device("mps")
    log.info("no GPU found: running on the CPU (--gpu_ids -1 chooses it)")
    return torch.device("cpu")


def memory_format_for(device: torch.device, training: bool) -> torch.memory_format:
    """Return the layout of images in memory that is faster (docs/performance.md has numbers)."""
    faster = device.type == "cuda" or (device.type == "cpu" and not training)
    return torch.channels_last if faster else torch.contiguous_format


def tune_malloc() -> None:
    """Let the process keep the memory that it frees.

    glibc hands large blocks back to the system at once, and the next step or image takes them
    again: a tenth of a step's time on a CPU, and more of an image's, goes into pages being cleared.
    Elsewhere nothing happens.
    """
    max_mapped, trim_threshold = -4, -1  # names of mallopt(3)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(max_mapped, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def use_tf32(precision: str, device: torch.device) -> None:
    """Let CUDA multiply float32 with the 10-bit mantissa of TF32, unless precision is "fp32"."""
    if precision == "tf32" and device.type != "cuda":
        log.info("--precision tf32 is for CUDA: float32 here")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")
