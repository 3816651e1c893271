"""Compiling the kernels ahead of their first use."""

from __future__ import annotations

import threading
from collections.abc import Callable

import torch

from condense_nerfstudio.backends import numba_works


def compile_in_background() -> None:
    """Starts to compile the kernels, or to load them from their cache, while images and features are being read.

    Only the first training after an installation has to compile them, which takes half a minute on two cores. Does
    nothing where the kernels cannot be used.
    """
    if numba_works():
        threading.Thread(target=_use_every_kernel, name="condense-kernels").start()


def _use_every_kernel() -> None:
    """Runs each kernel once, on a few numbers; stops early when the program ends."""
    for use in (_perceptrons, _hash_grid, _contraction, _rays, _distances):
        if threading.main_thread().is_alive():
            use()


def _hash_grid() -> None:
    from condense_nerfstudio.hashgrid.geometry import grid_levels
    from condense_nerfstudio.hashgrid.numba_encoding import encode
    from condense_nerfstudio.hashgrid.numba_kernels import LevelArrays

    # No HashGrid: its parameters would be drawn from the random numbers of the training that is being set up.
    (level,) = grid_levels(num_levels=1, log2_hashmap_size=4, base_resolution=2, max_resolution=2)
    levels, params = LevelArrays.from_levels([level], threads=1), torch.zeros(level.entries, requires_grad=True)
    _differentiate(lambda points: encode(params, points, levels, 1), torch.zeros(1, 3))


def _contraction() -> None:
    from condense_nerfstudio.scene.contraction import contract

    _differentiate(contract, torch.zeros(1, 3))


def _perceptrons() -> None:
    from condense_nerfstudio.scene.perceptron import perceptron

    for num_layers in (2, 3):
        weights = [torch.zeros(2, 2, requires_grad=True) for _ in range(num_layers)]
        _differentiate(lambda inputs, weights=weights: perceptron(inputs, weights), torch.zeros(1, 2))


def _rays() -> None:
    from condense_nerfstudio.scene import ray_compiled

    bins, weights = torch.tensor([[0.0, 0.5, 1.0]]), torch.full((1, 2), 0.5)
    _differentiate(lambda densities: ray_compiled.weights(densities, weights), weights)
    ray_compiled.resample(bins, weights, 1.0, 0.01, bins)
    ray_compiled.interlevel_loss(bins, weights, bins, weights)
    ray_compiled.distortion_loss(bins, weights)


def _distances() -> None:
    from condense_nerfstudio.scene.losses import distances

    _differentiate(lambda features: distances(features, features, features.detach()), torch.ones(1, 2))


def _differentiate(function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> None:
    """Runs a function forward and backward."""
    function(at.clone().requires_grad_()).sum().backward()
