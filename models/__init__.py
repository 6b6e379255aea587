"""Models by file name."""

from typing import TYPE_CHECKING, Any

from util.registry import find_class

if TYPE_CHECKING:
    from models.base_model import BaseModel


def create_model(opt: Any) -> "BaseModel":
    """Build the model that `--model` names, on the CPU; its `setup(opt)` makes it ready."""
    return find_class("models", opt.model, "--model")(opt)
