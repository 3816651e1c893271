"""The hash grid's kernels for the CPU.

Both directions run one level after another, so that a level's table stays in the cache, in chunks of points: first the
rows and weights of all corners of a chunk (loops without branches that the compiler turns into vector instructions),
then the table accesses. Threads share out the sequence of all points of all levels, and what two of them have of one
sum is added up in a fixed order, so that the same number of threads gives the same sums. See `compiled.jit` for how
they are compiled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import prange, uint32, uintp

from condense_nerfstudio.compiled import CHUNK, jit
from condense_nerfstudio.hashgrid.geometry import Level


class LevelArrays(NamedTuple):
    """The levels of a grid as the kernels want them: an array of each property."""

    scale: np.ndarray
    entries: np.ndarray
    offset: np.ndarray
    hashed: np.ndarray
    multipliers: np.ndarray
    order: np.ndarray
    """The levels in such an order that equal parts of it cost about the same: fine levels miss the cache more often."""

    @classmethod
    def from_levels(cls, levels: Sequence[Level], threads: int) -> "LevelArrays":
        """The levels' numbers as arrays, which compiled code can index."""
        return cls(
            np.array([level.scale for level in levels], np.float32),
            np.array([level.entries for level in levels], np.int64),
            np.array([level.offset for level in levels], np.int64),
            np.array([level.hashed for level in levels], np.bool_),
            np.array([level.multipliers for level in levels], np.uint32),
            np.array([level for thread in range(threads) for level in range(thread, len(levels), threads)], np.int64),
        )


@jit()
def _as_uint32(cell):  # as in reference.py
    representable = (cell >= np.float32(-(2.0**31))) & (cell < np.float32(2.0**31))
    return uint32(np.int32(cell if representable else np.float32(0)))


@jit()
def _cells(planes, i, scale):
    """The cell of point i and where it lies in it."""
    half = np.float32(0.5)
    x, y, z = planes[0, i] * scale + half, planes[1, i] * scale + half, planes[2, i] * scale + half
    cell_x, cell_y, cell_z = np.floor(x), np.floor(y), np.floor(z)
    return cell_x, cell_y, cell_z, x - cell_x, y - cell_y, z - cell_z


@jit()
def _fill_weights(planes, count, scale, weights):
    """weights[c, i]: how much corner c counts for point i; bit 0 of c is its x, bit 1 its y, bit 2 its z."""
    one = np.float32(1)
    for i in range(count):
        _, _, _, x1, y1, z1 = _cells(planes, i, scale)
        x0, y0, z0 = one - x1, one - y1, one - z1
        x0y0, x1y0, x0y1, x1y1 = x0 * y0, x1 * y0, x0 * y1, x1 * y1
        weights[0, i], weights[1, i], weights[2, i], weights[3, i] = x0y0 * z0, x1y0 * z0, x0y1 * z0, x1y1 * z0
        weights[4, i], weights[5, i], weights[6, i], weights[7, i] = x0y0 * z1, x1y0 * z1, x0y1 * z1, x1y1 * z1


# numba widens uint32 arithmetic to 64 bits; the casts below keep it at 32, twice as many to a vector register.


@jit()
def _fill_hashed_rows(planes, count, scale, steps, entries, rows):
    """rows[c, i]: the table row of corner c of point i, in a level that hashes; its size is a power of two."""
    step_x, step_y, step_z, mask = steps[0], steps[1], steps[2], uint32(entries - uint32(1))
    for i in range(count):
        cell_x, cell_y, cell_z, _, _, _ = _cells(planes, i, scale)
        i0, j0, k0 = _as_uint32(cell_x), uint32(_as_uint32(cell_y) * step_y), uint32(_as_uint32(cell_z) * step_z)
        i1, j1, k1 = uint32(i0 + step_x), uint32(j0 + step_y), uint32(k0 + step_z)
        i0j0, i1j0, i0j1, i1j1 = uint32(i0 ^ j0), uint32(i1 ^ j0), uint32(i0 ^ j1), uint32(i1 ^ j1)
        rows[0, i], rows[1, i] = uint32(i0j0 ^ k0) & mask, uint32(i1j0 ^ k0) & mask
        rows[2, i], rows[3, i] = uint32(i0j1 ^ k0) & mask, uint32(i1j1 ^ k0) & mask
        rows[4, i], rows[5, i] = uint32(i0j0 ^ k1) & mask, uint32(i1j0 ^ k1) & mask
        rows[6, i], rows[7, i] = uint32(i0j1 ^ k1) & mask, uint32(i1j1 ^ k1) & mask


@jit()
def _fill_dense_rows(planes, count, scale, steps, entries, rows):
    """rows[c, i] in a level in which every vertex of the unit cube has a row of its own."""
    step_x, step_y, step_z = steps[0], steps[1], steps[2]
    for i in range(count):
        cell_x, cell_y, cell_z, _, _, _ = _cells(planes, i, scale)
        i0, j0, k0 = _as_uint32(cell_x), uint32(_as_uint32(cell_y) * step_y), uint32(_as_uint32(cell_z) * step_z)
        i1, j1, k1 = uint32(i0 + step_x), uint32(j0 + step_y), uint32(k0 + step_z)
        i0j0, i1j0, i0j1, i1j1 = uint32(i0 + j0), uint32(i1 + j0), uint32(i0 + j1), uint32(i1 + j1)
        rows[0, i], rows[1, i], rows[2, i], rows[3, i] = i0j0 + k0, i1j0 + k0, i0j1 + k0, i1j1 + k0
        rows[4, i], rows[5, i], rows[6, i], rows[7, i] = i0j0 + k1, i1j0 + k1, i0j1 + k1, i1j1 + k1
    _wrap_rows(rows, count, entries)


@jit()
def _wrap_rows(rows, count, entries):
    """Rows modulo entries. Within the unit cube one subtraction does, and only the border needs it; far outside, the
    slow division."""
    largest = uint32(0)
    for corner in range(8):
        for i in range(count):
            row = rows[corner, i]
            row = uint32(row - entries) if row >= entries else row
            rows[corner, i] = row
            largest = max(largest, row)
    if largest >= entries:
        for corner in range(8):
            for i in range(count):
                rows[corner, i] %= entries


@jit()
def _locate(points, start, count, level, levels, planes, rows, weights):
    """Fills in rows and weights of the corners around `count` points from `start` on."""
    for i in range(count):
        for axis in range(3):
            planes[axis, i] = points[start + i, axis]
    scale, steps, entries = levels.scale[level], levels.multipliers[level], uint32(levels.entries[level])
    _fill_weights(planes, count, scale, weights)
    if levels.hashed[level]:
        _fill_hashed_rows(planes, count, scale, steps, entries, rows)
    else:
        _fill_dense_rows(planes, count, scale, steps, entries, rows)


@jit()
def _chunk_buffers():
    """Memory for the coordinates, rows and weights of one chunk."""
    return np.empty((3, CHUNK), np.float32), np.empty((8, CHUNK), np.uint32), np.empty((8, CHUNK), np.float32)


@jit()
def _gather(table, rows, weights, encoded):
    """encoded[f, i] = sum over corners of weight * table[row, f]; two features share one read of row and weight."""
    features, count = encoded.shape
    for f in range(0, features - 1, 2):
        for i in range(count):
            first, second = np.float32(0), np.float32(0)
            for corner in range(8):
                weight = weights[corner, i]
                entry = uintp(rows[corner, i]) * uintp(features) + uintp(f)
                first += weight * table[entry]
                second += weight * table[entry + uintp(1)]
            encoded[f, i] = first
            encoded[f + 1, i] = second
    if features == 1:
        for i in range(count):
            only = np.float32(0)
            for corner in range(8):
                only += weights[corner, i] * table[rows[corner, i]]
            encoded[0, i] = only


@jit()
def _scatter(grad_encoded, rows, weights, grad_table):
    """grad_table[row, f] += weight * grad_encoded[f, i] for all corners: the transpose of `_gather`."""
    features, count = grad_encoded.shape
    for f in range(0, features - 1, 2):
        for i in range(count):
            first, second = grad_encoded[f, i], grad_encoded[f + 1, i]
            for corner in range(8):
                weight = weights[corner, i]
                entry = uintp(rows[corner, i]) * uintp(features) + uintp(f)
                grad_table[entry] += weight * first
                grad_table[entry + uintp(1)] += weight * second
    if features == 1:
        for i in range(count):
            for corner in range(8):
                grad_table[rows[corner, i]] += weights[corner, i] * grad_encoded[0, i]


@jit()
def _gather_slopes(table, grad_encoded, rows, weights, scale, products, grad_points):
    """Adds one level's gradient with respect to the points, grad_points[axis, i].

    The derivative of a corner's weight along an axis is the product of its weights along the two other axes, times
    plus or minus scale; and that product is the sum of the weights of the two corners on the edge.
    """
    features, count = grad_encoded.shape
    for f in range(0, features - 1, 2):
        for i in range(count):
            first, second = grad_encoded[f, i], grad_encoded[f + 1, i]
            for corner in range(8):
                entry = uintp(rows[corner, i]) * uintp(features) + uintp(f)
                earlier = products[corner, i] if f > 0 else np.float32(0)
                products[corner, i] = earlier + first * table[entry] + second * table[entry + uintp(1)]
    if features == 1:
        for i in range(count):
            for corner in range(8):
                products[corner, i] = grad_encoded[0, i] * table[rows[corner, i]]
    for i in range(count):
        w0, w1, w2, w3 = weights[0, i], weights[1, i], weights[2, i], weights[3, i]
        w4, w5, w6, w7 = weights[4, i], weights[5, i], weights[6, i], weights[7, i]
        p0, p1, p2, p3 = products[0, i], products[1, i], products[2, i], products[3, i]
        p4, p5, p6, p7 = products[4, i], products[5, i], products[6, i], products[7, i]
        x = (w0 + w1) * (p1 - p0) + (w2 + w3) * (p3 - p2) + (w4 + w5) * (p5 - p4) + (w6 + w7) * (p7 - p6)
        y = (w0 + w2) * (p2 - p0) + (w1 + w3) * (p3 - p1) + (w4 + w6) * (p6 - p4) + (w5 + w7) * (p7 - p5)
        z = (w0 + w4) * (p4 - p0) + (w1 + w5) * (p5 - p1) + (w2 + w6) * (p6 - p2) + (w3 + w7) * (p7 - p3)
        grad_points[0, i] += scale * x
        grad_points[1, i] += scale * y
        grad_points[2, i] += scale * z


@jit(parallel=True)
def encode(table, points, levels, encoded, threads):
    """Fills in encoded, [output_dim, num_points], for points of shape [num_points, 3]."""
    features = encoded.shape[0] // levels.scale.size
    num_points = encoded.shape[1]
    total = num_points * levels.scale.size
    for thread in prange(threads):
        planes, rows, weights = _chunk_buffers()
        done, last = total * thread // threads, total * (thread + 1) // threads
        while done < last:
            turn = done // num_points
            first, end = done - turn * num_points, min(last - turn * num_points, num_points)
            level = levels.order[turn]
            level_table = table[levels.offset[level] * features :]
            for start in range(first, end, CHUNK):
                stop = min(start + CHUNK, end)
                _locate(points, start, stop - start, level, levels, planes, rows, weights)
                _gather(level_table, rows, weights, encoded[level * features : (level + 1) * features, start:stop])
            done = turn * num_points + end


@jit(parallel=True)
def encode_backward_table(grad_encoded, points, levels, grad_table, partial, threads):
    """Fills in the gradient of the table.

    Thread t takes the t-th part of all points of the first level in `levels.order`, all points of the next one, ...

    Where a part begins within a level, its first sums go to partial[t] ([threads, parameters of the largest level]),
    since an earlier thread writes to the level's own table.
    """
    features = grad_encoded.shape[0] // levels.scale.size
    num_points = grad_encoded.shape[1]
    total = num_points * levels.scale.size
    for thread in prange(threads):
        planes, rows, weights = _chunk_buffers()
        done, last = total * thread // threads, total * (thread + 1) // threads
        while done < last:
            turn = done // num_points
            first, end = done - turn * num_points, min(last - turn * num_points, num_points)
            level = levels.order[turn]
            offset, entries = levels.offset[level], levels.entries[level]
            sums = grad_table[offset * features : (offset + entries) * features]
            if first > 0:
                sums = partial[thread, : entries * features]
            sums[:] = 0
            for start in range(first, end, CHUNK):
                stop = min(start + CHUNK, end)
                _locate(points, start, stop - start, level, levels, planes, rows, weights)
                level_grad = grad_encoded[level * features : (level + 1) * features, start:stop]
                _scatter(level_grad, rows, weights, sums)
            done = turn * num_points + end


@jit(parallel=True)
def add_partial_sums(grad_table, partial, levels, num_points, threads):
    """Adds to the gradient of the table what `encode_backward_table` put aside."""
    features = grad_table.size // (levels.offset[-1] + levels.entries[-1])
    total = num_points * levels.scale.size
    for other in range(1, threads):
        begin, end = total * other // threads, total * (other + 1) // threads
        if begin % num_points and begin < end:
            level = levels.order[begin // num_points]
            offset, size = levels.offset[level] * features, levels.entries[level] * features
            for i in prange(size):
                grad_table[offset + i] += partial[other, i]


@jit(parallel=True)
def encode_backward_points(grad_encoded, table, points, levels, grad_points, threads):
    """Fills in each thread's part of the gradient of the points, [threads, 3, num_points]."""
    features = grad_encoded.shape[0] // levels.scale.size
    num_points = grad_encoded.shape[1]
    total = num_points * levels.scale.size
    for thread in prange(threads):
        planes, rows, weights = _chunk_buffers()
        products = np.empty((8, CHUNK), np.float32)
        grad_points[thread] = 0
        done, last = total * thread // threads, total * (thread + 1) // threads
        while done < last:
            turn = done // num_points
            first, end = done - turn * num_points, min(last - turn * num_points, num_points)
            level = levels.order[turn]
            level_table = table[levels.offset[level] * features :]
            for start in range(first, end, CHUNK):
                stop = min(start + CHUNK, end)
                _locate(points, start, stop - start, level, levels, planes, rows, weights)
                level_grad = grad_encoded[level * features : (level + 1) * features, start:stop]
                chunk_grad = grad_points[thread, :, start:stop]
                _gather_slopes(level_table, level_grad, rows, weights, levels.scale[level], products, chunk_grad)
            done = turn * num_points + end
