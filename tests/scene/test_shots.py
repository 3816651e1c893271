"""Camera paths that are none, and videos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.shots import camera_path_shots
from condense_nerfstudio.scene.video import write_video

PATH = {
    "render_height": 48,
    "render_width": 64,
    "fps": 12,
    "camera_path": [{"camera_to_world": np.eye(4).ravel().tolist(), "fov": 50, "aspect": 1} for _ in range(3)],
}


def test_a_camera_path_of_the_viewer_is_read(tmp_path: Path) -> None:
    (tmp_path / "path.json").write_text(json.dumps(PATH))
    shots = camera_path_shots(tmp_path / "path.json", "cpu")
    assert [shot.name for shot in shots] == ["frame_00000", "frame_00001", "frame_00002"]
    assert shots[0].rate == 12 and shots[0].photograph is None
    camera = shots[0].camera
    assert (int(camera.width.item()), int(camera.height.item())) == (64, 48)
    assert torch.equal(camera.camera_to_worlds[0], torch.eye(4)[:3])


@pytest.mark.parametrize(
    "change",
    [
        {"camera_path": []},
        {"camera_path": 5},
        {"camera_path": [{"fov": 50}]},
        {"camera_path": [{**PATH["camera_path"][0], "camera_to_world": [float("nan")] * 16}]},
        {"render_height": 10**9},
        {"render_height": 0},
        {"fps": 0},
        {"fps": "fast"},
        None,
    ],
)
def test_a_file_that_is_no_camera_path_is_one_sentence(tmp_path: Path, change: dict | None) -> None:
    text = "no json" if change is None else json.dumps({**PATH, **change})
    (tmp_path / "path.json").write_text(text)
    with pytest.raises(UserError, match=r"path\.json .*viewer"):
        camera_path_shots(tmp_path / "path.json", "cpu")
    with pytest.raises(UserError, match=r"absent\.json is no camera path"):
        camera_path_shots(tmp_path / "absent.json", "cpu")


def test_a_video_shows_its_pictures(tmp_path: Path) -> None:
    import av

    pictures = [np.full((49, 65, 3), value, dtype=np.uint8) for value in (20, 120, 220)]
    write_video(tmp_path / "a.mp4", pictures, 2.0)
    with av.open(str(tmp_path / "a.mp4")) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    assert all(abs(int(frame.mean()) - value) < 6 for frame, value in zip(frames, (20, 120, 220), strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_video(tmp_path / "nowhere/a.mp4", [np.zeros((8, 8, 3), dtype=np.uint8)], 2.0)
    assert not list(tmp_path.iterdir())
