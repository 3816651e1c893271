"""The three distances of the feature losses and their gradients on the CPU, in one pass over the features each.

Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense_nerfstudio.compiled import jit, run


@jit()
def _lengths(a, b, least):
    """Length of a, length of b (each at least `least`), and their product."""
    aa, bb, ab = np.float32(0), np.float32(0), np.float32(0)
    for c in range(a.size):
        aa += a[c] * a[c]
        bb += b[c] * b[c]
        ab += a[c] * b[c]
    return max(np.sqrt(aa), least), max(np.sqrt(bb), least), ab


@jit()
def _distance(a, b, least):
    half, one = np.float32(0.5), np.float32(1)
    length_a, length_b, product = _lengths(a, b, least)
    smooth = np.float32(0)
    for c in range(a.size):
        difference = abs(a[c] - b[c])
        smooth += half * difference * difference if difference < one else difference - half
    return one - product / (length_a * length_b) + smooth / np.float32(a.size)


@jit()
def _add_gradients(a, b, least, weight, grad_a, grad_b):
    """Adds the gradients of weight * distance."""
    one, zero = np.float32(1), np.float32(0)
    length_a, length_b, product = _lengths(a, b, least)
    across = weight / (length_a * length_b)
    # Below the least length, the divisor does not change with the feature.
    along_a = across * product / (length_a * length_a) if length_a > least else zero
    along_b = across * product / (length_b * length_b) if length_b > least else zero
    share = weight / np.float32(a.size)
    for c in range(a.size):
        slope = share * min(max(a[c] - b[c], -one), one)
        grad_a[c] += slope + along_a * a[c] - across * b[c]
        grad_b[c] += along_b * b[c] - across * a[c] - slope


@jit(parallel=True)
def _distances(rendered, adapted, teacher, least, result, threads):
    """result[0..2, ray]: rendered to adapted, adapted to teacher, rendered to teacher."""
    for thread in prange(threads):
        for ray in range(len(rendered) * thread // threads, len(rendered) * (thread + 1) // threads):
            result[0, ray] = _distance(rendered[ray], adapted[ray], least)
            result[1, ray] = _distance(adapted[ray], teacher[ray], least)
            result[2, ray] = _distance(rendered[ray], teacher[ray], least)


@jit(parallel=True)
def _distances_backward(rendered, adapted, teacher, least, weights, grad_rendered, grad_adapted, threads):
    for thread in prange(threads):
        unused = np.empty(rendered.shape[1], np.float32)
        for ray in range(len(rendered) * thread // threads, len(rendered) * (thread + 1) // threads):
            grad_rendered[ray] = 0
            grad_adapted[ray] = 0
            unused[:] = 0
            _add_gradients(rendered[ray], adapted[ray], least, weights[0, ray], grad_rendered[ray], grad_adapted[ray])
            _add_gradients(adapted[ray], teacher[ray], least, weights[1, ray], grad_adapted[ray], unused)
            _add_gradients(rendered[ray], teacher[ray], least, weights[2, ray], grad_rendered[ray], unused)


class _DistancesFunction(torch.autograd.Function):
    """The three distances of every ray, (3, rays)."""

    @staticmethod
    def forward(ctx, rendered: Tensor, adapted: Tensor, teacher: Tensor, least: float) -> Tensor:
        """The distances."""
        arrays = [x.detach().contiguous() for x in (rendered, adapted, teacher)]
        result = torch.empty(3, len(rendered))
        run(_distances, *(x.numpy() for x in arrays), np.float32(least), result.numpy())
        ctx.save_for_backward(*arrays)
        ctx.least = least
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, weights: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """The gradients of rendered and adapted features; the teacher gets none."""
        arrays = [x.numpy() for x in ctx.saved_tensors]
        grad_rendered, grad_adapted = torch.empty(arrays[0].shape), torch.empty(arrays[0].shape)
        gradients = grad_rendered.numpy(), grad_adapted.numpy()
        run(_distances_backward, *arrays, np.float32(ctx.least), weights.contiguous().numpy(), *gradients)
        return grad_rendered, grad_adapted, None, None


def distances_compiled(
    rendered: Float[Tensor, "rays c"], adapted: Float[Tensor, "rays c"], teacher: Float[Tensor, "rays c"], least: float
) -> Float[Tensor, "3 rays"]:
    """`losses.distances` for float32 on the CPU; differentiable once.

    Args:
        rendered: 3D features.
        adapted: 2D features.
        teacher: the frozen teacher's.
        least: shortest length that the cosine divides by.
    """
    return _DistancesFunction.apply(rendered, adapted, teacher, least)
