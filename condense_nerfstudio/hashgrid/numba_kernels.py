"""The hash grid on the CPU: numba kernels and the autograd function around them.

Both directions run one level after another, so that a level's table stays in the cache, in chunks of points: first the
rows and weights of all corners of a chunk (a loop without branches that the compiler turns into vector instructions),
then the table accesses. Forward and the gradient of positions share the points out among threads; the gradient of
the table shares the levels out, so that no two threads write to one row and sums are always in the same order.

Importing this module imports numba. The kernels are compiled at their first call (a second or two each) and cached on
disk: beside this file, else (read-only installation) in the user's cache folder, else not at all.
"""

import inspect
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from jaxtyping import Float
from numba import prange, uint32, uintp
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense_nerfstudio.hashgrid.geometry import Level

CHUNK = 256
"""Points handled at a time: rows and weights of their corners take 16 KB of the first-level cache."""

FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}
"""All of fast math but the promise that no NaN or infinity occurs, under which a NaN position could read anywhere."""

KERNEL_LOCK = threading.Lock()
"""Held while a kernel runs: numba's fallback threading layer aborts the process when two threads enter it at once, and
one call keeps all cores busy anyway."""


def _jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def compile_lazily(function: Callable[..., Any]) -> Any:
        function = inspect.unwrap(function)  # jaxtyping's import hook wraps every function where it is on
        try:
            return numba.njit(fastmath=FAST_MATH, nogil=True, cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write its cache to
            return numba.njit(fastmath=FAST_MATH, nogil=True, **options)(function)

    return compile_lazily


class LevelArrays(NamedTuple):
    """The levels of a grid as the kernels want them: an array of each property."""

    scale: np.ndarray
    entries: np.ndarray
    offset: np.ndarray
    hashed: np.ndarray
    multipliers: np.ndarray

    @classmethod
    def from_levels(cls, levels: Sequence[Level]) -> "LevelArrays":
        """The levels' numbers as arrays, which compiled code can index."""
        return cls(
            np.array([level.scale for level in levels], np.float32),
            np.array([level.entries for level in levels], np.int64),
            np.array([level.offset for level in levels], np.int64),
            np.array([level.hashed for level in levels], np.bool_),
            np.array([level.multipliers for level in levels], np.uint32),
        )


@_jit()
def _as_uint32(cell):  # as in reference.py
    representable = (cell >= np.float32(-(2.0**31))) & (cell < np.float32(2.0**31))
    return uint32(np.int32(cell if representable else np.float32(0)))


@_jit()
def _corners(points, level, levels, rows, weights):
    """Fills in table rows and weights of the points' cell corners; corner c of point i is at c * CHUNK + i.

    numba widens uint32 arithmetic to 64 bits; the casts keep it at 32, twice as many to a vector register.
    """
    half, one, level_scale = np.float32(0.5), np.float32(1), levels.scale[level]
    step_x, step_y, step_z = levels.multipliers[level]
    size = uint32(levels.entries[level])
    mask = uint32(size - uint32(1))
    is_hashed = levels.hashed[level]
    for i in range(points.size // 3):
        x = points[3 * i] * level_scale + half
        y = points[3 * i + 1] * level_scale + half
        z = points[3 * i + 2] * level_scale + half
        cell_x, cell_y, cell_z = np.floor(x), np.floor(y), np.floor(z)
        x1, y1, z1 = x - cell_x, y - cell_y, z - cell_z
        x0, y0, z0 = one - x1, one - y1, one - z1
        x0y0, x1y0, x0y1, x1y1 = x0 * y0, x1 * y0, x0 * y1, x1 * y1
        weights[i] = x0y0 * z0
        weights[CHUNK + i] = x1y0 * z0
        weights[2 * CHUNK + i] = x0y1 * z0
        weights[3 * CHUNK + i] = x1y1 * z0
        weights[4 * CHUNK + i] = x0y0 * z1
        weights[5 * CHUNK + i] = x1y0 * z1
        weights[6 * CHUNK + i] = x0y1 * z1
        weights[7 * CHUNK + i] = x1y1 * z1

        i0, j0, k0 = _as_uint32(cell_x), uint32(_as_uint32(cell_y) * step_y), uint32(_as_uint32(cell_z) * step_z)
        i1, j1, k1 = uint32(i0 + step_x), uint32(j0 + step_y), uint32(k0 + step_z)
        if is_hashed:  # the size of a hashed table is a power of two
            i0j0, i1j0, i0j1, i1j1 = uint32(i0 ^ j0), uint32(i1 ^ j0), uint32(i0 ^ j1), uint32(i1 ^ j1)
            rows[i] = uint32(i0j0 ^ k0) & mask
            rows[CHUNK + i] = uint32(i1j0 ^ k0) & mask
            rows[2 * CHUNK + i] = uint32(i0j1 ^ k0) & mask
            rows[3 * CHUNK + i] = uint32(i1j1 ^ k0) & mask
            rows[4 * CHUNK + i] = uint32(i0j0 ^ k1) & mask
            rows[5 * CHUNK + i] = uint32(i1j0 ^ k1) & mask
            rows[6 * CHUNK + i] = uint32(i0j1 ^ k1) & mask
            rows[7 * CHUNK + i] = uint32(i1j1 ^ k1) & mask
        else:
            i0j0, i1j0, i0j1, i1j1 = uint32(i0 + j0), uint32(i1 + j0), uint32(i0 + j1), uint32(i1 + j1)
            rows[i] = uint32(i0j0 + k0)
            rows[CHUNK + i] = uint32(i1j0 + k0)
            rows[2 * CHUNK + i] = uint32(i0j1 + k0)
            rows[3 * CHUNK + i] = uint32(i1j1 + k0)
            rows[4 * CHUNK + i] = uint32(i0j0 + k1)
            rows[5 * CHUNK + i] = uint32(i1j0 + k1)
            rows[6 * CHUNK + i] = uint32(i0j1 + k1)
            rows[7 * CHUNK + i] = uint32(i1j1 + k1)
    if not is_hashed:
        for corner in range(8):
            for i in range(corner * CHUNK, corner * CHUNK + points.size // 3):
                if rows[i] >= size:  # only at the border of the unit cube and beyond: spare the others the division
                    rows[i] %= size


@_jit()
def _gather(table, rows, weights, encoded):
    """encoded[f, i] = sum over corners of weight * table[row, f]; two features share one read of row and weight."""
    features, points = encoded.shape
    for f in range(0, features - 1, 2):
        for i in range(points):
            first, second = np.float32(0), np.float32(0)
            for corner in range(8):
                weight = weights[corner * CHUNK + i]
                entry = uintp(rows[corner * CHUNK + i]) * uintp(features) + uintp(f)
                first += weight * table[entry]
                second += weight * table[entry + uintp(1)]
            encoded[f, i] = first
            encoded[f + 1, i] = second
    if features == 1:
        for i in range(points):
            only = np.float32(0)
            for corner in range(8):
                only += weights[corner * CHUNK + i] * table[rows[corner * CHUNK + i]]
            encoded[0, i] = only


@_jit()
def _scatter(grad_encoded, rows, weights, grad_table):
    """grad_table[row, f] += weight * grad_encoded[f, i] for all corners: the transpose of `_gather`."""
    features, points = grad_encoded.shape
    for f in range(0, features - 1, 2):
        for i in range(points):
            first, second = grad_encoded[f, i], grad_encoded[f + 1, i]
            for corner in range(8):
                weight = weights[corner * CHUNK + i]
                entry = uintp(rows[corner * CHUNK + i]) * uintp(features) + uintp(f)
                grad_table[entry] += weight * first
                grad_table[entry + uintp(1)] += weight * second
    if features == 1:
        for i in range(points):
            for corner in range(8):
                grad_table[rows[corner * CHUNK + i]] += weights[corner * CHUNK + i] * grad_encoded[0, i]


@_jit()
def _gather_slopes(table, grad_encoded, rows, weights, scale, products, grad_points):
    """Adds one level's gradient with respect to the points.

    The derivative of a corner's weight along an axis is the product of its weights along the two other axes, times
    plus or minus scale; and that product is the sum of the weights of the two corners on the edge.
    """
    features, points = grad_encoded.shape
    products[:] = 0
    for f in range(0, features - 1, 2):
        for i in range(points):
            first, second = grad_encoded[f, i], grad_encoded[f + 1, i]
            for corner in range(8):
                entry = uintp(rows[corner * CHUNK + i]) * uintp(features) + uintp(f)
                products[corner * CHUNK + i] += first * table[entry] + second * table[entry + uintp(1)]
    if features == 1:
        for i in range(points):
            for corner in range(8):
                products[corner * CHUNK + i] = grad_encoded[0, i] * table[rows[corner * CHUNK + i]]
    for axis in range(3):
        for corner in range(8):
            if not corner >> axis & 1:
                start, end = corner * CHUNK, (corner + (1 << axis)) * CHUNK
                for i in range(points):
                    slope = (weights[start + i] + weights[end + i]) * (products[end + i] - products[start + i])
                    grad_points[3 * i + axis] += scale * slope


@_jit(parallel=True)
def _encode(table, points, levels, encoded, threads):
    features = encoded.shape[0] // levels.scale.size
    num_points = encoded.shape[1]
    for thread in prange(threads):
        rows, weights = np.empty(8 * CHUNK, np.uint32), np.empty(8 * CHUNK, np.float32)
        first, last = num_points * thread // threads, num_points * (thread + 1) // threads
        for level in range(levels.scale.size):
            level_table = table[levels.offset[level] * features :]
            for start in range(first, last, CHUNK):
                end = min(start + CHUNK, last)
                _corners(points[3 * start : 3 * end], level, levels, rows, weights)
                _gather(level_table, rows, weights, encoded[level * features : (level + 1) * features, start:end])


@_jit(parallel=True)
def _encode_backward_table(grad_encoded, points, levels, grad_table, threads):
    features = grad_encoded.shape[0] // levels.scale.size
    num_points = grad_encoded.shape[1]
    for thread in prange(threads):
        rows, weights = np.empty(8 * CHUNK, np.uint32), np.empty(8 * CHUNK, np.float32)
        for level in range(thread, levels.scale.size, threads):
            offset, entries = levels.offset[level], levels.entries[level]
            level_table = grad_table[offset * features : (offset + entries) * features]
            level_table[:] = 0
            for start in range(0, num_points, CHUNK):
                end = min(start + CHUNK, num_points)
                _corners(points[3 * start : 3 * end], level, levels, rows, weights)
                level_grad = grad_encoded[level * features : (level + 1) * features, start:end]
                _scatter(level_grad, rows, weights, level_table)


@_jit(parallel=True)
def _encode_backward_points(grad_encoded, table, points, levels, grad_points, threads):
    features = grad_encoded.shape[0] // levels.scale.size
    num_points = grad_encoded.shape[1]
    for thread in prange(threads):
        rows, weights = np.empty(8 * CHUNK, np.uint32), np.empty(8 * CHUNK, np.float32)
        products = np.empty(8 * CHUNK, np.float32)
        first, last = num_points * thread // threads, num_points * (thread + 1) // threads
        grad_points[3 * first : 3 * last] = 0
        for level in range(levels.scale.size):
            level_table = table[levels.offset[level] * features :]
            for start in range(first, last, CHUNK):
                end = min(start + CHUNK, last)
                _corners(points[3 * start : 3 * end], level, levels, rows, weights)
                level_grad = grad_encoded[level * features : (level + 1) * features, start:end]
                chunk_grad = grad_points[3 * start : 3 * end]
                _gather_slopes(level_table, level_grad, rows, weights, levels.scale[level], products, chunk_grad)


class _HashGridFunction(torch.autograd.Function):
    """Encoding of the kernels with its derivatives; arrays of features are [output_dim, num_points], as in tcnn."""

    @staticmethod
    def forward(ctx, params: Tensor, points: Tensor, levels: LevelArrays, features: int) -> Tensor:
        encoded = torch.empty(levels.scale.size * features, points.shape[0])
        arrays = params.detach().numpy(), points.detach().view(-1).numpy(), levels, encoded.numpy()
        with KERNEL_LOCK:
            _encode(*arrays, numba.get_num_threads())
        ctx.save_for_backward(params, points)
        ctx.levels = levels
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_encoded: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        params, points = ctx.saved_tensors
        table, points_array = params.detach().numpy(), points.detach().view(-1).numpy()
        grad_array = grad_encoded.contiguous().numpy()
        grad_params = grad_points = None
        with KERNEL_LOCK:
            threads = numba.get_num_threads()
            if ctx.needs_input_grad[0]:
                grad_params = torch.empty_like(params)  # the kernel zeroes it, level by level
                _encode_backward_table(grad_array, points_array, ctx.levels, grad_params.numpy(), threads)
            if ctx.needs_input_grad[1]:
                grad_points = torch.empty_like(points)  # likewise
                grad_points_array = grad_points.view(-1).numpy()
                _encode_backward_points(grad_array, table, points_array, ctx.levels, grad_points_array, threads)
        return grad_params, grad_points, None, None


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
