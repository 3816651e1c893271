"""Tiny captures in nerfstudio's format: a textured plane, seen by cameras on a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_capture(folder: Path, count: int = 6, size: tuple[int, int] = (64, 48)) -> Path:
    """Writes `count` images (width, height) of noise that shifts with the camera, and transforms.json."""
    (folder / "images").mkdir(parents=True)
    texture = np.random.default_rng(0).integers(0, 255, (size[1] // 4, size[0] // 2, 3), dtype=np.uint8)
    picture = Image.fromarray(texture).resize((size[0] * 2, size[1]), Image.Resampling.BICUBIC)
    frames = []
    for i in range(count):
        left = i * 4
        picture.crop((left, 0, left + size[0], size[1])).save(folder / "images" / f"{i:03d}.png")
        pose = np.eye(4)
        pose[0, 3] = i * 0.2
        frames.append({"file_path": f"images/{i:03d}.png", "transform_matrix": pose.tolist()})
    meta = {"w": size[0], "h": size[1], "fl_x": 60.0, "fl_y": 60.0, "cx": size[0] / 2, "cy": size[1] / 2}
    (folder / "transforms.json").write_text(json.dumps({**meta, "camera_model": "OPENCV", "frames": frames}))
    return folder


def edit_transforms(folder: Path, change) -> None:
    """Applies a function to the parsed transforms.json."""
    path = folder / "transforms.json"
    meta = json.loads(path.read_text())
    change(meta)
    path.write_text(json.dumps(meta))
