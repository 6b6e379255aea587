"""The end of a torchrun launch."""

import weakref

import torch.distributed as dist
from torch import nn

from util.distributed import launch


def test_graphs_of_collectives_are_gone_before_the_group_ends(monkeypatch) -> None:
    """NCCL waits for them, and a model and its graphs refer to each other."""
    model = nn.Identity()
    model.itself = [model]
    seen, found = weakref.ref(model), []
    monkeypatch.setattr(dist, "destroy_process_group", lambda: found.append(seen()))
    del model
    launch._leave()
    assert found == [None]
