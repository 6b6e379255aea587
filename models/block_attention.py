"""The weights of contextual attention in blocks of bounded memory, forwards and backwards.

The scores of all pairs of patches are as many as the square of the number of patches. They are
computed in blocks, and again in the backward pass, so that only one block is ever in memory.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHARPNESS = 10.0  # of the softmax
BLOCK = 1 << 23  # scores in memory at a time: 32 MB, in each of three places


def attention_in_blocks(
    queries: Tensor,
    keys: Tensor,
    valid: Tensor,
    patches: Tensor,
    size: tuple[int, int],
    fuse: bool,
    block: int,
) -> Tensor:
    """Return the patches of each query, (N, L, 16C), with at most about `block` scores at a time:
    those of several images, or of some lines of queries of one image.
    """
    h, w = size
    images = max(1, min(len(keys), block // (h * w) ** 2))
    rows = max(1, min(h, block // (images * h * w * w))) * w
    parts = zip(*(tensor.split(images) for tensor in (queries, keys, valid, patches)), strict=True)
    return torch.cat([BlockAttention.apply(*part, size, rows, fuse) for part in parts])


HELD: list[Any] = []  # what captured CUDA graphs read


def held(of: Any, device: torch.device) -> Any:
    """Keep for good what a CUDA graph will read that is being captured, since graphs refer to
    memory alone and caches forget.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        HELD.append(of)
    return of


def kept(numbers: list[int], device: torch.device) -> Tensor:
    """Return numbers as a tensor that autograd takes, wherever it is first needed."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)


class BlockAttention(torch.autograd.Function):
    """weights · patches, with weights = softmax(10 · valid · scores) · valid, over the keys of each
    query. The backward pass computes the weights of each block again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,  # (n, L or, with `fuse`, L + 1, 9C)
        keys: Tensor,  # (n, L, 9C)
        valid: Tensor,  # (n, L)
        patches: Tensor,  # (n, L, 16C)
        size: tuple[int, int],
        rows: int,
        fuse: bool,
    ) -> Tensor:  # (n, L, 16C)
        ctx.save_for_backward(queries, keys, valid, patches)
        ctx.how = size, rows, fuse
        with torch.autocast(keys.device.type, enabled=False):
            blocks = Blocks(queries, keys, valid, *ctx.how)
            usable = patches * valid[..., None]
            return torch.cat([blocks.weights(*span) @ usable for span in blocks.ranges()], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, valid, patches = ctx.saved_tensors
        with torch.autocast(keys.device.type, enabled=False):
            blocks, usable = Blocks(queries, keys, valid, *ctx.how), patches * valid[..., None]
            gradients = [torch.zeros_like(tensor) for tensor in (queries, keys, patches)]
            grad_queries, grad_keys, grad_patches = gradients
            for start, stop in blocks.ranges():
                weights, grad_block = blocks.weights(start, stop), grad[:, start:stop]
                grad_patches.baddbmm_(weights.mT, grad_block)
                index, grad_scores = blocks.backward(weights, grad_block @ usable.mT, start, stop)
                grad_keys.baddbmm_(grad_scores.mT, queries.index_select(1, index))
                grad_queries.index_add_(1, index, grad_scores @ keys)  # to each query once
            grad_patches.mul_(valid[..., None])
        return grad_queries, grad_keys, None, grad_patches, None, None, None


class Neighbours(NamedTuple):
    """Which queries the fused scores of a block of queries need, and where they lie.

    The fusions add three rows of scores each: they are numbered among those before the fusion. The
    ways back are numbered among those after it, and the number after the last is a row of zeros.
    """

    raw: Tensor  # the queries whose scores are computed; h·w is the one of zeros
    by_row: list[Tensor]
    by_column: list[Tensor]
    back_by_row: list[Tensor]
    back_by_column: list[Tensor]


@lru_cache(maxsize=256)
def neighbours(h: int, w: int, start: int, stop: int, device: torch.device) -> Neighbours:
    """Return what the queries `start` to `stop` of h·w need: those before and after them in a
    column, and those before and after these in a row. A line goes on in the next.
    """
    zero_row = h * w

    def down(i: int, step: int) -> int:
        position = i % w * h + i // w + step  # by columns
        return position % h * w + position // h if 0 <= position < h * w else zero_row

    def right(i: int, step: int) -> int:
        return i + step if i < zero_row and 0 <= i + step < h * w else zero_row

    columns = [[down(i, step) for i in range(start, stop)] for step in (-1, 0, 1)]
    middle = sorted(set().union(*columns))
    lines = [[right(i, step) for i in middle] for step in (-1, 0, 1)]
    raw = sorted(set().union(*lines))
    ways = []
    for wanted, sources in ((lines, raw), (columns, middle)):
        place = {number: i for i, number in enumerate(sources)}
        there = [[place[number] for number in numbers] for numbers in wanted]
        back = [[len(numbers)] * len(sources) for numbers in wanted]
        for targets, numbers in zip(back, there, strict=True):
            for i, number in enumerate(numbers):
                targets[number] = i  # of the row of zeros any, as nothing comes of its gradient
        ways.append([[kept(numbers, device) for numbers in way] for way in (there, back[::-1])])
    (by_row, back_by_row), (by_column, back_by_column) = ways
    return Neighbours(kept(raw, device), by_row, by_column, back_by_row, back_by_column)


class Blocks:
    """The weights of blocks of queries, and the way back to their scores.

    All blocks use the same memory, since allocators do not find what is free for the next one.
    """

    def __init__(
        self,
        queries: Tensor,
        keys: Tensor,
        valid: Tensor,
        size: tuple[int, int],
        rows: int,
        fuse: bool,
    ):
        self.queries, self.keys, self.size, self.rows, self.fuse = queries, keys, size, rows, fuse
        self.sharpness = SHARPNESS * valid[:, None]  # patches with a hole have the score 0
        self.memory: dict[str, Tensor] = {}

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Yield the first query of each block and the one after its last."""
        count = self.keys.shape[1]
        for start in range(0, count, self.rows):
            yield start, min(start + self.rows, count)

    def neighbours(self, start: int, stop: int) -> Neighbours:
        device = self.keys.device
        return held(neighbours(*self.size, start, stop, device), device)

    def room(self, name: str, count: int) -> Tensor:
        """Return the memory `name` as `count` rows of scores, (n, count, L)."""
        shape = len(self.keys), count, self.keys.shape[1]
        numbers = shape[0] * shape[1] * shape[2]
        if name not in self.memory or self.memory[name].numel() < numbers:
            self.memory[name] = self.keys.new_empty(numbers)
        return self.memory[name][:numbers].view(shape)

    def weights(self, start: int, stop: int) -> Tensor:
        """Return how much of each patch every query of a block takes, (n, stop − start, L)."""
        if self.fuse:
            needed = self.neighbours(start, stop)
            raw, scores = self.queries.index_select(1, needed.raw), self.room("a", len(needed.raw))
            torch.bmm(raw, self.keys.mT, out=scores)
            scores = self.diagonal(scores, needed.by_row, "b")
            turned = self.room("a", scores.shape[1])
            turned.unflatten(2, self.size[::-1]).copy_(scores.unflatten(2, self.size).mT)
            scores = self.diagonal(turned, needed.by_column, "b")
        else:
            scores = self.room("b", stop - start)
            torch.bmm(self.queries[:, start:stop], self.keys.mT, out=scores)
        return torch.softmax(scores.mul_(self.sharpness), 2, out=self.room("a", stop - start))

    def backward(
        self, weights: Tensor, grad: Tensor, start: int, stop: int
    ) -> tuple[Tensor, Tensor]:
        """Return which queries a block needs, and the gradient of their scores before the fusion,
        from its weights and their gradient; the weights are lost.
        """
        grad.mul_(weights)
        grad.sub_(weights.mul_(grad.sum(2, keepdim=True))).mul_(self.sharpness)
        if not self.fuse:
            return torch.arange(start, stop, device=grad.device), grad
        needed = self.neighbours(start, stop)
        after = self.with_zeros("a", grad)
        before = self.diagonal(after, needed.back_by_column, "b")
        turned = before.unflatten(2, self.size[::-1]).mT
        after = self.with_zeros("a", turned)
        return needed.raw, self.diagonal(after, needed.back_by_row, "b")

    def with_zeros(self, name: str, rows: Tensor) -> Tensor:
        """Return rows of scores, (n, count, …), and one of zeros after them."""
        padded = self.room(name, rows.shape[1] + 1)
        padded[:, :-1].unflatten(2, rows.shape[2:]).copy_(rows)
        padded[:, -1].zero_()
        return padded

    def diagonal(self, scores: Tensor, rows: list[Tensor], name: str) -> Tensor:
        """Return Σ_d scores[rows_d[q], k + d] for d = −1, 0, 1.

        If rows_d[q] is q + d, it is a convolution with the 3×3 identity.
        """
        total, other = self.room(name, len(rows[1])), self.room("c", len(rows[1]))
        torch.index_select(scores, 1, rows[1], out=total)
        torch.index_select(scores, 1, rows[0], out=other)
        total[..., 1:] += other[..., :-1]
        torch.index_select(scores, 1, rows[2], out=other)
        total[..., :-1] += other[..., 1:]
        return total
