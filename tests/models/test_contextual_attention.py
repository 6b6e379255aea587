"""Contextual attention in blocks: the plain layer's numbers, in bounded memory."""

from collections.abc import Callable

import pytest
import torch
from support.peaks import linux_only, peak_in_a_process
from torch import Tensor

from models import block_attention
from models import contextual_attention as module
from models.contextual_attention import contextual_attention, resize_nearest
from scripts.dev.plain_attention import plain_attention

SIZES = [(16, 16), (12, 20), (15, 16), (9, 13), (2, 10), (2, 2), (1, 1), (7, 3)]


def inputs(height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return features and masks: of three images, each has a hole of its own, and one none."""
    torch.manual_seed(height * width)
    x, mask = torch.randn(3, 5, height, width, dtype=dtype), torch.zeros(3, 1, height, width)
    mask[0, :, : height // 2, width // 3 : width // 2 + 1] = 1
    mask[1, :, height // 3 :, : width // 4 + 1] = 1
    return x, mask.to(dtype)


def with_gradient(layer: Callable[..., Tensor], x: Tensor, mask: Tensor, **how) -> list[Tensor]:
    x = x.clone().requires_grad_()
    y = layer(x, mask, **how)
    torch.manual_seed(3)
    (y * torch.randn_like(y)).sum().backward()
    return [y.detach(), x.grad]


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("block", [1, 300, 1 << 23])
def test_blocks_give_the_plain_layers_features_and_gradients(size, fuse, block) -> None:
    x, mask = inputs(*size)
    wanted = with_gradient(plain_attention, x, mask, fuse=fuse)
    found = with_gradient(contextual_attention, x, mask, fuse=fuse, block=block)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() < 1e-10 * max(1, other.abs().max())


@pytest.mark.parametrize("fuse", [True, False])
def test_float32_is_as_near(fuse) -> None:
    x, mask = inputs(24, 32, torch.float32)
    wanted = with_gradient(plain_attention, x, mask, fuse=fuse)
    for block in (5000, 1 << 23):
        found = with_gradient(contextual_attention, x, mask, fuse=fuse, block=block)
        for one, other in zip(found, wanted, strict=True):
            assert (one - other).abs().max() < 1e-5 * max(1, other.abs().max())


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_an_export_has_the_same_in_few_operations(size, fuse, monkeypatch) -> None:
    x, mask = inputs(*size)
    wanted = contextual_attention(x, mask, fuse=fuse)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(module, "attention_in_blocks", None)
    torch.testing.assert_close(contextual_attention(x, mask, fuse=fuse), wanted)


def test_fusing_changes_the_features() -> None:
    x, mask = inputs(16, 16)
    fused, not_fused = (contextual_attention(x, mask, fuse=fuse) for fuse in (True, False))
    assert (fused - not_fused).abs().max() > 0.1


def test_nothing_is_taken_from_the_hole() -> None:
    x, mask = inputs(16, 24)
    x.requires_grad_()
    given = contextual_attention(x, mask)[0].sum()  # sums count only the patches that are pasted
    before = given.item()
    with torch.no_grad():
        x[1] += 100  # of another image
        x[0, :, 2:6, 9:12] = 0
    again = contextual_attention(x, mask)
    full = contextual_attention(x, torch.ones_like(mask))
    assert full.abs().max() == 0  # no patch without a hole
    assert torch.isfinite(again).all()
    assert before != 0


def test_each_image_has_its_own_mask() -> None:
    x, mask = inputs(12, 16)
    together = contextual_attention(x, mask)
    for i in range(len(x)):
        torch.testing.assert_close(together[i : i + 1], contextual_attention(x[[i]], mask[[i]]))
    assert not torch.allclose(together, contextual_attention(x, mask[[0, 0, 0]]))


def test_inference_and_training_give_the_same_and_share_what_is_kept() -> None:
    x, mask = inputs(14, 18)
    with torch.inference_mode():
        shown = contextual_attention(x, mask)
    trained = with_gradient(contextual_attention, x, mask)[0]
    assert torch.equal(shown, trained)


@pytest.mark.parametrize(("size", "target"), [(64, 16), (16, 8), (10, 5), (7, 4), (9, 1), (3, 3)])
def test_nearest_pixels_are_those_of_aligned_corners(size, target) -> None:
    x = torch.arange(size * size, dtype=torch.float32).view(1, 1, size, size)
    index = torch.linspace(0, size - 1, target, dtype=torch.float64).add(0.5).floor().long()
    assert torch.equal(resize_nearest(x, target, target), x[:, :, index][..., index])


def test_what_a_cuda_graph_reads_is_kept_for_good(monkeypatch) -> None:
    monkeypatch.setattr(block_attention, "HELD", [])
    x, mask = inputs(8, 8)
    contextual_attention(x, mask)
    assert block_attention.HELD == []
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert block_attention.held(x, torch.device("cpu")) is x and block_attention.HELD == []
    assert block_attention.held(x, torch.device("cuda")) is x and block_attention.HELD[0] is x


MEASURE = """
import torch
from models.contextual_attention import contextual_attention
from support.peaks import measured_peak
torch.set_num_threads(1)
x = torch.randn(1, 4, {size}, {size}, requires_grad=True)
mask = torch.zeros(1, 1, {size}, {size})
mask[..., 20:50, 30:60] = 1
contextual_attention(x[..., :16, :16], mask[..., :16, :16]).sum().backward()
with measured_peak() as peak:
    contextual_attention(x, mask, block=1 << 21).sum().backward()
print(peak.grown)
"""


@linux_only
def test_memory_is_that_of_blocks_forwards_and_backwards() -> None:
    # All 9,216² scores are 340 MB, of which a backward pass keeps several copies.
    lines = MEASURE.format(size=192)
    assert peak_in_a_process(lines) < 0.2
