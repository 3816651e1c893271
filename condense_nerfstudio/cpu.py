"""Settings of the process under which a CPU trains and renders faster."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt(3)."""


def prepare_cpu() -> None:
    """Keeps freed memory, and rounds numbers below 1e-38 to zero, with which processors compute ten times as slowly."""
    # numpy looks at these limits once, and would warn of the rounding if it came later.
    np.finfo(np.float32)
    np.finfo(np.float64)
    keep_freed_memory()
    torch.set_flush_denormal(True)


def keep_freed_memory() -> bool:
    """Lets the process keep the memory that it frees, for the next arrays of that size.

    By default glibc gives arrays of megabytes back to the system at once and asks for them again a moment later, when
    the kernel has to find and clear every page anew: a quarter of a training step on a CPU. What is kept counts as
    resident, at most as much as was in use at one time.

    Returns:
        Whether this machine's C library could be told so; where not, all works as before.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
