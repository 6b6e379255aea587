"""Models by file name."""

from typing import TYPE_CHECKING, Any

from util.registry import find_class

if TYPE_CHECKING:
    from models.base_model import BaseModel


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
    model = build(opt)
    if isinstance(model, NamedModel):
        model.collect()
    return model
