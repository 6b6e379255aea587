"""Models by file name."""

from typing import TYPE_CHECKING, Any

from util.registry import find_class

if TYPE_CHECKING:
    from models.base_model import BaseModel

# Methods of models of the "CycleGAN and pix2pix" repository, which no model here has.
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
    steps = [name for name in STEPS if hasattr(build, name)]
    if steps and not issubclass(build, NamedModel):
        raise ValueError(
            f"--model {opt.model}: nothing calls its {steps[0]}; in a class of models/by_name.py's "
            f"NamedModel optimize_parameters does, in others loss_G and loss_D take its place "
            f"(docs/migrating.md)"
        )
    model = build(opt)
    if isinstance(model, NamedModel):
        model.collect()
    return model
