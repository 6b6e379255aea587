"""The device, its memory layout, TF32 and the allocator."""

import contextlib
import ctypes
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence

import torch

from util import distributed
from util.errors import one_line

log = logging.getLogger(__name__)


def pick_device(gpu_ids: Sequence[int]) -> torch.device:
    """Return the first GPU of `gpu_ids`, else Apple's MPS, else the CPU after logging it.

    With several processes on a machine, local rank i gets GPU `gpu_ids[i]`; the default [0] then
    means one GPU per process. An empty list is the CPU. ValueError if CUDA lacks a GPU.
    """
    if not gpu_ids:
        return torch.device("cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an old driver; the line below reports it
        available = torch.cuda.is_available()
    if available:
        gpus, processes = torch.cuda.device_count(), distributed.local_world_size()
        ids = range(processes) if list(gpu_ids) == [0] else gpu_ids
        if processes > gpus:
            raise ValueError(
                f"torchrun: {processes} processes, but this machine has {gpus} "
                f"GPU{'s' * (gpus > 1)}; torchrun --nproc_per_node={gpus} starts one for each"
            )
        if max(ids) >= gpus:
            raise ValueError(f"--gpu_ids {max(ids)}: this machine has {gpus} GPUs, numbered from 0")
        if processes > 1 and len(ids) != processes:
            raise ValueError(
                f"--gpu_ids {','.join(map(str, ids))}: {len(ids)} GPUs for {processes} processes "
                f"on this machine; torchrun --nproc_per_node={len(ids)} starts one for each"
            )
        torch.backends.cudnn.benchmark = True
        device = torch.device("cuda", ids[distributed.local_rank()])
        torch.cuda.set_device(device)  # whose streams are the current ones; NCCL uses it, too
        return device
    if torch.backends.mps.is_available() and distributed.world_size() == 1:
        return torch.device("mps")
    log.info("no GPU found: %s; running on the CPU (--gpu_ids -1 chooses it)", why_no_gpu())
    return torch.device("cpu")


def why_no_gpu() -> str:
    """Return what torch is built for, and the likely reason why it finds no GPU."""
    if torch.version.hip:
        return f"torch is built for ROCm {torch.version.hip} and finds no AMD GPU"
    if not torch.version.cuda:
        return "torch is built without CUDA (docs/install.md: another build)"
    try:
        torch.cuda.init()
        reason = "it finds no GPU"
    except (RuntimeError, AssertionError) as error:
        message = str(error)
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if "no NVIDIA driver" in message:
            reason = "it finds no NVIDIA driver"
        elif match := re.search(r"too old \(found version (\d+)\)", message):
            major, minor = int(match[1]) // 1000, int(match[1]) % 1000 // 10
            reason = f"the NVIDIA driver supports {major}.{minor} at most (docs/install.md)"
        elif "No CUDA GPUs" in message and hidden is not None:
            reason = f"CUDA_VISIBLE_DEVICES={hidden!r} hides all GPUs"
        elif "No CUDA GPUs" in message:
            reason = "the NVIDIA driver finds no GPU"
        else:
            reason = one_line(error)
    return f"torch is built for CUDA {torch.version.cuda}, but {reason}"


def memory_format_for(device: torch.device, training: bool) -> torch.memory_format:
    """Return the faster memory layout for images (docs/performance.md has the timings)."""
    faster = device.type == "cuda" or (device.type == "cpu" and not training)
    return torch.channels_last if faster else torch.contiguous_format


def gpu_count() -> int:
    """Return the number of GPUs of this machine that torch can use."""
    return torch.cuda.device_count()


def tune_malloc() -> None:
    """Make glibc's malloc keep freed memory; without glibc, do nothing.

    By default glibc returns large blocks to the system at once, and the next step allocates them
    again: clearing these pages costs a tenth of a training step on a CPU, and more at test time.
    """
    max_mapped, trim_threshold = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of mallopt(3)
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(max_mapped, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def use_tf32(precision: str, device: torch.device) -> None:
    """Allow TF32 (10-bit mantissa) for float32 products on CUDA, unless precision is "fp32"."""
    if precision == "tf32" and device.type != "cuda":
        log.info("--precision tf32: needs CUDA; using float32")
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.set_float32_matmul_precision("highest" if precision == "fp32" else "high")


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Compute convolutions in full float32 on CUDA within it."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
