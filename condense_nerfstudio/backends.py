"""What this machine can compute with."""

from __future__ import annotations

import torch
from torch import Tensor


def numba_works() -> bool:
    """Whether numba can be imported: it is missing, or finds a numpy that is too new for it, on some machines."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def runs_compiled(*tensors: Tensor) -> bool:
    """Whether the compiled kernels take these tensors: float32, on the CPU, where numba works."""
    return all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors) and numba_works()
