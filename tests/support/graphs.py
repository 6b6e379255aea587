"""A stand-in for CUDA graphs, for machines without a GPU."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from training.cuda_graphs import CudaGraphs


class StandIn:
    """Behaves as CUDA graphs do, on any device: a replay computes what the capture computed, with
    the plain values of the capture, from the tensors that the capture read and into those that it
    made.
    """

    def __init__(self) -> None:
        self.graphs: CudaGraphs | None = None
        self.live: dict[str, Any] = {}  # what the last method left, with its autograd graph
        self.replays = 0

    def run(self, method: Callable[[], None]) -> None:
        method()

    def capture(self, method: Callable[[], None]) -> Callable[[], None]:
        model = self.graphs.model
        frozen, before = dict(vars(model)), tensors(vars(model))
        method()
        made = {k: v for k, v in tensors(vars(model)).items() if before.get(k) is not v}
        self.live = dict(vars(model))

        def replay() -> None:
            self.replays += 1
            attributes, buffers = dict(vars(model)), self.graphs.buffers
            static = {k for k, v in attributes.items() if v is buffers.get(k)}
            vars(model).update({k: v for k, v in frozen.items() if not isinstance(v, Tensor)})
            vars(model).update({k: v for k, v in self.live.items() if k not in static})
            model.losses, model.visuals = dict(model.losses), dict(model.visuals)
            method()
            self.live = dict(vars(model))
            for key, value in tensors(vars(model)).items():
                if key in made and made[key] is not value:
                    made[key].data.copy_(value.data)
            vars(model).update(attributes)  # Python sees nothing of a replay

        return replay


def tensors(values: dict[str, Any]) -> dict[tuple, Tensor]:
    """The tensors that a method makes: attributes, losses, images."""
    found = {}
    for name, value in values.items():
        items = value.items() if name in ("losses", "visuals") else [(None, value)]
        found |= {(name, k): v for k, v in items if isinstance(v, Tensor)}
    return found


def graphs_of(model: Any) -> StandIn:
    """Let a stand-in replay a model's methods."""
    stand_in = StandIn()
    stand_in.graphs = CudaGraphs(model, stand_in)
    return stand_in
