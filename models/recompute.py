"""Activations that are not kept for the backward pass, but computed again in it.

That takes less memory and more time. Source: Chen et al., "Training Deep Nets with Sublinear Memory
Cost", arXiv:1604.06174.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.utils.checkpoint import checkpoint

UV = ("_u", "_v")  # how the names of their vectors end


def recomputed(module: nn.Module, *inputs: Any) -> Tensor:
    """Run a module and keep only its inputs: what it computes is computed again when needed."""
    if not torch.is_grad_enabled():
        return module(*inputs)
    contexts = partial(_contexts, module)
    return checkpoint(module, *inputs, use_reentrant=False, context_fn=contexts)


def run_in_parts(layers: nn.Sequential, x: Tensor) -> Tensor:
    """Run layers as `recomputed` parts, each of a convolution with what comes before the next."""
    parts: list[list[nn.Module]] = []
    for layer in layers:
        is_norm = isinstance(layer, nn.modules.batchnorm._NormBase | nn.GroupNorm)
        goes_on = is_norm or isinstance(layer, nn.ReLU | nn.LeakyReLU | nn.Tanh | nn.Identity)
        if parts and (goes_on or isinstance(parts[-1][-1], nn.ReflectionPad2d)):
            parts[-1].append(layer)
        else:
            parts.append([layer])
    for part in parts:
        x = recomputed(nn.Sequential(*part), x)
    return x


Vectors = dict[nn.Module, dict[str, Tensor]]  # u and v of spectral norms, by layer and buffer


def _contexts(module: nn.Module) -> tuple[Any, Any]:
    """Return the contexts of the first forward pass and of its repetition."""
    vectors: Vectors = {}
    return _saving_vectors(module, vectors), _with_vectors_of(module, vectors)


@contextlib.contextmanager
def _saving_vectors(module: nn.Module, vectors: Vectors) -> Iterator[None]:
    """After a forward pass, copy the u and v of spectral norms that it used into `vectors`; later
    passes change them.
    """
    yield
    for layer in module.modules():
        if layer.training and has_spectral_norm(layer):
            named = dict(layer.named_buffers(recurse=False))
            vectors[layer] = {name: named[name].clone() for name in named if name[-2:] in UV}


@contextlib.contextmanager
def _with_vectors_of(module: nn.Module, vectors: Vectors) -> Iterator[None]:
    """Repeat a forward pass with the u and v of the first one; update neither them nor running
    statistics, which the first pass has updated already.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.training and norm.track_running_stats]
    now = {layer: {name: getattr(layer, name) for name in uv} for layer, uv in vectors.items()}
    states = [(norm, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0  # of the new statistics in the running ones
    _set_vectors(vectors)
    for layer in vectors:
        layer.training = False
    try:
        yield
    finally:
        for norm, momentum, batches in states:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
        for layer in vectors:
            layer.training = True
        _set_vectors(now)


def _set_vectors(vectors: Vectors) -> None:
    for layer, uv in vectors.items():
        for name, vector in uv.items():
            setattr(layer, name, vector)


def has_spectral_norm(module: nn.Module) -> bool:
    """Return whether the weights of a layer are normalised by `torch.nn.utils.spectral_norm`."""
    return any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values())
