"""CUDA graphs around a training step: the whole step, or the methods that a model names in
`graphed`, are captured once and replayed.

At batch 1 a GPU waits for Python to launch its kernels, thousands a step; a graph launches all
kernels of a method at once.
"""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from models.base_model import BaseModel
from training.plain_code import RESULTS, PlainCode, changed, fingerprint, tensors_of
from util.distributed import world_size

log = logging.getLogger(__name__)

WARM_UP = 3  # steps that run eagerly before the capture, in which cuDNN chooses its algorithms
LOOK_AFTER = 200  # steps, after which it is logged if few of them were replayed
STEP = "optimize_parameters"
Method = Callable[[], None]


class Recorder(Protocol):
    """What runs a method for a graph, and captures it; `CudaRecorder`, or a stand-in in tests."""

    def run(self, method: Method) -> None:
        """Run it eagerly, as it will be captured."""

    def capture(self, method: Method) -> Method:
        """Run it once while capturing it; return what replays it."""


class CudaRecorder:
    """Captures on a stream of its own, into memory that all graphs of a step share."""

    def __init__(self, device: torch.device):
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        # An eager step between replays runs on another stream than the capture, which is sound.
        torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)

    def run(self, method: Method) -> None:
        # Autograd remembers the stream on which a weight was first used; a capture must own it.
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            method()
        torch.cuda.current_stream().wait_stream(self.stream)

    def capture(self, method: Method) -> Method:
        graph = torch.cuda.CUDAGraph()
        # The thread that pins the next batches runs meanwhile: in the default mode, "global", a
        # call of another thread spoils a capture.
        options = {"pool": self.pool, "stream": self.stream, "capture_error_mode": "thread_local"}
        with torch.cuda.graph(graph, **options):
            method()
        graph.replay()  # a capture computes nothing
        return graph.replay


class CudaGraphs:
    """Wraps a model's `set_input`, its `graphed` methods and `optimize_parameters`.

    If `optimize_parameters` does nothing but call graphed methods, it becomes one graph; else, as
    with an image pool between them, each method becomes one.

    A graph reads and writes fixed memory. So each tensor attribute that other code sets, such as
    an input or what an image pool returns, is copied into a static buffer before a graph reads it,
    and after a replay the model's attributes are those of the capture, with new values. A batch of
    another shape (an epoch's last), a validation and whatever else needs no gradients run the
    plain methods. A step is captured right after one of its shapes; a batch with fewer images than
    an earlier one is never what is captured.

    ValueError if a captured method could not see a change: of a plain value (a number, a flag), or
    of a tensor in a list or dict of the model.
    """

    def __init__(self, model: BaseModel, recorder: Recorder):
        self.model, self.recorder = model, recorder
        self.buffers: dict[str, Tensor] = {}
        self.steps: Counter[Any] = Counter()  # by what `begin_step` compares, before the capture
        self.shapes: Any = None  # and the loss weight, of the last step, or of the captured one
        self.images = self.most_images = 0  # in the current batch, and in the largest
        self.step_begins, self.mode = False, "eager"
        self.modes: Counter[str] = Counter()  # of all steps
        self.tensors_before: dict[str, Tensor] = {}  # before other code sets new ones
        self.graphs: dict[str, tuple[Method, dict[str, Any]]] = {}  # replay, what it makes
        self.attributes_at_capture: dict[str, dict[str, Any]] = {}  # attributes at the capture
        self.within_step = False  # one graph runs, captured or replayed
        self.plain = PlainCode(model)
        model.set_input = partial(self.set_input, model.set_input)
        if model.graphed:
            model.optimize_parameters = partial(self.run_step, model.optimize_parameters)
        for name in model.graphed:
            setattr(model, name, partial(self.run, name, getattr(model, name)))

    def set_input(self, method: Callable[[Any], None], batch: dict[str, Any]) -> None:
        """Set the input, and mark the start of a step."""
        self.tensors_before, self.step_begins = tensors_of(self.model), True
        sizes = [len(v) for v in batch.values() if isinstance(v, Tensor) and v.dim()]
        self.images = max(sizes, default=0)
        method(batch)

    def run_step(self, method: Method) -> None:
        """Run `optimize_parameters`: as one graph, or as its graphed methods one by one."""
        if not computes_gradients():
            method()
            return
        if self.step_begins:
            self.begin_step(changed(self.tensors_before, tensors_of(self.model)))
        captures = self.mode == "capture" and not self.graphs and not self.plain.acts
        if captures or (self.mode == "replay" and STEP in self.graphs):
            self.within_step = True
            try:
                self.run_graph(STEP, method)
            finally:
                self.within_step = False
            return
        with self.plain.watched() if self.mode == "warm up" else nullcontext():
            method()

    def run(self, name: str, method: Method) -> None:
        """Run a graphed method: eagerly in the first steps, then captured, then replayed."""
        if self.within_step or not computes_gradients():
            method()
            return
        if self.step_begins:
            self.begin_step(changed(self.tensors_before, tensors_of(self.model)))
        if self.mode == "eager" or STEP in self.graphs:
            method()
        elif self.mode == "warm up":
            with self.plain.not_watched():
                self.recorder.run(method)
        else:
            self.run_graph(name, method)
        self.tensors_before = tensors_of(self.model)

    def run_graph(self, name: str, method: Method) -> None:
        """Capture or replay a method, on the tensors that other code has set since the last."""
        self.copy(changed(self.tensors_before, tensors_of(self.model)))
        if name in self.graphs:
            self.replay(name)
        elif self.mode == "capture":
            self.capture(name, method)
        else:
            raise ValueError(
                f"--model {self.model.opt.model}: {name} was not called in the step that was "
                f"captured; leave it out of `graphed`, or use --no_graphs"
            )
        self.tensors_before = tensors_of(self.model)

    def begin_step(self, inputs: dict[str, Tensor]) -> None:
        """Decide how the methods of a step run, by the shapes of its inputs and its loss weight.

        Ranks may decide differently: a replay exchanges what an eager step does.
        """
        shapes = self.model.loss_weight, *((k, v.shape, v.dtype) for k, v in sorted(inputs.items()))
        self.most_images = max(self.most_images, self.images)
        if self.graphs:
            self.mode = "replay" if shapes == self.shapes else "eager"
        elif self.images < self.most_images:
            self.mode = "eager"
        else:
            self.steps[shapes] += 1
            # What a model keeps for the last shapes, such as tables of indices, is there now; a
            # capture could not make it.
            captures = self.steps[shapes] > WARM_UP and shapes == self.shapes
            self.mode, self.shapes = "capture" if captures else "warm up", shapes
        self.step_begins = False
        self.modes[self.mode] += 1
        if self.modes.total() == LOOK_AFTER and self.modes["replay"] < LOOK_AFTER / 2:
            log.info(
                "%d of %d steps ran without CUDA graphs, which replay batches of one size; a "
                "--preprocess that crops makes all images equal",
                *(LOOK_AFTER - self.modes["replay"], LOOK_AFTER),
            )

    def copy(self, values: dict[str, Tensor]) -> None:
        """Copy tensors that plain code has set into static buffers, which take their place."""
        for name, value in values.items():
            if name not in self.buffers:
                self.buffers[name] = torch.empty_like(value)
            buffer = self.buffers[name]
            if (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
                raise ValueError(
                    f"--model {self.model.opt.model}: {name} changes its shape within a step, from "
                    f"{tuple(buffer.shape)} to {tuple(value.shape)}; use --no_graphs"
                )
            setattr(self.model, name, buffer.copy_(value, non_blocking=True))

    def replay(self, name: str) -> None:
        """Replay a graph; the attributes are those of the capture, with new values."""
        self.check(name)
        replay, outputs = self.graphs[name]
        replay()
        copies = {k: dict(v) if type(v) is dict else v for k, v in outputs.items()}
        vars(self.model).update(copies)

    def capture(self, name: str, method: Method) -> None:
        """Capture a method, and remember what it reads and makes."""
        before = dict(vars(self.model))
        replay = self.recorder.capture(method)
        after = vars(self.model)
        outputs = {k: v for k, v in after.items() if k not in before or v is not before[k]}
        outputs |= {k: dict(after[k]) for k in ("losses", "visuals")}
        self.graphs[name] = replay, outputs
        self.attributes_at_capture[name] = {
            k: fingerprint(v) for k, v in before.items() if k not in RESULTS
        }

    def check(self, name: str) -> None:
        """Raise a ValueError if an attribute is not what the graph was captured with."""
        output_names = set().union(*(outputs for _, outputs in self.graphs.values()))
        current = vars(self.model)
        reader = "the method that reads it" if name == STEP else name
        for attribute, value in self.attributes_at_capture[name].items():
            if attribute not in output_names and fingerprint(current.get(attribute)) != value:
                raise ValueError(
                    f"--model {self.model.opt.model}: {attribute} has changed since {name} was "
                    f"captured as a CUDA graph, which cannot see it: keep it in a tensor that is "
                    f"an attribute of its own, leave {reader} out of `graphed`, or use --no_graphs"
                )


def computes_gradients() -> bool:
    """Return whether gradients are computed, unlike in a validation or in an estimate."""
    return torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def enable_cuda_graphs(model: BaseModel, opt: Any) -> CudaGraphs | None:
    """Let a training on a GPU replay the model's `graphed` methods as CUDA graphs.

    Where that is not possible, log why, and return None.
    """
    if model.device.type != "cuda":
        return None
    reasons = {
        "--no_graphs": opt.no_graphs,
        "--gan_mode wgangp": opt.gan_mode == "wgangp",
        "--grad_accum": opt.grad_accum > 1,
        "several processes": world_size() > 1 and not opt.distributed_graphs,
        "several processes without NCCL": (
            world_size() > 1 and opt.distributed_graphs and "nccl" not in dist.get_backend()
        ),
        "--instance_feat": getattr(opt, "instance_feat", False),  # counts instances
        "--niter_fix_global": getattr(opt, "niter_fix_global", 0) > 0,  # other weights learn later
        "--checkpoint_activations": getattr(opt, "checkpoint_activations", False),
    }
    for reason, is_so in reasons.items():
        if is_so:
            log.info("no CUDA graphs with %s: each kernel is launched by itself", reason)
            return None
    if getattr(opt, "lambda_r1", 0):
        log.info("--lambda_r1: R1, in every 16th step, is not in a CUDA graph")
    return CudaGraphs(model, CudaRecorder(model.device))
