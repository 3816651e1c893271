"""The hash grid on the CPU: the autograd function around the kernels. Importing this module imports numba."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense_nerfstudio.compiled import run, thread_count
from condense_nerfstudio.hashgrid import numba_kernels as kernels
from condense_nerfstudio.hashgrid.numba_kernels import LevelArrays


class _HashGridFunction(torch.autograd.Function):
    """Encoding of the kernels with its derivatives; arrays of features are [output_dim, num_points], as in tcnn."""

    @staticmethod
    def forward(ctx, params: Tensor, points: Tensor, levels: LevelArrays, features: int) -> Tensor:
        """Features of all points."""
        encoded = torch.empty(levels.scale.size * features, points.shape[0])
        run(kernels.encode, params.detach().numpy(), points.detach().numpy(), levels, encoded.numpy())
        ctx.save_for_backward(params, points)
        ctx.levels = levels
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_encoded: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of the table and of the points, as far as they are asked for."""
        params, points = ctx.saved_tensors
        grad_array, points_array = grad_encoded.contiguous().numpy(), points.detach().numpy()
        grad_params = grad_points = None
        if ctx.needs_input_grad[0]:
            grad_params = torch.empty_like(params)  # the kernel zeroes it, level by level
            _table_gradient(grad_array, points_array, ctx.levels, grad_params.numpy())
        if ctx.needs_input_grad[1]:
            parts = torch.empty(thread_count(), 3, len(points))  # likewise
            table = params.detach().numpy()
            run(kernels.encode_backward_points, grad_array, table, points_array, ctx.levels, parts.numpy())
            grad_points = parts.sum(dim=0).t()
        return grad_params, grad_points, None, None


def _table_gradient(grad_encoded: np.ndarray, points: np.ndarray, levels: LevelArrays, grad_table: np.ndarray) -> None:
    """Fills in the gradient of the table."""
    if not len(points):
        grad_table[:] = 0
        return
    num_levels, threads = levels.scale.size, thread_count()
    shared = num_levels % threads != 0  # whether two threads meet within a level
    largest = levels.entries.max() * grad_encoded.shape[0] // num_levels
    partial = np.empty((threads, largest if shared else 0), np.float32)
    run(kernels.encode_backward_table, grad_encoded, points, levels, grad_table, partial)
    if shared:
        run(kernels.add_partial_sums, grad_table, partial, levels, len(points))


def encode(
    params: Float[Tensor, " num_params"], positions: Float[Tensor, "*bs 3"], levels: LevelArrays, features: int
) -> Float[Tensor, "*bs output_dim"]:
    """`reference.encode` for float32 tables on the CPU; differentiable once.

    The result is a view of an array with the points innermost, which the kernels fill faster and a linear layer reads
    as fast. A NaN coordinate gives NaN features, and NaN gradients in the rows of cell 0 along that axis.
    """
    points = positions.to(torch.float32).reshape(-1, 3).contiguous()
    encoded = _HashGridFunction.apply(params, points, levels, features)
    return encoded.t().reshape(*positions.shape[:-1], encoded.shape[0])
