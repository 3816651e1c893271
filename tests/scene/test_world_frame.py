"""Back to the frame of transforms.json, whatever nerfstudio and ns-process-data did to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig

from condense_nerfstudio.scene.world_frame import world_to_nerf

from .captures import edit_transforms, write_capture

APPLIED = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5], [0.0, -1.0, 0.0, 0.0]]


def _plain(folder: Path) -> None:
    pass


def _applied(folder: Path) -> None:
    edit_transforms(folder, lambda meta: meta.update(applied_transform=APPLIED))


def _applied_scale(folder: Path) -> None:
    edit_transforms(folder, lambda meta: meta.update(applied_transform=APPLIED, applied_scale=2.5))


def _colmap(folder: Path) -> None:
    (folder / "colmap/sparse/0").mkdir(parents=True)


def _moved(folder: Path) -> None:
    def move(meta: dict) -> None:
        for frame in meta["frames"]:
            pose = np.array(frame["transform_matrix"])
            pose[:3, 3] = pose[:3, 3] * 7.0 + [100.0, -20.0, 3.0]
            frame["transform_matrix"] = pose.tolist()

    edit_transforms(folder, move)


@pytest.mark.parametrize("kind", [_plain, _applied, _applied_scale, _colmap, _moved])
@pytest.mark.parametrize("orientation", ["up", "none"])
def test_cameras_go_where_nerfstudio_puts_them(tmp_path: Path, kind, orientation: Literal["up", "none"]) -> None:
    folder = write_capture(tmp_path / "capture")
    kind(folder)
    parser = NerfstudioDataParserConfig(
        data=folder, orientation_method=orientation, downscale_factor=1, load_3D_points=False
    ).setup()
    outputs = parser.get_dataparser_outputs("train")
    transform = world_to_nerf(parser, outputs)
    frames = json.loads((folder / "transforms.json").read_text())["frames"]
    poses = {Path(frame["file_path"]).name: np.array(frame["transform_matrix"]) for frame in frames}
    scale = np.cbrt(np.linalg.det(transform[:3, :3]))
    for file, camera in zip(outputs.image_filenames, outputs.cameras.camera_to_worlds.numpy(), strict=True):
        expected = transform @ poses[file.name]
        np.testing.assert_allclose(expected[:3, 3], camera[:, 3], atol=1e-5)
        np.testing.assert_allclose(expected[:3, :3] / scale, camera[:, :3], atol=1e-5)
