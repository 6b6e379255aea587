"""Models by file name."""

import inspect
from typing import TYPE_CHECKING, Any

from util.registry import find_class

if TYPE_CHECKING:
    from models.base_model import BaseModel


def create_model(opt: Any) -> "BaseModel":
    """Build the model that `--model` names, on the CPU; its `setup(opt)` makes it ready."""
    from models.by_name import NamedModel

    build = find_class("models", opt.model, "--model")
    try:
        return build(opt)
    except AttributeError:
        if "model_names" in inspect.getsource(build) and not issubclass(build, NamedModel):
            raise ValueError(
                f"--model {opt.model}: its file lists model_names; that wants NamedModel of "
                f"models/by_name.py in place of BaseModel (docs/migrating.md)"
            ) from None
        raise
