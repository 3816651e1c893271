"""Condensing a trained scene: from its photographs' key points and its field to a few hundred decorated points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from jaxtyping import Float

from condense_nerfstudio import __version__
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints import agreement
from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene, DetectorCard, KeyPoints
from condense_nerfstudio.keypoints.config import CondensationConfig
from condense_nerfstudio.keypoints.descriptors import mean_descriptors
from condense_nerfstudio.keypoints.detection import Detector, load_detector
from condense_nerfstudio.keypoints.selection import best_without_crowds, suppress_near
from condense_nerfstudio.keypoints.tracks import NO_DETECTION, Tracks, View, find_tracks
from condense_nerfstudio.scene.point_looks import Looks, look_at, normals
from condense_nerfstudio.scene.posed_scene import PosedScene
from condense_nerfstudio.scene.posed_views import posed_view
from condense_nerfstudio.scene.world_frame import to_world
from condense_nerfstudio.spread import evenly_chosen

_USUAL = 0.25
"""Share of a scene's own photographs that agree less with it than is usual."""
Progress = Callable[[str, float], None]
"""Called with what is being done and the share of the whole that is done, in 0..1."""


def condense_scene(
    scene: PosedScene,
    num_keypoints: int,
    scene_id: str,
    config: CondensationConfig | None = None,
    progress: Progress = lambda what, share: None,
) -> CondensedScene:
    """Condenses a trained scene into decorated key points.

    Args:
        scene: the scene.
        num_keypoints: how many points to keep; fewer come back where there are no more.
        scene_id: the id of the condensed scene.
        config: how points are found and chosen.
        progress: told of the progress.

    Raises:
        UserError: no points were found, or the scene gives values that are not finite.
    """
    config = config or CondensationConfig()
    detector = load_detector(scene.detector, scene.device)
    views = posed_views(scene, detector, config, lambda share: progress("Detections", 0.5 * share))
    tracks = _search(views, config, lambda share: progress("Points that views agree on", 0.5 + 0.3 * share))
    tracks = _visible(scene, choose(tracks, int(config.spare * num_keypoints), config), views, config)
    progress("Choice", 0.9)
    if not len(tracks):
        raise UserError(
            f"No key points were found in {scene.data}: no three of its {len(views)} "
            "photographs show the same spot of the scene's surface. Train for longer, or take photographs that overlap."
        )
    kept = choose(tracks, num_keypoints, config)
    looks = look_at(scene, kept, views, config, features=True)
    points = _decorated(scene, kept, looks, views, detector)
    progress("Decoration", 1.0)
    return CondensedScene(
        id=scene_id,
        name=scene.data.resolve().name,
        units="dataset",
        world_to_nerf=scene.world_to_nerf().astype(np.float32),
        teachers=scene.teacher_cards,
        detector=DetectorCard(detector.name, detector.revision, detector.dim, asdict(scene.detector)),
        creation={
            "program": f"condense_nerfstudio {__version__}",
            "photographs": len(views),
            "keypoints_asked_for": num_keypoints,
            **{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()},
        },
        points=points,
        agreement=_usual_agreement(points, views, scene.world_to_nerf()),
    )


def _usual_agreement(points: KeyPoints, views: Sequence[View], frame: Float[np.ndarray, "4 4"]) -> float:
    """What three in four of the photographs agree with the points, poses being those of the training."""
    axes = frame[:3, :3] / np.cbrt(np.linalg.det(frame[:3, :3]))
    local, agreed = points.local, []
    for view in views:
        pose = np.c_[axes.T @ view.camera_to_world[:, :3], to_world(frame, view.centre[None])[0]]
        agreed.append(agreement.of_photograph(local, view.sight, pose))
    return float(np.quantile(agreed, _USUAL))


def posed_views(
    scene: PosedScene,
    detector: Detector,
    config: CondensationConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> list[View]:
    """The training photographs' key points in the scene's frame; evenly chosen photographs where there are many."""
    files = scene.images
    chosen = evenly_chosen(len(files), config.max_views)
    detections = scene.detections(detector, [files[i] for i in chosen])
    views = []
    for index, found in zip(chosen, detections, strict=True):
        views.append(posed_view(scene, int(index), found))
        progress(len(views) / len(chosen))
    return views


def _search(views: Sequence[View], config: CondensationConfig, progress: Callable[[float], None]) -> Tracks:
    """The points that views agree on."""
    total, done = len(views) * len(config.search_pixels), 0

    def on_view() -> None:
        nonlocal done
        done += 1
        progress(done / total)

    return find_tracks(views, config, on_view)


def choose(tracks: Tracks, count: int, config: CondensationConfig) -> Tracks:
    """The best points, the best first: no two on one spot, and no crowds."""
    apart = tracks[suppress_near(tracks.positions, tracks.ranks, config.suppression_pixels * tracks.pixels)]
    if not len(apart):
        return apart
    most = max(1, round(config.crowd_share * count))
    reach = config.crowd_reach * extent(apart.positions)
    return apart[best_without_crowds(apart.positions, apart.ranks, count, reach, most)]


def _visible(scene: PosedScene, tracks: Tracks, views: Sequence[View], config: CondensationConfig) -> Tracks:
    """The points that enough of their views do see: rays from there to them end at them."""
    looks = look_at(scene, tracks, views, config)
    support = tracks.support.copy()
    support[looks.points[~looks.seen], looks.views[~looks.seen]] = NO_DETECTION
    seen = replace(tracks, support=support)
    return seen[seen.counts >= config.min_views]


def _decorated(scene: PosedScene, tracks: Tracks, looks: Looks, views: Sequence[View], detector: Detector) -> KeyPoints:
    """All that is known of points, in the data set's frame and units."""
    count, frame = len(tracks), scene.world_to_nerf()
    scale = 1.0 / float(np.cbrt(np.linalg.det(frame[:3, :3])))
    patch = detector.patch_size * tracks.pixels
    assert looks.answers.keypoint is not None

    def mean(values: torch.Tensor) -> Float[np.ndarray, "n c"]:
        return looks.mean(values.double().cpu().numpy().reshape(len(looks.points), -1), count)

    normal = normals(scene, tracks, looks, views, patch / 2) @ frame[:3, :3] * scale
    features = {
        name: mean(scene.raw(name, values)).astype(np.float16) for name, values in looks.answers.features.items()
    }
    for name, values in features.items():
        if not np.isfinite(values).all():
            raise UserError(f"The scene's {name} features are not finite: train it again.")
    return KeyPoints(
        positions=to_world(frame, tracks.positions).astype(np.float32),
        normals=normal.astype(np.float32),
        colors=(mean(looks.answers.rgb).clip(0, 1) * 255).round().astype(np.uint8),
        scales=(patch * scale).astype(np.float32),
        scores=tracks.scores.clip(0, 1).astype(np.float32),
        views=tracks.counts.astype(np.int32),
        descriptors=mean_descriptors(tracks, views).astype(np.float16),
        features=features,
    )
