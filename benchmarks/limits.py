"""What the machine can do at best, and how near the stages of a training step come to it.

Three limits, on as many threads as training uses: multiplications (a large matrix product), bytes (a copy that does not
fit in the cache) and table rows (reads, and additions in place, of random rows of two floats in a table as large as a
level of the grid). A stage cannot be faster than its work divided by the limit that it depends on; the fraction says
how much of that it reaches. Rows of a real grid are less random than these, so a fraction may exceed 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numba
import numpy as np
import torch

CORNERS, BYTES_OF_ADAM = 8, 28
"""Rows of a table that a point touches in each level; bytes read and written a parameter in Adam."""


@numba.njit(parallel=True, fastmath=True)
def _read_rows(table, rows, sums, threads):
    for thread in numba.prange(threads):
        first, second = np.float32(0), np.float32(0)
        for i in range(len(rows) * thread // threads, len(rows) * (thread + 1) // threads):
            first += table[rows[i], 0]
            second += table[rows[i], 1]
        sums[thread] = first + second


@numba.njit(parallel=True, fastmath=True)
def _add_to_rows(table, rows, threads):
    entries = table.shape[0] // threads  # a part of the table for each thread, as kernels must not write to one row
    for thread in numba.prange(threads):
        for i in range(len(rows) * thread // threads, len(rows) * (thread + 1) // threads):
            row = thread * entries + rows[i] % entries
            table[row, 0] += np.float32(1)
            table[row, 1] += np.float32(2)


def machine_limits(log2_entries: int = 19) -> dict[str, float]:
    """Operations, bytes and rows a second that this machine reaches.

    Args:
        log2_entries: size of the table, base-2 logarithm.
    """
    threads = numba.get_num_threads()
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    source, target = torch.ones(64_000_000), torch.empty(64_000_000)
    table = np.ones((2**log2_entries, 2), np.float32)
    rows = np.random.default_rng(0).integers(0, 2**log2_entries, 8_000_000).astype(np.uint32)
    sums = np.empty(threads, np.float32)
    return {
        "flops": 2 * 1536**3 / median_seconds(lambda: a @ b),
        "bytes": 2 * 4 * len(source) / median_seconds(lambda: target.copy_(source)),
        "row_reads": len(rows) / median_seconds(lambda: _read_rows(table, rows, sums, threads)),
        "row_additions": len(rows) / median_seconds(lambda: _add_to_rows(table, rows, threads)),
    }


def stages(milliseconds: Mapping[str, float], sizes: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    """Time of each stage of a step, what bounds it and how much of that bound it reaches.

    Args:
        milliseconds: of each operation, as from Worker.operations.
        sizes: as from Worker.sizes.
        limits: as from machine_limits.
    """
    proposals, field, learns = sizes["proposal_points"], sizes["field_points"], sizes["proposal_updates"]
    proposal_rows = proposals * sizes["proposal_levels"] * CORNERS
    field_rows = field * sizes["field_levels"] * CORNERS
    products = 2 * (proposals * sizes["proposal_weights"] + field * sizes["field_weights"])
    learnt_products = 2 * (learns * proposals * sizes["proposal_weights"] + field * sizes["field_weights"])
    bounds = {
        "hash grid forward": ("_HashGridFunction", "row_reads", (proposal_rows + field_rows) / limits["row_reads"]),
        "hash grid backward": (
            "_HashGridFunctionBackward",
            "row_additions",
            (learns * proposal_rows + field_rows) / limits["row_additions"] + field_rows / limits["row_reads"],
        ),
        "networks forward": ("_PerceptronFunction", "flops", products / limits["flops"]),
        "networks backward": ("_PerceptronFunctionBackward", "flops", 2 * learnt_products / limits["flops"]),
        "Adam": ("aten::_fused_adam_", "bytes", BYTES_OF_ADAM * sizes["parameters"] / limits["bytes"]),
    }
    table = {
        name: {"milliseconds": milliseconds[key], "bound": bound, "fraction_of_bound": 1000 * least / milliseconds[key]}
        for name, (key, bound, least) in bounds.items()
    }
    others = sum(milliseconds.values()) - sum(milliseconds[key] for key, _, _ in bounds.values())
    return {**table, "all other operations": {"milliseconds": others}}


def median_seconds(work: Callable[[], Any], repeats: int = 7) -> float:
    """Median seconds of a call, after one untimed call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return median(times)
