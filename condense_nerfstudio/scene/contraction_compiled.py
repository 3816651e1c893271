"""The contraction on the CPU in one pass. Importing this module imports numba."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense_nerfstudio.compiled import jit, run


@jit(parallel=True)
def _contract(positions, contracted, threads):
    one, two, quarter = np.float32(1), np.float32(2), np.float32(0.25)
    for thread in prange(threads):
        for i in range(len(positions) * thread // threads, len(positions) * (thread + 1) // threads):
            x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
            inverse = one / max(max(abs(x), abs(y)), max(abs(z), one))
            factor = (two - inverse) * inverse
            contracted[i, 0] = (x * factor + two) * quarter
            contracted[i, 1] = (y * factor + two) * quarter
            contracted[i, 2] = (z * factor + two) * quarter


@jit(parallel=True)
def _contract_backward(positions, grad_contracted, grad_positions, threads):
    one, two, quarter = np.float32(1), np.float32(2), np.float32(0.25)
    for thread in prange(threads):
        for i in range(len(positions) * thread // threads, len(positions) * (thread + 1) // threads):
            largest = 0
            for axis in range(1, 3):
                if abs(positions[i, axis]) > abs(positions[i, largest]):
                    largest = axis
            inverse = one / max(abs(positions[i, largest]), one)
            factor = (two - inverse) * inverse
            along = np.float32(0)
            for axis in range(3):
                along += positions[i, axis] * grad_contracted[i, axis]
                grad_positions[i, axis] = quarter * factor * grad_contracted[i, axis]
            # The factor changes with the largest coordinate; at most 1, inside the cube, it does not.
            slope = quarter * along * two * (inverse - one) * inverse * inverse
            grad_positions[i, largest] += slope if positions[i, largest] > 0 else -slope


class _ContractFunction(torch.autograd.Function):
    """Contraction of points [n, 3]."""

    @staticmethod
    def forward(ctx, positions: Tensor) -> Tensor:
        """The contracted points."""
        contracted = torch.empty_like(positions)
        run(_contract, positions.detach().numpy(), contracted.numpy())
        ctx.save_for_backward(positions)
        return contracted

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_contracted: Tensor) -> Tensor:
        """The gradient of the points; where two coordinates are equally large, that of the first one's side."""
        (positions,) = ctx.saved_tensors
        grad_positions = torch.empty_like(positions)
        gradient = grad_contracted.contiguous().numpy()
        run(_contract_backward, positions.detach().numpy(), gradient, grad_positions.numpy())
        return grad_positions


def contract_compiled(positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 3"]:
    """`contraction.contract` for float32 on the CPU; differentiable once."""
    return _ContractFunction.apply(positions.reshape(-1, 3).contiguous()).view(positions.shape)
