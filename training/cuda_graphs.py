"""How the stages of a training step are run: one after the other, or replayed as CUDA graphs.

At batch 1 a GPU waits for Python to launch its kernels, thousands a step; a graph launches all
kernels of a stage at once.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from models.data_parallel import pictures_of, share_of
from util.device import on_its_own
from util.distributed import world_size

log = logging.getLogger(__name__)

WARM_UP = 3  # eager runs of a stage before it is captured, in which cuDNN chooses its algorithms
Stage = Callable[[], None]


class Recorder(Protocol):
    """What runs a stage for a graph, and captures it; `CudaRecorder`, or a stand-in in tests."""

    def run(self, stage: Stage) -> None:
        """Run it eagerly, as it will be captured."""

    def capture(self, stage: Stage) -> Callable[[], None]:
        """Run it once while capturing it; return what replays it."""


class CudaRecorder:
    """Captures on a stream of its own, into memory that all graphs of a step share."""

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def run(self, stage: Stage) -> None:
        # Autograd remembers the stream on which a weight was first used; a capture must own it.
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            stage()
        torch.cuda.current_stream().wait_stream(self.stream)

    def capture(self, stage: Stage) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # The thread that pins the next batches goes on meanwhile: in the usual mode, "global", a
        # call of another thread spoils a capture.
        how = {"pool": self.pool, "stream": self.stream, "capture_error_mode": "thread_local"}
        with torch.cuda.graph(graph, **how):
            stage()
        graph.replay()  # a capture computes nothing
        return graph.replay


class Stages:
    """Runs a model's stages; the same order every step, with tensors that stay where they are.

    A graph reads and writes fixed memory. So what it reads goes through `fixed` or `between`, and
    after a replay the model's attributes are those of the capture, with new values. A batch of
    another shape (an epoch's last) is run eagerly.
    """

    def __init__(self, model: Any, recorder: Recorder):
        self.model, self.recorder = model, recorder
        self.buffers: dict[str, Tensor] = {}
        self.odd: set[str] = set()  # inputs that do not fit their buffers
        self.runs: Counter[str] = Counter()
        self.graphs: dict[str, tuple[Callable[[], None], dict[str, Any]]] = {}

    def fixed(self, name: str, value: Tensor) -> Tensor:
        """Return a buffer that holds this input now, or the input if it is of another shape."""
        buffer = self.buffers.setdefault(name, torch.empty_like(value))
        self.odd.discard(name)
        if buffer.shape != value.shape:
            self.odd.add(name)
            return value
        return buffer.copy_(value, non_blocking=True)

    def between(self, name: str, value: Tensor) -> Tensor:
        """Do the same for what was made of this batch between two stages."""
        return value if self.odd else self.fixed(name, value)

    def run(self, stage: Stage) -> None:
        """Run a stage: eagerly at first, then captured, then replayed."""
        name = stage.__name__
        if self.odd or self.runs[name] < WARM_UP:
            self.recorder.run(stage)
            self.runs[name] += not self.odd
            return
        if name not in self.graphs:
            before = dict(vars(self.model))
            replay = self.recorder.capture(stage)
            after = vars(self.model)
            made = {k: v for k, v in after.items() if k not in before or v is not before[k]}
            made |= {k: dict(after[k]) for k in ("losses", "visuals")}
            self.graphs[name] = replay, made
            return
        replay, made = self.graphs[name]
        replay()
        vars(self.model).update({k: dict(v) if type(v) is dict else v for k, v in made.items()})


def stages_of(model: Any) -> Stages | None:
    """Return what replays a training on a GPU as graphs; None, said in one line, where that cannot
    be.
    """
    opt = model.opt
    if model.device.type != "cuda":
        return None
    reasons = {
        "--no_graphs": opt.no_graphs,
        "--gan_mode wgangp": opt.gan_mode == "wgangp",
        "--grad_accum": opt.grad_accum > 1,
        "several processes": world_size() > 1,
    }
    for reason, is_so in reasons.items():
        if is_so:
            log.info("no CUDA graphs with %s: each kernel is launched by itself", reason)
            return None
    return Stages(model, CudaRecorder(model.device))


def update_over(
    model: Any,
    optimizer: Optimizer,
    batches: Sequence[dict[str, Any]],
    loss: Callable[[dict[str, Any]], Tensor],
) -> None:
    """Take one step down the mean gradient of `loss` over the pictures of all batches.

    `loss` takes a batch; the model's `losses` become means too.
    """
    optimizer.zero_grad(set_to_none=True)
    before, means = model.losses, Counter()
    sizes = [pictures_of(batch) for batch in batches]
    for number, (batch, size) in enumerate(zip(batches, sizes, strict=True), start=1):
        model.losses = {}
        # Several processes share their sum, with the last batch.
        with on_its_own() if number < len(batches) else nullcontext():
            share = share_of(batch) * size / sum(sizes)
            (loss(batch) * share).backward()
        for name, value in model.losses.items():
            means[name] += value.detach() * share
    optimizer.step()
    model.losses, model.share = {**before, **means}, 1.0
