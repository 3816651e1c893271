"""Autograd functions around the ray kernels. Importing this module imports numba."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense_nerfstudio.compiled import as_array, run
from condense_nerfstudio.scene import ray_kernels as kernels


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx, densities: Tensor, deltas: Tensor) -> Tensor:
        """Rendering weights."""
        weights = torch.empty(densities.shape)
        run(kernels.weights, as_array(densities), as_array(deltas), weights.numpy())
        ctx.save_for_backward(densities, deltas, weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_weights: Tensor) -> tuple[Tensor, None]:
        """The gradient of the densities."""
        densities, deltas, weights = map(as_array, ctx.saved_tensors)
        gradient = torch.empty(grad_weights.shape)
        run(kernels.weights_backward, densities, deltas, weights, as_array(grad_weights), gradient.numpy())
        return gradient, None


class _LossWithGradient(torch.autograd.Function):
    """A loss whose kernel has worked its gradient out already."""

    @staticmethod
    def forward(ctx, weights: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """The loss."""
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of the weights."""
        (gradient,) = ctx.saved_tensors
        return gradient * grad_loss, None, None


def weights(densities: Float[Tensor, "rays n"], deltas: Float[Tensor, "rays n"]) -> Float[Tensor, "rays n"]:
    """Rendering weights; no gradient reaches the deltas."""
    return _Weights.apply(densities, deltas)


def resample(
    bins: Float[Tensor, "rays old_edges"],
    rendering_weights: Float[Tensor, "rays old"],
    exponent: float,
    padding: float,
    positions: Float[Tensor, "rays edges"],
) -> Float[Tensor, "rays edges"]:
    """Edges of new samples (see the kernel); without gradient."""
    result = torch.empty(positions.shape)
    numbers = np.float32(exponent), np.float32(padding)
    run(kernels.resample, as_array(bins), as_array(rendering_weights), *numbers, as_array(positions), result.numpy())
    return result


def interlevel_loss(
    bins: Float[Tensor, "rays edges"],
    field_weights: Float[Tensor, "rays n"],
    proposal_bins: Float[Tensor, "rays proposal_edges"],
    proposal_weights: Float[Tensor, "rays proposals"],
) -> Float[Tensor, ""]:
    """Mean over the field's samples; differentiable with respect to the proposal's weights."""
    losses, gradient = torch.empty(len(bins)), torch.empty(proposal_weights.shape)
    arrays = map(as_array, (bins, field_weights, proposal_bins, proposal_weights))
    run(kernels.interlevel, *arrays, losses.numpy(), gradient.numpy())
    count = field_weights.numel()
    return _LossWithGradient.apply(proposal_weights, losses.sum() / count, gradient.div_(count))


def distortion_loss(bins: Float[Tensor, "rays edges"], weights: Float[Tensor, "rays n"]) -> Float[Tensor, ""]:
    """Mean over rays; differentiable with respect to the weights."""
    losses, gradient = torch.empty(len(bins)), torch.empty(weights.shape)
    run(kernels.distortion, as_array(bins), as_array(weights), losses.numpy(), gradient.numpy())
    return _LossWithGradient.apply(weights, losses.mean(), gradient.div_(len(bins)))
