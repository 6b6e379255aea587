"""R1, a penalty of D's gradient, in a step of its own after every 16th step of a training.

Sources: Mescheder et al., arXiv:1801.04406, §4.1; lazily, Karras et al., arXiv:1912.04958, §3.1.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from models.data_parallel import loss_weights
from models.layers import frozen_but
from models.losses import r1_penalty

EVERY = 16  # steps


class LazyR1:
    """γ/2 · E‖∇_x D(x)‖² on real images, times 16, in every 16th step of a `BaseModel`."""

    def __init__(self, gamma: float):
        self.gamma = gamma
        self.steps = 0  # of the training
        self.last: Tensor | float = 0.0  # the penalty of the last such step, a rank's part of it

    def step(self, model: Any, batches: Sequence[dict[str, Any]]) -> None:
        """Count a step of the training on some batches; after every 16th let D learn the penalty.

        The model's input is the last of the batches.
        """
        self.steps += 1
        if not self.gamma or self.steps % EVERY:
            return
        optimizer = model.optimizers["D"]
        optimizer.zero_grad(set_to_none=True)
        self.last, loss_weight = 0.0, model.loss_weight
        with frozen_but(optimizer, model.nets.values()):
            for batch, weight in zip(batches, loss_weights(batches), strict=True):
                if batches[1:]:
                    model.set_input(batch)
                penalty = self.penalty(model) * weight
                (penalty * EVERY).backward()
                self.last = self.last + penalty.detach()
        model.loss_weight = loss_weight  # of the losses of the step, which are weighted already
        optimizer.step()

    def penalty(self, model: Any) -> Tensor:
        """γ/2 · E‖∇_x D(x)‖², summed over the model's discriminators."""
        image = model.augment.image
        terms = []
        for netD, real in model.reals():
            with activations_kept(netD):
                terms.append(r1_penalty(netD, model.augment(real)[0], image))
        return self.gamma / 2 * sum(terms)

    def state_dict(self) -> dict[str, float]:
        return {"steps": self.steps, "last": float(self.last)}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.steps, self.last = state["steps"], state["last"]


@contextlib.contextmanager
def activations_kept(netD: nn.Module) -> Iterator[None]:
    """Within it, D keeps its activations in spite of --checkpoint_activations: what is computed
    again has no second derivative.
    """
    recompute = getattr(netD, "recompute", False)
    netD.recompute = False
    try:
        yield
    finally:
        netD.recompute = recompute
