"""Photographs for tests, from scikit-image's wheel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage import data


def photograph(width: int = 160, height: int = 128) -> torch.Tensor:
    """An astronaut, (height, width, 3) in 0..1."""
    picture = Image.fromarray(data.astronaut()).resize((width, height), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255)


def save_photograph(path: Path) -> Path:
    """The photograph as a file."""
    Image.fromarray((photograph().numpy() * 255).astype(np.uint8)).save(path)
    return path
