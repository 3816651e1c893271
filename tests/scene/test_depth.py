"""Depth maps on the colour camera's grid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.depth import depth_intrinsics, depth_on_camera_grid


def _camera(width: int, height: int, focal: float) -> Cameras:
    size = {"cx": width / 2, "cy": height / 2, "width": width, "height": height}
    return Cameras(torch.eye(4)[None, :3], fx=focal, fy=focal, camera_type=CameraType.PERSPECTIVE, **size)


def test_a_map_of_the_same_picture_is_only_resized() -> None:
    depth = torch.arange(12.0).reshape(3, 4)
    torch.testing.assert_close(depth_on_camera_grid(depth, _camera(4, 3, 5.0), None), depth)
    larger = depth_on_camera_grid(depth, _camera(8, 6, 10.0), None)
    torch.testing.assert_close(larger, depth.repeat_interleave(2, 0).repeat_interleave(2, 1))


@pytest.mark.parametrize("reduction", [1, 4])
def test_a_depth_camera_of_its_own_is_looked_up_along_the_same_ray(reduction: int) -> None:
    """The map holds the tangent of the ray through each of its pixels; the colour camera must find its own there."""
    columns = (torch.arange(640 // reduction) + 0.5) * reduction
    tangent = ((columns - 320) / 585).expand(480 // reduction, -1)
    found = depth_on_camera_grid(tangent, _camera(640, 480, 525.0), (585.0, 585.0, 320.0, 240.0))
    expected = (torch.arange(640) + 0.5 - 320) / 525
    inside = expected.abs() < 320 / 585
    torch.testing.assert_close(found[240, inside], expected[inside], atol=reduction / 585, rtol=0)
    assert (found[240, ~inside] == 0).all() and (~inside).sum() > 60


def test_intrinsics_come_from_transforms_json(tmp_path: Path) -> None:
    assert depth_intrinsics(tmp_path) is None
    meta = {"depth_fl_x": 585, "depth_fl_y": 585, "depth_cx": 320, "depth_cy": 240}
    (tmp_path / "transforms.json").write_text(json.dumps(meta))
    assert depth_intrinsics(tmp_path) == (585.0, 585.0, 320.0, 240.0)
    (tmp_path / "transforms.json").write_text(json.dumps({**meta, "depth_cx": "middle"}))
    with pytest.raises(UserError, match="depth_cx"):
        depth_intrinsics(tmp_path)
