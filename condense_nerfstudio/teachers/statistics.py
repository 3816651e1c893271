"""Mean and principal components of a teacher's features over a whole set of images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """Where a teacher's features lie in their space."""

    mean: Float[Tensor, " c"]
    basis: Float[Tensor, "c k"]
    """Orthonormal principal directions, most variance first; the largest component of each is positive."""
    eigenvalues: Float[Tensor, " k"]
    """Variance along each direction."""
    total_variance: float
    """Sum of the variances of all c channels, i.e. the mean squared length of a centred feature."""


def feature_statistics(feature_maps: Iterable[npt.NDArray], num_components: int) -> FeatureStatistics:
    """Mean and PCA basis of feature maps, read one at a time; memory does not grow with their number.

    Args:
        feature_maps: arrays of shape (hp, wp, c) with the same c, of any floating type; at least one.
        num_components: k, at most c.

    Returns:
        Statistics in float32 on the CPU, the same in every run.

    Raises:
        ValueError: there is no map, or k exceeds c.
    """
    count, total, products = 0, None, None
    for feature_map in feature_maps:
        features = torch.tensor(feature_map).flatten(0, -2).double()
        if total is None or products is None:
            channels = features.shape[1]
            if num_components > channels:
                raise ValueError(f"{num_components} components of {channels} channels")
            total = features.new_zeros(channels)
            products = features.new_zeros(channels, channels)
        count += len(features)
        total += features.sum(0)
        products.addmm_(features.T, features)
    if total is None or products is None:
        raise ValueError("no feature map")
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    basis = vectors.flip(1)[:, :num_components]
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
    return FeatureStatistics(
        mean=mean.float(),
        basis=(basis * largest.sign()).float(),
        eigenvalues=eigenvalues.flip(0)[:num_components].clamp(min=0).float(),
        total_variance=float(covariance.trace()),
    )
