"""Kernels for what is computed along rays on the CPU: each thread takes some of the rays, and one pass does all.

In PyTorch the same takes dozens of passes over memory; nerfstudio's functions, which the docstrings name, do that and
are what the kernels are tested against.
"""

import numpy as np
from numba import prange

from condense_nerfstudio.compiled import jit

LEAST_WEIGHT = np.float32(1e-7)
"""Keeps the interlevel loss from dividing by zero; nerfstudio's EPS."""


@jit(parallel=True)
def weights(densities, deltas, result, threads):
    """Rendering weights [rays, samples], as RaySamples.get_weights."""
    num_rays, num_samples = densities.shape
    for thread in prange(threads):
        for ray in range(num_rays * thread // threads, num_rays * (thread + 1) // threads):
            transmittance = np.float32(1)
            for i in range(num_samples):
                passed = np.exp(-densities[ray, i] * deltas[ray, i])
                weight = transmittance * (np.float32(1) - passed)
                result[ray, i] = weight if weight == weight else np.float32(0)
                transmittance *= passed


@jit(parallel=True)
def weights_backward(densities, deltas, rendering_weights, grad_weights, grad_densities, threads):
    """The gradient of the densities.

    A density dims all that lies behind it: d w_j / d sigma_i = -delta_i w_j for j > i, and delta_i T_(i+1) for j = i.
    """
    num_rays, num_samples = densities.shape
    for thread in prange(threads):
        for ray in range(num_rays * thread // threads, num_rays * (thread + 1) // threads):
            transmittance = np.float32(1)
            behind = np.float32(0)
            for i in range(num_samples):
                behind += grad_weights[ray, i] * rendering_weights[ray, i]
            for i in range(num_samples):
                transmittance *= np.exp(-densities[ray, i] * deltas[ray, i])
                behind -= grad_weights[ray, i] * rendering_weights[ray, i]
                gradient = deltas[ray, i] * (grad_weights[ray, i] * transmittance - behind)
                grad_densities[ray, i] = gradient if gradient == gradient else np.float32(0)


@jit(parallel=True)
def resample(bins, rendering_weights, exponent, padding, positions, result, threads):
    """Edges of new samples, drawn from the histogram of the old ones, as PDFSampler.

    Args:
        bins: edges of the old samples [rays, old + 1].
        rendering_weights: [rays, old].
        exponent: to which weights are raised first.
        padding: what is added to each then.
        positions: where to look the inverse of the cumulative distribution up, ascending, [rays, new + 1].
        result: edges of the new samples [rays, new + 1].
        threads: number of threads.
    """
    num_rays, num_old = rendering_weights.shape
    zero, one = np.float32(0), np.float32(1)
    for thread in prange(threads):
        cumulative = np.empty(num_old + 1, np.float32)
        for ray in range(num_rays * thread // threads, num_rays * (thread + 1) // threads):
            total = zero
            cumulative[0] = zero
            for i in range(num_old):
                weight = rendering_weights[ray, i]
                total += (weight if exponent == one else weight**exponent) + padding
                cumulative[i + 1] = total
            for i in range(1, num_old + 1):
                cumulative[i] = min(cumulative[i] / total, one)
            above = 0
            for k in range(result.shape[1]):
                position = positions[ray, k]
                while above <= num_old and cumulative[above] <= position:
                    above += 1
                low, high = max(above - 1, 0), min(above, num_old)
                width = cumulative[high] - cumulative[low]
                share = (position - cumulative[low]) / width if width > zero else zero
                start = bins[ray, low]
                result[ray, k] = start + min(max(share, zero), one) * (bins[ray, high] - start)


@jit(parallel=True)
def interlevel(bins, field_weights, proposal_bins, proposal_weights, losses, grad_proposal, threads):
    """Interlevel loss of each ray and its gradient with respect to the proposal's weights, as lossfun_outer.

    A proposal's weights over the samples that a field's sample touches should add up to at least its weight.
    """
    num_rays, num_samples = field_weights.shape
    num_proposals = proposal_weights.shape[1]
    for thread in prange(threads):
        cumulative = np.empty(num_proposals + 1, np.float32)
        for ray in range(num_rays * thread // threads, num_rays * (thread + 1) // threads):
            gradient = grad_proposal[ray]
            gradient[:] = np.float32(0)
            cumulative[0] = np.float32(0)
            for i in range(num_proposals):
                cumulative[i + 1] = cumulative[i] + proposal_weights[ray, i]
            loss = np.float32(0)
            low, high = 0, 0
            for i in range(num_samples):
                while low < num_proposals and proposal_bins[ray, low] <= bins[ray, i]:
                    low += 1
                while high < num_proposals and proposal_bins[ray, high + 1] <= bins[ray, i + 1]:
                    high += 1
                first, last = max(low - 1, 0), min(high, num_proposals - 1)
                weight = field_weights[ray, i]
                missing = weight - (cumulative[last + 1] - cumulative[first])
                if missing > 0:
                    loss += missing * missing / (weight + LEAST_WEIGHT)
                    slope = np.float32(-2) * missing / (weight + LEAST_WEIGHT)
                    gradient[first] += slope  # differences, summed up below
                    if last + 1 < num_proposals:
                        gradient[last + 1] -= slope
            for i in range(1, num_proposals):
                gradient[i] += gradient[i - 1]
            losses[ray] = loss


@jit(parallel=True)
def distortion(bins, rendering_weights, losses, gradients, threads):
    """Distortion loss of each ray and its gradient with respect to the weights, as lossfun_distortion.

    Sums over pairs of samples become running sums, since samples are in order.
    """
    num_rays, num_samples = rendering_weights.shape
    half, third = np.float32(0.5), np.float32(1 / 3)
    for thread in prange(threads):
        for ray in range(num_rays * thread // threads, num_rays * (thread + 1) // threads):
            weight_sum, moment_sum = np.float32(0), np.float32(0)
            for i in range(num_samples):
                weight_sum += rendering_weights[ray, i]
                moment_sum += rendering_weights[ray, i] * half * (bins[ray, i] + bins[ray, i + 1])
            weight_before, moment_before, loss = np.float32(0), np.float32(0), np.float32(0)
            for i in range(num_samples):
                weight = rendering_weights[ray, i]
                middle = half * (bins[ray, i] + bins[ray, i + 1])
                own = third * weight * (bins[ray, i + 1] - bins[ray, i])
                nearer = middle * weight_before - moment_before
                weight_before += weight
                moment_before += weight * middle
                farther = (moment_sum - moment_before) - middle * (weight_sum - weight_before)
                distance = nearer + farther  # sum over j of w_j |m_i - m_j|
                loss += weight * (distance + own)
                gradients[ray, i] = np.float32(2) * (distance + own)
            losses[ray] = loss
