"""Which device a training runs on unless told otherwise."""

from __future__ import annotations

from typing import Literal

import torch


def best_device() -> Literal["cuda", "mps", "cpu"]:
    """CUDA where there is one, else Apple's GPU, else the CPU (nerfstudio's own default is CUDA or nothing)."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
