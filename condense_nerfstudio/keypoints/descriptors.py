"""One local descriptor for a point that several photographs show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from condense_nerfstudio.keypoints.tracks import NO_DETECTION, Tracks, View

_ROUNDS = 3
_LEAST = 1e-3


def mean_descriptors(tracks: Tracks, views: Sequence[View]) -> Float32[np.ndarray, "m d"]:
    """The robust mean of the descriptors that support each point, of length one.

    Descriptors count the more, the nearer they are to the mean of the others: weights 1 / distance, which make the mean
    the spherical median (Weiszfeld's iteration), so that one wrong detection among few does not spoil it.
    """
    dim = views[0].descriptors.shape[1]
    mean = np.zeros((len(tracks), dim), dtype=np.float32)
    for k in range(_ROUNDS + 1):
        total = np.zeros_like(mean)
        for v, view in enumerate(views):
            rows = np.flatnonzero(tracks.support[:, v] != NO_DETECTION)
            descriptors = view.descriptors[tracks.support[rows, v]]
            weights = 1.0 / np.maximum(np.linalg.norm(descriptors - mean[rows], axis=1), _LEAST) if k else 1.0
            total[rows] += descriptors * np.reshape(weights, (-1, 1))
        mean = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
    return mean
