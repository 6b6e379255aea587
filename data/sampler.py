"""The batches of an epoch, and the seeding of items."""

import random
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from data.dataset_files import input_hash
from util import distributed
from util.errors import with_source_line


class EpochBatchSampler(Sampler):
    """Yields batches of (epoch, index), in an order drawn from (seed, epoch)."""

    def __init__(self, size: int, batch_size: int, *, shuffle: bool, seed: int):
        self.size, self.batch_size, self.shuffle, self.seed = size, batch_size, shuffle, seed
        self.epoch, self.done = 1, 0
        self.chosen: Container[int] | None = None
        self.rank, self.world_size = 0, 1

    def restrict_to(self, chosen: Container[int]) -> None:
        """Yield only these items."""
        self.chosen = chosen

    def split_by_rank(self) -> None:
        """Yield only this rank's part of each batch."""
        self.rank, self.world_size = distributed.rank(), distributed.world_size()

    def batch_sizes(self) -> Iterator[tuple[int, int] | None]:
        """Yield (local, global) batch sizes; None in a single process.

        All ranks have the same number of batches. If the last batch has fewer images than ranks,
        some ranks get one image with weight 0.
        """
        for batch in self._batches():
            local_size = len(batch[self._part(len(batch))])
            yield None if self.world_size == 1 else (local_size, len(batch))

    def __len__(self) -> int:
        return len(self._batches())

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        for batch in self._batches():
            indices = batch[self._part(len(batch))] or batch[-1:]
            yield [(epoch, index) for index in indices]

    def _part(self, size: int) -> slice:
        return slice(*(n * size // self.world_size for n in (self.rank, self.rank + 1)))

    def _batches(self) -> list[Sequence[int]]:
        order: Sequence[int] = range(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size).tolist()
        order = order[self.done :]
        if self.chosen is not None:
            order = [index for index in order if index in self.chosen]
        return [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]


class SeededDataset(Dataset):
    """Seeds Python, NumPy and torch with (seed, epoch, index) for each item, then restores them.

    Returns the item and the errors of skipped images. ValueError and OSError are returned as the
    item, not raised, because a worker would wrap them in a traceback. With `replace_bad`, the
    next readable item replaces an unreadable one.
    """

    def __init__(self, dataset: Dataset, seed: int, replace_bad: bool = False):
        self.dataset, self.seed, self.replace_bad = dataset, seed, replace_bad
        self.numbered = False
        self.generator = np.random.MT19937()

    def __getitem__(self, key: tuple[int, int]) -> tuple[Any, list[str]]:
        epoch, index = key
        states = random.getstate(), torch.default_generator.get_state()
        numpy_generator = np.random.get_bit_generator()
        np.random.set_bit_generator(self.generator)  # 15 times faster than copying its state
        seeds = np.random.SeedSequence([self.seed, epoch, index]).generate_state(3)
        random.seed(int(seeds[0]))
        np.random.seed(seeds[1])
        torch.default_generator.manual_seed(int(seeds[2]))
        try:
            item, bad = self._read(index)
            if self.numbered and isinstance(item, dict):
                # The files have just been read, so they are hashed from memory, by the workers.
                item = item | {"index": index, "input": input_hash(item)}
            return item, bad
        finally:
            random.setstate(states[0])
            torch.default_generator.set_state(states[1])
            np.random.set_bit_generator(numpy_generator)

    def _read(self, index: int) -> tuple[Any, list[str]]:
        if not self.replace_bad:
            try:
                return self.dataset[index], []
            except (ValueError, OSError) as error:
                return with_source_line(error), []  # pickling drops the traceback
        bad: list[str] = []
        for n in range(index, index + len(self.dataset)):
            try:
                return self.dataset[n % len(self.dataset)], bad
            except (ValueError, OSError) as error:
                bad.append(str(error))
        return ValueError(f"no image can be read ({bad[0]})"), []
