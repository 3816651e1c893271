"""Choosing a few of many, evenly."""

from __future__ import annotations

import numpy as np


def evenly_chosen(count: int, most: int) -> list[int]:
    """Places of `most` of `count` things, the first and the last among them; all places where there are no more."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
