"""From detected points to a map that says how much each part of a photograph looks like a key point.

Every detector has a measure of its own, and networks answer with peaks a pixel wide. A field is trained on, and
detectors are compared by, the same thing for all of them: a small bell around each detection, as high as the detection
is good compared with the others of its photograph.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float16

STRIDE = 4
"""Pixels that the detector saw per cell of the map."""

WIDTH = 1.0
"""Standard deviation of a bell in cells."""

FULL_SCORE = 0.9
"""The quantile of a photograph's scores from which a bell has its full height of one."""

_REACH = 3


def relative_scores(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores of one photograph's detections in 0..1, whatever the detector measures them in.

    Args:
        scores: positive.
    """
    if not len(scores):
        return scores
    return np.minimum(scores / max(float(np.quantile(scores, FULL_SCORE)), 1e-12), 1.0)


def heat_map(
    pixels: Float[np.ndarray, "n 2"], scores: Float[np.ndarray, " n"], seen_size: tuple[int, int]
) -> Float16[np.ndarray, "hh hw"]:
    """The highest bell at each cell.

    Args:
        pixels: detections in continuous coordinates of what the detector saw (x, y).
        scores: of the detections, positive.
        seen_size: (height, width) of what the detector saw.
    """
    shape = tuple(max(1, side // STRIDE) for side in seen_size)
    heat = np.zeros(shape, dtype=np.float32)
    heights = relative_scores(scores)
    # In cells, with the centre of a cell at a whole number.
    centres = pixels * (np.array(shape[::-1]) / np.array(seen_size[::-1])) - 0.5
    nearest = np.round(centres).astype(int)
    for row in range(-_REACH, _REACH + 1):
        for column in range(-_REACH, _REACH + 1):
            cells = nearest + np.array([column, row])
            inside = ((cells >= 0) & (cells < shape[::-1])).all(axis=1)
            bells = heights * np.exp(-((cells - centres) ** 2).sum(axis=1) / (2 * WIDTH**2))
            np.maximum.at(heat, (cells[inside, 1], cells[inside, 0]), bells[inside].astype(np.float32))
    return heat.astype(np.float16)
