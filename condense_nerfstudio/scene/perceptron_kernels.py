"""Kernels for perceptrons on the CPU.

Arrays of features are [features, points]. A block of points goes through all layers while it is in the cache; its
products are left to the BLAS that comes with SciPy.
"""

import numpy as np
from numba import prange

from condense_nerfstudio.compiled import jit

BLOCK = 64
"""Points at a time. OpenBLAS calls its own threads to help with products of more than 64^3 multiplications, which takes
longer than those and disturbs ours."""


@jit()
def _load(array, start, count, block):
    """Copies `count` points into a block; what is left of it becomes zero."""
    for k in range(block.shape[0]):
        row, source = block[k], array[k, start : start + count]
        for i in range(count):
            row[i] = source[i]
        for i in range(count, BLOCK):
            row[i] = 0


@jit()
def _store(block, start, count, array):
    """Copies the first `count` points of a block out."""
    for k in range(block.shape[0]):
        row, target = block[k], array[k, start : start + count]
        for i in range(count):
            target[i] = row[i]


@jit()
def _add_ray_term(ray_term, samples, start, count, block):
    """Adds to each point what belongs to its ray."""
    begin = 0
    while begin < count:
        ray = (start + begin) // samples
        end = min((ray + 1) * samples - start, count)
        for k in range(block.shape[0]):
            value, row = ray_term[ray, k], block[k]
            for i in range(begin, end):
                row[i] += value
        begin = end


@jit()
def _add_to_rays(block, samples, start, count, grad_ray_term):
    """The transpose of `_add_ray_term`."""
    begin = 0
    while begin < count:
        ray = (start + begin) // samples
        end = min((ray + 1) * samples - start, count)
        for k in range(block.shape[0]):
            total, row = np.float32(0), block[k]
            for i in range(begin, end):
                total += row[i]
            grad_ray_term[ray, k] += total
        begin = end


@jit()
def _rectify(block):
    for k in range(block.shape[0]):
        row = block[k]
        for i in range(BLOCK):
            row[i] = max(row[i], np.float32(0))


@jit()
def _mask(block, hidden):
    """The derivative of `_rectify`, times a block."""
    for k in range(block.shape[0]):
        row, source = block[k], hidden[k]
        for i in range(BLOCK):
            row[i] = row[i] if source[i] > np.float32(0) else np.float32(0)


@jit()
def _add(values, sums):
    for r in range(sums.shape[0]):
        for k in range(sums.shape[1]):
            sums[r, k] += values[r, k]


@jit()
def _run_layers(weights, ray_term, samples, start, count, blocks):
    """blocks[l + 1] = weights[l] @ blocks[l], rectified but for the last one."""
    for layer in range(len(weights)):
        np.dot(weights[layer], blocks[layer], blocks[layer + 1])
        if layer == 0 and ray_term.size:
            _add_ray_term(ray_term, samples, start, count, blocks[1])
        if layer + 1 < len(weights):
            _rectify(blocks[layer + 1])


@jit()
def _new_blocks(weights):
    """A block for the input and for the output of every layer."""
    blocks = [np.empty((weights[0].shape[1], BLOCK), np.float32)]
    for weight in weights:
        blocks.append(np.empty((weight.shape[0], BLOCK), np.float32))
    return blocks


@jit(parallel=True)
def forward(inputs, weights, ray_term, samples, outputs, threads):
    """Fills in outputs, [out, points].

    Args:
        inputs: [in, points].
        weights: a tuple of [out, in] of each layer.
        ray_term: [rays, hidden], or of size 0 for none.
        samples: points of each ray.
        outputs: [out, points].
        threads: number of threads; each takes whole rays.
    """
    rays = inputs.shape[1] // samples
    for thread in prange(threads):
        blocks = _new_blocks(weights)
        last = rays * (thread + 1) // threads * samples
        for start in range(rays * thread // threads * samples, last, BLOCK):
            count = min(BLOCK, last - start)
            _load(inputs, start, count, blocks[0])
            _run_layers(weights, ray_term, samples, start, count, blocks)
            _store(blocks[len(weights)], start, count, outputs)


@jit(parallel=True)
def backward(inputs, weights, ray_term, samples, grad_outputs, grad_inputs, grad_weights, grad_ray_term, threads):
    """Fills in the gradients; runs forward again rather than keep what lies between the layers.

    Those of the weights are sums over each thread's own points: a tuple of [threads, out, in].
    """
    rays = inputs.shape[1] // samples
    for thread in prange(threads):
        blocks, gradients = _new_blocks(weights), _new_blocks(weights)
        products = [np.empty(weight.shape, np.float32) for weight in weights]
        for layer in range(len(weights)):
            grad_weights[layer][thread] = 0
        last = rays * (thread + 1) // threads * samples
        for start in range(rays * thread // threads * samples, last, BLOCK):
            count = min(BLOCK, last - start)
            _load(inputs, start, count, blocks[0])
            _run_layers(weights, ray_term, samples, start, count, blocks)
            _load(grad_outputs, start, count, gradients[len(weights)])
            for layer in range(len(weights) - 1, -1, -1):
                gradient = gradients[layer + 1]
                if layer == 0 and ray_term.size:
                    _add_to_rays(gradient, samples, start, count, grad_ray_term)
                np.dot(gradient, blocks[layer].T, products[layer])
                _add(products[layer], grad_weights[layer][thread])
                np.dot(weights[layer].T, gradient, gradients[layer])
                if layer > 0:
                    _mask(gradients[layer], blocks[layer])
            _store(gradients[0], start, count, grad_inputs)
