"""The shape of a multiresolution hash grid: resolution, scale and place in the table of every level.

The formulas are those of tiny-cuda-nn (`grid_scale` and `grid_resolution` in `common_device.h`, the constructor of
`GridEncodingTemplated` in `encodings/grid.h`), with its float32 roundings: one rounding apart moves a resolution by one
and with it every later parameter.
"""

import math
from typing import NamedTuple

import numpy as np

HASH_PRIMES = (1, 2654435761, 805459861)
"""Multipliers of the cell's x, y and z in the spatial hash."""

MAX_DENSE_RESOLUTION = 1625
"""The largest resolution whose cube fits in a uint32; finer levels are hashed whatever the table's size."""


class Level(NamedTuple):
    """One level of the grid."""

    resolution: int
    """Grid vertices along each axis."""
    scale: float
    """Cells along the unit interval, a float32 value; `position * scale + 0.5` is in units of cells."""
    entries: int
    """Rows of the level's table."""
    offset: int
    """Rows of all coarser levels' tables."""
    hashed: bool
    """Whether cells are hashed into the table. If not, every cell of the unit cube has a row of its own."""

    @property
    def multipliers(self) -> tuple[int, int, int]:
        """Factors of a vertex's x, y and z before they are combined: by xor in a hashed level, else by addition."""
        return HASH_PRIMES if self.hashed else (1, self.resolution, self.resolution**2)


def per_level_scale(num_levels: int, base_resolution: int, max_resolution: int) -> float:
    """The ratio between the resolutions of neighbouring levels, as nerfstudio computes it for tiny-cuda-nn."""
    if num_levels == 1:
        return 1.0
    return math.exp((math.log(max_resolution) - math.log(base_resolution)) / (num_levels - 1))


def grid_levels(
    num_levels: int, log2_hashmap_size: int, base_resolution: int, max_resolution: int
) -> tuple[Level, ...]:
    """The levels of a grid, coarsest first.

    Args:
        num_levels: Number of levels.
        log2_hashmap_size: Base-2 logarithm of the largest number of rows that a level may have.
        base_resolution: Resolution of the coarsest level.
        max_resolution: Resolution of the finest level.
    """
    growth = np.float32(per_level_scale(num_levels, base_resolution, max_resolution))
    # Logarithm and power are taken in double precision and rounded, which is what a C library's log2f and exp2f give.
    log2_growth = np.float32(math.log2(growth))
    levels: list[Level] = []
    offset = 0
    for index in range(num_levels):
        power = np.float32(2.0 ** float(np.float32(index) * log2_growth))
        scale = power * np.float32(base_resolution) - np.float32(1)
        resolution = math.ceil(scale) + 1
        cells = resolution**3
        entries = min((cells + 7) // 8 * 8, 2**log2_hashmap_size)
        hashed = cells > entries or resolution > MAX_DENSE_RESOLUTION
        levels.append(Level(resolution, float(scale), entries, offset, hashed))
        offset += entries
    return tuple(levels)
