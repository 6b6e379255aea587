"""Copy a generator into layers that ONNX supports, and trace it to a graph."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm

from models.batch_norm import PerImageBatchNorm
from models.inpaint_networks import HoleFiller
from models.layers import InstanceNorm
from models.networks import Generator
from models.semantic import FromLabels
from util.color import lab_to_rgb, rgb_to_lab
from util.label_maps import instance_edges

if TYPE_CHECKING:
    import onnx


class AnySize(nn.Module):
    """`Generator.forward` without branches, so that one graph serves every H and W."""

    def __init__(self, netG: Generator):
        super().__init__()
        self.layers, self.stride, self.min_size = netG.model, netG.stride, netG.min_size

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, output_nc, H, W)
        rows, kept_rows = self._reflected(x.shape[-2])
        columns, kept_columns = self._reflected(x.shape[-1])
        y = self.layers(x.index_select(-2, rows).index_select(-1, columns))
        return y.index_select(-2, kept_rows).index_select(-1, kept_columns)

    def _reflected(self, size: int) -> tuple[Tensor, Tensor]:
        """Return the indices that pad a side by reflection, and those that crop it back."""
        target = (size + self.stride - 1) // self.stride * self.stride
        if self.min_size > self.stride:
            target = torch.sym_max(target, self.min_size)
        before = (target - size) // 2
        i = torch.arange(target) - before
        period = torch.full_like(i, torch.sym_max(2 * (size - 1), 1))
        i = i.remainder(period)
        return torch.minimum(i, period - i), torch.arange(size) + before


class OnClasses(nn.Module):
    """`FromLabels.forward` without branches: class numbers and edges, (N, 1 or 2, H, W) int64.

    The style of a VAE is z = 0, the mean of all styles.
    """

    def __init__(self, synthesis: FromLabels):
        super().__init__()
        self.net, self.count = synthesis.net, synthesis.classes
        self.z_dim = self.net.z_dim if getattr(self.net, "use_vae", False) else 0

    def forward(self, labels: Tensor) -> Tensor:  # (N, 1 or 2, H, W) -> (N, output_nc, H, W)
        rows, kept_rows = self._repeated(labels.shape[-2])
        columns, kept_columns = self._repeated(labels.shape[-1])
        x = labels.index_select(-2, rows).index_select(-1, columns)
        hot = x[:, :1] == torch.arange(self.count).view(1, -1, 1, 1)
        semantics = torch.cat([hot.float(), x[:, 1:].float()], 1)
        y = self.net(semantics, *([torch.zeros(x.shape[0], self.z_dim)] if self.z_dim else []))
        return y.index_select(-2, kept_rows).index_select(-1, kept_columns)

    def _repeated(self, size: int) -> tuple[Tensor, Tensor]:
        """Return the indices that pad a side by its nearest label, and those that crop it back."""
        stride = self.net.stride
        target = torch.sym_max((size + stride - 1) // stride * stride, self.net.min_size)
        before = (target - size) // 2
        i = (torch.arange(target) - before).clamp(min=0)
        return torch.minimum(i, torch.full_like(i, size - 1)), torch.arange(size) + before


class OnLabelMaps(nn.Module):
    """`OnClasses` on uint8 class numbers (N, H, W, 1), whose edges are the instances' edges."""

    def __init__(self, net: OnClasses, edges: bool):
        super().__init__()
        self.net, self.edges = net, edges

    def forward(self, labels: Tensor) -> Tensor:  # (N, H, W, 1) -> uint8 (N, H, W, output_nc)
        classes = labels.permute(0, 3, 1, 2).long()
        parts = [classes, instance_edges(classes).long()] if self.edges else [classes]
        return to_levels(self.net(torch.cat(parts, 1)))


class OnHoles(nn.Module):
    """`HoleFiller.forward` on an image (N, 3, H, W), its mask and its sketch (N, 1, H, W)."""

    def __init__(self, filler: HoleFiller):
        super().__init__()
        self.filler = filler

    def forward(self, image: Tensor, mask: Tensor, sketch: Tensor | None = None) -> Tensor:
        sketches = [] if sketch is None else [sketch]
        return self.filler(torch.cat([image, mask, *sketches], 1))  # (N, 3, H, W)


class Noise(nn.Module):
    """Dropout that stays in the graph: new noise at every run and for every image."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) >= self.p).to(x.dtype) / (1 - self.p)


class OnImages(nn.Module):
    """A network on uint8 images (N, H, W, C) in 0..255, as test.py reads and writes them."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:  # (N, H, W, C) -> (N, H, W, output_nc)
        return to_levels(self.net(images.permute(0, 3, 1, 2).float() / 127.5 - 1))


class OnPhotos(nn.Module):
    """A colorization network on RGB images: keeps the lightness, replaces the colours."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:  # (N, H, W, 3) -> (N, H, W, 3)
        L = rgb_to_lab(images.permute(0, 3, 1, 2).float() / 255)[:, :1] / 50 - 1
        rgb = lab_to_rgb(torch.cat([(L + 1) * 50, self.net(L) * 110], 1))
        return to_levels(rgb * 2 - 1)


def on_levels(net: nn.Module, opt: Any) -> nn.Module:
    """Return a frozen network on images, or on label maps, of uint8."""
    if isinstance(net, OnClasses):
        return OnLabelMaps(net, edges=not opt.no_instance)
    return OnPhotos(net) if opt.model == "colorization" else OnImages(net)


def to_levels(y: Tensor) -> Tensor:
    """Turn (N, C, H, W) in [-1, 1] into uint8 (N, H, W, C), truncated as `tensor2im` does."""
    return ((y.permute(0, 2, 3, 1) + 1) / 2 * 255).clamp(0, 255).to(torch.uint8)


def frozen_copy(net: nn.Module, *, noise: bool = False, any_size: bool = True) -> nn.Module:
    """Copy a network prepared for test.py into layers that ONNX supports.

    Per-image norms become instance norm; dropout is removed, unless `noise` keeps it. Spectral
    norm is applied to the weights for good. Without `any_size`, the padding is fixed to the size
    of the traced batch.
    """
    of_labels = isinstance(net, FromLabels)
    net = _copied(net).to(memory_format=torch.contiguous_format).requires_grad_(False)
    net.train(net.training and not of_labels)  # which are tested with running statistics
    for name, module in list(net.named_modules()):
        if isinstance(module, InstanceNorm):
            new = nn.InstanceNorm2d(module.num_channels, module.eps)
        elif isinstance(module, PerImageBatchNorm) and module.training:
            new = nn.InstanceNorm2d(module.num_features, module.eps, affine=module.affine)
            new.weight, new.bias = module.weight, module.bias
        elif isinstance(module, nn.Dropout):
            new = Noise(module.p) if noise else nn.Identity()
        else:
            continue
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, new)
    if isinstance(net, HoleFiller):
        net = OnHoles(net)
    if of_labels:
        net = OnClasses(net) if net.classes else net
    if any_size and isinstance(net, Generator) and type(net).forward is Generator.forward:
        net = AnySize(net)
    return net.eval()


def _copied(net: nn.Module) -> nn.Module:
    """Copy a network; spectrally normalised weights become plain ones, as at test time."""
    normed = [m for m in net.modules() if hasattr(m, "weight_orig")]
    for module in normed:  # what the last pass has computed cannot be copied
        module.weight = module.weight_orig.detach()
    net_copy = copy.deepcopy(net)
    for module in net_copy.modules():
        if hasattr(module, "weight_orig"):
            remove_spectral_norm(module)
    return net_copy


def graph_of(
    net: nn.Module, inputs: dict[str, Tensor], size: tuple[int, int] | None, opset: int
) -> "onnx.ModelProto":
    """Return the ONNX model of a network, for any number of images shaped like its `inputs`.

    H and W are dynamic, or fixed to `size`; ValueError if torch.onnx cannot export.
    """
    tensors = tuple(inputs.values())
    height_axis = 1 if tensors[0].dtype == torch.uint8 else 2  # (N, H, W, C) or (N, C, H, W)
    names = {0: "batch"} | ({} if size else {height_axis: "height", height_axis + 1: "width"})
    dims = {axis: torch.export.Dim(name) for axis, name in names.items()}
    try:
        with _quiet():
            program = torch.onnx.export(
                net,
                tensors,
                dynamo=True,
                opset_version=opset,
                input_names=[*inputs],
                output_names=["output"],
                dynamic_shapes=(dims,) * len(inputs),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        hint = "" if size else "; --size HEIGHT,WIDTH makes a simpler graph"
        causes = [line for line in str(error.__cause__ or error).splitlines() if line.strip()]
        raise ValueError(f"torch.onnx cannot write this network ({causes[0]}){hint}") from error
    model = program.model_proto
    version = next(entry.version for entry in model.opset_import if not entry.domain)
    if version != opset:
        raise ValueError(
            f"--opset {opset}: torch.onnx writes {version} instead; use --opset {version}"
        )
    for node in (*model.graph.node, *(n for f in model.functions for n in f.node)):
        node.ClearField("metadata_props")  # source locations of the trace
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence output of the export; the written graph is checked afterwards."""
    before, output = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(output), redirect_stderr(output):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
