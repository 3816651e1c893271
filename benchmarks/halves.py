"""Two halves of one capture, each trained and condensed on its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from condense_nerfstudio.demo.generate import Options, generate_scenes
from condense_nerfstudio.keypoints.config import CondensationConfig
from condense_nerfstudio.keypoints.detection import Detections, load_detector
from condense_nerfstudio.keypoints.localisation import Intrinsics
from condense_nerfstudio.scene.condensation import condense_scene, posed_views
from condense_nerfstudio.scene.load import load_scene
from condense_nerfstudio.scene.posed_scene import TrainedScene
from condense_nerfstudio.scene.world_frame import to_nerf, to_world


def demo_capture(work: Path, seed: int) -> Path:
    """A demo scene with ground truth; made where it is not there."""
    folder = work / f"demo_{seed}"
    if not folder.exists():
        generate_scenes(folder, Options(count=1, seed=seed))
    return folder / "scene_000"


def halve(capture: Path, work: Path, name: str) -> list[Path]:
    """Captures of the even and the odd photographs, that point to the files of the whole one."""
    meta = json.loads((capture / "transforms.json").read_text())
    frames = sorted(meta["frames"], key=lambda frame: frame["file_path"])
    meta = {key: value for key, value in meta.items() if key not in ("frames", "ply_file_path")}
    folders = []
    for offset, letter in enumerate("ab"):
        part = [
            {k: str((capture / v).resolve()) if k.endswith("file_path") else v for k, v in frame.items()}
            for frame in frames[offset::2]
        ]
        folder = work / "halves" / f"{name}_{letter}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "transforms.json").write_text(json.dumps({**meta, "frames": part}))
        folders.append(folder)
    return folders


class Half:
    """A trained half, its key points, and its photographs as questions to the other half.

    Args:
        capture: the half's folder.
        config: of its training.
        num_keypoints: how many points it is condensed into.
        cache: folder for detections; an empty one, so that detecting counts in the time to condense.
    """

    def __init__(self, capture: Path, config: Path, num_keypoints: int, cache: Path) -> None:
        start = time.perf_counter()
        self.pipeline = load_scene(config)
        self.pipeline.datamanager.config.cache_dir = cache
        loaded = time.perf_counter()
        self.num_keypoints = num_keypoints
        self.options = CondensationConfig()
        self.scene = condense_scene(TrainedScene(self.pipeline), num_keypoints, capture.name, self.options)
        self.seconds_to_load = loaded - start
        self.seconds_to_condense = time.perf_counter() - loaded
        self.detector = load_detector(self.pipeline.datamanager.config.detector)
        self.views = posed_views(TrainedScene(self.pipeline), self.detector, self.options)
        self.photographs, self.intrinsics = self._photographs(capture)

    def _photographs(self, capture: Path) -> tuple[list[tuple[Detections, np.ndarray]], Intrinsics]:
        """Detections and true camera-to-world of each photograph, in the data set's frame."""
        meta: dict[str, Any] = json.loads((capture / "transforms.json").read_text())
        files = [Path(frame["file_path"]) for frame in meta["frames"]]
        poses = [np.array(frame["transform_matrix"]) for frame in meta["frames"]]
        found = self.pipeline.datamanager.detections(self.detector, files)
        lens = [meta.get(key, 0.0) for key in ("k1", "k2", "p1", "p2")]
        size = (meta["w"], meta["h"], meta["fl_x"], meta["fl_y"], meta["cx"], meta["cy"])
        return list(zip(found, poses, strict=True)), Intrinsics(*size, lens)

    def to_world(self, positions: np.ndarray) -> np.ndarray:
        """Positions in the NeRF's frame as positions in the data set's."""
        return to_world(self.scene.world_to_nerf.astype(np.float64), positions)

    def to_nerf(self, positions: np.ndarray) -> np.ndarray:
        """The opposite."""
        return to_nerf(self.scene.world_to_nerf.astype(np.float64), positions)
