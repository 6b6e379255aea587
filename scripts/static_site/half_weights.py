"""Keep a graph's weights in half precision: half the bytes to download."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from scripts.onnx_export.check import Check, run_graph, session_of

if TYPE_CHECKING:
    import onnx

FEWEST = 256  # numbers in a weight that is worth it
MOST_LEVELS = 2  # grey levels by which a value may move
MOST_SHARE = 0.001  # of the values that move further


class Moved(NamedTuple):
    """How far half precision moves outputs: the most grey levels, and the share of values that it
    moves by more than `MOST_LEVELS`.
    """

    levels: float
    share: float

    @property
    def allowed(self) -> bool:
        """Whether it is little enough; NaN is not."""
        return self.share <= MOST_SHARE


def with_half_weights(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a copy whose large float32 weights are stored as float16, and cast to float32 by the
    graph.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    weights, casts = [], []
    for weight in halved.graph.initializer:
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < FEWEST:
            weights.append(weight)
            continue
        with np.errstate(over="ignore"):  # `moved_by` finds what became infinite
            half = numpy_helper.to_array(weight).astype(np.float16)
        weights.append(numpy_helper.from_array(half, f"{weight.name}_half"))
        casts.append(
            helper.make_node("Cast", [weights[-1].name], [weight.name], to=TensorProto.FLOAT)
        )
    nodes = [*casts, *halved.graph.node]
    del halved.graph.initializer[:], halved.graph.node[:]
    halved.graph.initializer.extend(weights)
    halved.graph.node.extend(nodes)
    return halved


def moved_by(full: Path, half: Path, check: Check, batches: Sequence[np.ndarray]) -> Moved:
    """Compare the outputs of two graphs on batches in the format that `check` draws."""
    sessions, differences = [session_of(path) for path in (full, half)], []
    for batch in batches:
        inputs = {k: x.numpy() for k, x in check.inputs(torch.from_numpy(batch)).items()}
        a, b = (run_graph(session, inputs).astype(np.float32) for session in sessions)
        differences.append(np.abs(a - b).ravel() * (1 if check.processing else 127.5))
    values = np.concatenate(differences)
    return Moved(float(values.max()), float((~(values <= MOST_LEVELS)).mean()))
