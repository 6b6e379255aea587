"""Large images translated tile by tile: torch only."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.batch_norm import PerImageBatchNorm
from models.layers import InstanceNorm, reflect_index
from models.networks import Generator
from models.resize_conv import ResizeConv2d


class Tiles(nn.Module):
    """A generator's layers, run on overlapping tiles of an image and put together again.

    Tiles start on multiples of the generator's stride, so that each is sampled as the whole would
    be. Where nothing but the receptive field lies between a pixel and the whole, every pixel is
    taken from a tile that holds all of its field, and the result is that of the whole image;
    elsewhere (live statistics, dropout, a field wider than the overlap) tiles are blended.
    """

    def __init__(self, netG: Generator, tile: int, overlap: int | None = None):
        """`tile` and `overlap` are in pixels and rounded up to multiples of the stride; by default
        tiles overlap by the receptive diameter where that gives the whole image's result, else by
        at most half a tile. ValueError if tiles would not get on.
        """
        super().__init__()
        self.layers, self.stride = netG.model, netG.stride
        self.diameter = receptive_diameter(netG)
        self.tile = self._rounded(max(tile, netG.min_size))
        if overlap is None:
            half = self.tile // 2 // self.stride * self.stride
            fits = self.diameter < self.tile and self._sees_its_field_only()
            overlap = self.diameter if fits else min(self.diameter, half)
            if self.diameter and not overlap:
                raise ValueError(
                    f"--tile {tile}: tiles of {self.tile} pixels cannot overlap, as they start on "
                    f"multiples of {self.stride}; use --tile {2 * self.stride}, or --overlap 0 "
                    f"with seams"
                )
        self.overlap = self._rounded(overlap)
        self.step = self.tile - self.overlap
        if self.step <= 0:
            raise ValueError(
                f"--overlap {overlap}: leaves nothing of --tile {tile}, as both are rounded up to "
                f"multiples of {self.stride}; use --tile {self.overlap + self.stride} or more"
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, output_nc, H, W), H and W multiples of the stride."""
        height, width = x.shape[-2:]
        rows, columns = self._starts(height), self._starts(width)
        if len(rows) == len(columns) == 1:
            return self.layers(x)
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        weights_y, weights_x = self._weights(rows, height, x), self._weights(columns, width, x)
        whole = None
        for top, weight_y in zip(rows, weights_y, strict=True):
            for left, weight_x in zip(columns, weights_x, strict=True):
                ys, xs = (slice(start, start + self.tile) for start in (top, left))
                part = x[..., ys, xs].contiguous(memory_format=layout)
                fake = self.layers(part).float()
                if whole is None:
                    whole = fake.new_zeros(*fake.shape[:2], height, width)
                whole[..., ys, xs] += fake * weight_y[ys, None] * weight_x[xs]
        return whole

    def stream(
        self,
        size: tuple[int, int],
        read: Callable[[slice, slice], Tensor],
        write: Callable[[int, Tensor], None],
    ) -> None:
        """Translate an image of (height, width), multiples of the stride, without holding it whole.

        `read` gives the pixels of rows and columns, (1, C, h, w); `write` takes the output from a
        row on, (1, output_nc, h, width), from top to bottom. The output is that of `forward`.
        """
        height, width = size
        rows, columns = self._starts(height), self._starts(width)
        rest = None  # what this row of tiles and the next both have a part in
        for number, top in enumerate(rows):
            ys, band = slice(top, min(top + self.tile, height)), None
            for left in columns:
                xs = slice(left, min(left + self.tile, width))
                fake = self.layers(read(ys, xs)).float()
                if band is None:
                    band = fake.new_zeros(*fake.shape[:2], ys.stop - top, width)
                    weights_y = self._weights(rows, height, fake)[number]
                    weights_x = self._weights(columns, width, fake)
                    if rest is not None:
                        band[..., : rest.shape[-2], :] = rest
                weight_x = weights_x[columns.index(left)]
                band[..., xs] += fake * weights_y[ys, None] * weight_x[xs]
            end = rows[number + 1] if number + 1 < len(rows) else height
            write(top, band[..., : end - top, :])
            rest = band[..., end - top :, :].clone()

    def _rounded(self, pixels: int) -> int:
        return -(-pixels // self.stride) * self.stride

    def _starts(self, size: int) -> list[int]:
        """Where tiles start along a side: every step, the last so that it ends with the side."""
        if size <= self.tile:
            return [0]
        return [*range(0, size - self.tile, self.step), size - self.tile]

    def _weights(self, starts: list[int], size: int, x: Tensor) -> Tensor:
        """Return how much each tile counts at each pixel along a side, (tiles, size), summing to 1.

        Pixels are weighted by their distance to the tile's nearest edge inside the image; if the
        result is to be that of the whole image, only the tile that they lie deepest in counts.
        """
        i = torch.arange(size, device=x.device)
        depths = []
        for start in starts:
            before = i - start + 1 if start else torch.full_like(i, self.tile)
            end = start + self.tile
            after = end - i if end < size else torch.full_like(i, self.tile)
            inside = (i >= start) & (i < end)
            depths.append(torch.minimum(before, after).clamp(max=self.tile) * inside)
        depth = torch.stack(depths).float()
        if self.exact():
            deepest = depth.argmax(0)
            return torch.zeros_like(depth).scatter_(0, deepest[None], 1)
        return depth / depth.sum(0)

    def describe(self) -> str:
        """Return in words how images are cut up, and what that does to them."""
        effect = "blended where they meet" if self.overlap else "with seams"
        effect = "as the whole image would be" if self.exact() else effect
        times = (self.tile / self.step) ** 2
        return (
            f"tiles of {self.tile} pixels, overlapping by {self.overlap}, {effect}; of large "
            f"images each pixel is computed {times:.1f} times on average"
        )

    def exact(self) -> bool:
        """Return whether tiles give the whole image's result."""
        return self.overlap >= self.diameter and self._sees_its_field_only()

    def _sees_its_field_only(self) -> bool:
        return not any(map(_looks_elsewhere, self.layers.modules()))


def translate_in_windows(
    net: Generator,
    size: tuple[int, int],
    read: Callable[[tuple[int, int, int, int]], Tensor],
    write: Callable[[int, Tensor], None],
    layout: torch.memory_format = torch.contiguous_format,
) -> None:
    """Translate an image of (width, height) with a generator of tiles, as `Generator.forward` does.

    `read` gives the pixels of a box (left, top, right, bottom), (1, C, h, w); `write` takes the
    output from a row on, (1, output_nc, h, width), from top to bottom. `layout` is that of tiles.
    """
    width, height = size
    h, w = net.padded_size((height, width))
    cpu = torch.device("cpu")  # where the pixels of the padded image lie in the image:
    rows, columns = reflect_index(height, h, cpu), reflect_index(width, w, cpu)
    top, left = (h - height) // 2, (w - width) // 2

    def padded(ys: slice, xs: slice) -> Tensor:
        y, x = rows[ys], columns[xs]
        box = int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
        part = read(box)
        y, x = y.to(part.device) - box[1], x.to(part.device) - box[0]
        part = part.index_select(-2, y).index_select(-1, x)
        return part.contiguous(memory_format=layout)

    def cropped(row: int, output: Tensor) -> None:
        first, last = max(row, top), min(row + output.shape[-2], top + height)
        if first < last:
            part = output[..., first - row : last - row, left : left + width]
            write(first - top, part)

    net.model.stream((h, w), padded, cropped)


def _looks_elsewhere(module: nn.Module) -> bool:
    """Return whether a layer takes the statistics of all pixels, or draws noise."""
    live = isinstance(module, InstanceNorm | nn.InstanceNorm2d)
    return live or (isinstance(module, PerImageBatchNorm | nn.Dropout) and module.training)


def receptive_diameter(net: nn.Module) -> int:
    """Return how many pixels apart two input pixels can at most be that reach one output pixel.

    A convolution of k pixels adds k − 1, at the finer of the sizes it goes between. Wrong only for
    networks that do not run their layers in the order of their definition.
    """
    diameter, pixel = 0, 1  # `pixel`: of the layer's input, in pixels of the image
    for module in net.modules():
        if isinstance(module, ResizeConv2d):  # of which a nearest ×2 looks a pixel aside
            pixel //= 2
            diameter += (module.kernel_size[0] + 1) * pixel
        elif isinstance(module, nn.ConvTranspose2d):
            pixel //= module.stride[0]
            diameter += (module.kernel_size[0] - 1) * pixel
        elif isinstance(module, nn.Conv2d):
            diameter += (module.kernel_size[0] - 1) * pixel
            pixel *= module.stride[0]
    return diameter
