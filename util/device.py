"""The one place that knows about devices and precision."""

import contextlib
import copy
import ctypes
import inspect
import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from util import distributed

log = logging.getLogger(__name__)

_FULL_PRECISION: ContextVar[bool] = ContextVar("full_precision", default=False)
_ON_ITS_OWN: ContextVar[bool] = ContextVar("on_its_own", default=False)


def pick_device(gpu_ids: Sequence[int]) -> torch.device:
    """Return the first of the GPUs asked for, else Apple's MPS, else the CPU (after one line).

    Of several processes on a machine, each gets one of them; the default 0 means as many as there
    are processes. ValueError if CUDA is there but that GPU is not. An empty list is the CPU.
    """
    if not gpu_ids:
        return torch.device("cpu")
    if torch.cuda.is_available():
        found, of_all = torch.cuda.device_count(), distributed.local_world_size()
        ids = range(of_all) if list(gpu_ids) == [0] else gpu_ids
        if of_all > found:
            raise ValueError(
                f"{of_all} processes on this machine, which has {found} GPU{'s' * (found > 1)}: "
                f"torchrun --nproc_per_node={found} starts one for each"
            )
        if max(ids) >= found:
            raise ValueError(f"--gpu_ids {max(ids)}: this machine has {found}, which count from 0")
        if of_all > 1 and len(ids) != of_all:
            raise ValueError(
                f"--gpu_ids {','.join(map(str, ids))}: {len(ids)} for {of_all} processes on this "
                f"machine; torchrun --nproc_per_node={len(ids)} starts one for each"
            )
        torch.backends.cudnn.benchmark = True
        device = torch.device("cuda", ids[distributed.local_rank()])
        if of_all > 1:
            torch.cuda.set_device(device)  # where the engine works too
        return device
    if torch.backends.mps.is_available() and distributed.world_size() == 1:
        return torch.device("mps")
    log.info("no GPU found: running on the CPU (--gpu_ids -1 chooses it)")
    return torch.device("cpu")


def pick_layout(device: torch.device, training: bool) -> torch.memory_format:
    """Return the layout of pictures in memory that is faster (docs/performance.md has numbers)."""
    faster = device.type == "cuda" or (device.type == "cpu" and not training)
    return torch.channels_last if faster else torch.contiguous_format


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees.

    glibc hands large blocks back to the system at once, and the next step or picture takes them
    anew: a tenth of a step's time on a CPU, and more of a picture's, goes into pages being cleared.
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


def place(
    net: nn.Module,
    device: torch.device,
    precision: str = "fp32",
    layout: torch.memory_format = torch.contiguous_format,
) -> nn.Module:
    """Move a network to `device`, its weights in `layout`; with "bf16" its forward pass runs under
    autocast.

    Weights stay float32, and what comes out is float32 again.
    """
    net.to(device, memory_format=layout)
    if precision == "bf16":
        net.forward = MethodType(_forward_in_bf16, net)  # a method, so that copies get their own
    return net


def _forward_in_bf16(net: nn.Module, *args: Any, **kwargs: Any) -> torch.Tensor:
    device = next(net.parameters()).device.type
    with torch.autocast(device, dtype=torch.bfloat16, enabled=not _FULL_PRECISION.get()):
        return type(net).forward(net, *args, **kwargs).float()


class SharedForward:
    """The forward pass of a network that several processes train: the gradients of a backward
    pass through it become their mean over the processes.

    It takes the place of the network's `forward`, so that the network itself, its name and its
    state dict stay what they are. What needs no gradients of the weights goes past DDP: validation,
    a frozen D, all but the last batch of --grad_accum.
    """

    def __init__(self, net: nn.Module, device: torch.device):
        self.alone = net.forward
        ids = [device.index] if device.type == "cuda" else None
        self.ddp = DistributedDataParallel(_Inner(net), device_ids=ids, **_NO_BUFFERS)
        self.weight = next(net.parameters())

    def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        shared = learns and not _ON_ITS_OWN.get()
        return (self.ddp if shared else self.alone)(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.alone, memo)  # a copy of the network is nobody else's


class _Inner(nn.Module):
    """A network as DDP calls it, past what has taken the place of its forward pass."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net, self.alone = net, net.forward

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.alone(*args, **kwargs)


# Running statistics stay each process's own until a save: broadcasting them in every forward pass
# would change what a backward pass needs, as D runs twice before one.
_NO_BUFFERS = {
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers": False
}


def train_together(net: nn.Module, device: torch.device) -> None:
    """Let all processes train a network, placed on `device`, as one: on the mean of their
    gradients, from the weights of process 0.
    """
    net.forward = SharedForward(net, device)


@contextlib.contextmanager
def on_its_own() -> Iterator[None]:
    """Within it, forward and backward passes leave each process its own gradients."""
    token = _ON_ITS_OWN.set(True)
    try:
        yield
    finally:
        _ON_ITS_OWN.reset(token)


def round_weights(net: nn.Module) -> None:
    """Keep the weights of convolutions as bf16, to which autocast would cast them in each pass."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.to(torch.bfloat16)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Within it, placed networks run in float32 whatever their precision: gradient penalties."""
    token = _FULL_PRECISION.set(True)
    try:
        yield
    finally:
        _FULL_PRECISION.reset(token)
