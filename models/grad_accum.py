"""Gradient accumulation: one step on several batches, as on one batch of all their images."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.data_parallel import loss_weights
from models.layers import frozen_but


def accumulate(model: Any, batches: Sequence[dict[str, Any]]) -> None:
    """For each of a `BaseModel`'s updates: add up the gradients of all batches, then step once.

    The model's losses become means over all images. An update whose name begins with G trains
    generators, and the others discriminators.
    """
    weights = loss_weights(batches)
    fakes: list[dict[str, Tensor]] = [{} for _ in batches]  # made before G's step, for D
    losses: Counter[str] = Counter()
    for name, loss in model.updates.items():
        optimizer = model.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        with frozen_but(optimizer, model.nets.values()):
            for batch, weight, batch_fakes in zip(batches, weights, fakes, strict=True):
                model.set_input(batch)
                make_fakes(model, batch_fakes, trains_G=name.startswith("G"))
                model.losses = {}
                model.weighted(loss, weight).backward()
                losses.update({k: v.detach() * weight for k, v in model.losses.items()})
        optimizer.step()
    model.losses, model.loss_weight = dict(losses), 1.0


def make_fakes(model: Any, kept: dict[str, Tensor], *, trains_G: bool) -> None:
    """Make the fakes that an update needs.

    A G update runs `forward` with gradients, and its fakes go to `kept`. A D update takes the
    fakes in `kept`, or, if D comes first, runs `forward` without gradients; then it queries the
    image pool.
    """
    if trains_G:
        model.forward()
        attributes = vars(model)  # without D there are no fakes for it
        kept.update({name: attributes[name] for name in model.pooled if name in attributes})
        return
    if not kept:
        with torch.no_grad():
            model.forward()
    vars(model).update(kept)
    model.query_pool()
