"""One vector for a whole condensed scene: its nearest neighbours are the scenes worth a closer look."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from condense_nerfstudio.keypoints.condensed_scene import DetectorCard, NetworkCard

_RECIPE = "sqrtm 1"
"""Changes whenever embeddings would: those of different recipes must not be compared."""


def embedding_card(detector: DetectorCard) -> NetworkCard:
    """The space of embeddings made of a detector's descriptors."""
    dim = detector.dim * (detector.dim + 1) // 2
    return NetworkCard(f"scene of {detector.name}", f"{detector.revision} {_RECIPE}", dim)


def embedding(descriptors: Float[np.ndarray, "n d"]) -> Float32[np.ndarray, " e"]:
    """The matrix square root of the descriptors' second moment, as a unit vector.

    Second-order pooling (Carreira et al., ECCV 2012, section 3), with the square root (Li et al., ICCV 2017, section
    3.2) in place of the logarithm, which few descriptors do not determine. It needs no vocabulary, so scenes that were
    added at any time can be compared.

    Args:
        descriptors: of a scene's key points, unit vectors; e is d * (d + 1) / 2.
    """
    exact = descriptors.astype(np.float64)
    values, vectors = np.linalg.eigh(exact.T @ exact)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    rows, columns = np.triu_indices(len(root))
    # The length of the upper triangle is that of the whole matrix.
    upper = root[rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))
    return (upper / max(float(np.linalg.norm(upper)), 1e-12)).astype(np.float32)
