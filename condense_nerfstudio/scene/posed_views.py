"""The training photographs' key points as rays of the scene, and where those meet its surface."""

from __future__ import annotations

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import RayBundle

from condense_nerfstudio.keypoints.detection import Detections
from condense_nerfstudio.keypoints.heat_map import relative_scores
from condense_nerfstudio.keypoints.tracks import View
from condense_nerfstudio.scene.posed_scene import PosedScene
from condense_nerfstudio.scene.surface import LEAST_ACCUMULATION


def posed_view(scene: PosedScene, index: int, detections: Detections) -> View:
    """One training photograph's key points in the scene's frame, scored by the 3D key-point head.

    Args:
        scene: the scene.
        index: of the photograph among the training images.
        detections: its key points.
    """
    camera = scene.camera(index)
    rays = rays_through(camera, detections)
    answers = scene.look_along(rays)
    assert answers.keypoint is not None and rays.pixel_area is not None
    seen = answers.accumulation > LEAST_ACCUMULATION
    shrunk = camera.width.item() / detections.image_size[1]
    pixel = rays.pixel_area[:, 0].sqrt() * (shrunk * detections.pixel_size)

    def plain(values: torch.Tensor) -> np.ndarray:
        return values.double().cpu().numpy()

    return View(
        camera_to_world=plain(camera.camera_to_worlds[0]),
        focal_length=camera.fx.item() / shrunk,
        size=(detections.image_size[1], detections.image_size[0]),
        bearings=plain(rays.directions),
        pixel_angles=plain(pixel),
        distances=plain(torch.where(seen, answers.distance, torch.nan)),
        spreads=plain(answers.spread),
        scores=plain(answers.keypoint),
        strengths=relative_scores(detections.scores).astype(np.float64),
        descriptors=detections.descriptors.astype(np.float32),
    )


def rays_through(camera: Cameras, detections: Detections) -> RayBundle:
    """Rays through a photograph's key points.

    Args:
        camera: of the photograph, of shape (1,).
        detections: its key points.
    """
    shrunk = np.array([camera.width.item(), camera.height.item()]) / np.array(detections.image_size[::-1])
    coords = torch.from_numpy((detections.pixels * shrunk)[:, ::-1].astype(np.float32)).to(camera.device)
    indices = torch.zeros((len(coords), 1), dtype=torch.long, device=camera.device)
    return camera.generate_rays(indices, coords=coords)
