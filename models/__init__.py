"""Models by file name."""

from typing import TYPE_CHECKING, Any

from util.registry import find_class

if TYPE_CHECKING:
    from models.base_model import BaseModel

# What optimize_parameters calls in models of the "CycleGAN and pix2pix" repository, but not here.
STEPS = ("backward", "backward_G", "backward_D", "backward_D_A", "backward_D_B", "backward_D_basic")


def create_model(opt: Any) -> "BaseModel":
    """Build the model that `--model` names, on the CPU; its `setup(opt)` makes it ready."""
    from models.by_name import NamedModel

    build = find_class("models", opt.model, "--model")
    names = getattr(getattr(build.__init__, "__code__", None), "co_names", ())
    if "model_names" in names and not issubclass(build, NamedModel):
        raise ValueError(
            f"--model {opt.model}: its file lists model_names; that needs NamedModel of "
            f"models/by_name.py in place of BaseModel (docs/migrating.md)"
        )
    classes = build.__mro__
    trains = next(i for i, c in enumerate(classes) if "optimize_parameters" in vars(c))
    for name in STEPS:
        if any(name in vars(c) for c in classes[:trains]):
            raise ValueError(
                f"--model {opt.model}: nothing calls its {name}; write optimize_parameters too, or "
                f"loss_G and loss_D, which return the losses (docs/migrating.md)"
            )
    model = build(opt)
    if isinstance(model, NamedModel):
        model.collect()
    return model
