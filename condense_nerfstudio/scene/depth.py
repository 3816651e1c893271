"""Depth maps on the pixel grid of the colour camera, also where a depth camera of its own took them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from condense_nerfstudio.errors import UserError

KEYS = ("depth_fl_x", "depth_fl_y", "depth_cx", "depth_cy")


def depth_intrinsics(data: Path) -> tuple[float, float, float, float] | None:
    """Focal lengths and principal point (fx, fy, cx, cy) of a depth camera, in pixels of the full-size depth maps.

    Args:
        data: the capture's folder, or its transforms.json.

    Returns:
        What transforms.json says under depth_fl_x, depth_fl_y, depth_cx, depth_cy (nerfstudio ignores these keys);
        None where it says nothing: depth and colour then share one grid.

    Raises:
        UserError: one of the values is no number.
    """
    path = data if data.suffix == ".json" else data / "transforms.json"
    meta: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if not all(key in meta for key in KEYS):
        return None
    try:
        fx, fy, cx, cy = (float(meta[key]) for key in KEYS)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: one of {', '.join(KEYS)} is no number: correct it.") from error
    return fx, fy, cx, cy


def depth_on_camera_grid(
    depth: Float[Tensor, "hd wd"], camera: Cameras, intrinsics: tuple[float, float, float, float] | None
) -> Float[Tensor, "h w"]:
    """Looks depth up at the pixels of a colour camera, nearest neighbour, zero outside the depth map.

    Both cameras are taken to stand at one place and to have no distortion; what separates them is their intrinsics.

    Args:
        depth: the depth map.
        camera: the colour camera, of shape (1,).
        intrinsics: of the depth camera at full size (see :func:`depth_intrinsics`); None where the map covers the same
            picture as the colour image.
    """
    height, width = int(camera.height.item()), int(camera.width.item())
    columns, rows = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    if intrinsics is None:
        columns, rows = columns / width * depth.shape[1], rows / height * depth.shape[0]
    else:
        fx, fy, cx, cy = intrinsics
        # The map may have been reduced; its principal point lies near its middle, so its size tells by how much.
        reduction = round(2.0 * cx / depth.shape[1])
        columns = ((columns - camera.cx.item()) / camera.fx.item() * fx + cx) / reduction
        rows = ((rows - camera.cy.item()) / camera.fy.item() * fy + cy) / reduction
    inside = ((rows >= 0) & (rows < depth.shape[0]))[:, None] & ((columns >= 0) & (columns < depth.shape[1]))
    row, column = rows.long().clamp(0, depth.shape[0] - 1), columns.long().clamp(0, depth.shape[1] - 1)
    return torch.where(inside, depth[row[:, None], column], 0.0)
