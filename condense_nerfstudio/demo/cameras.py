"""A smooth camera path through a gallery, chosen so that every photograph is seen well."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from condense_nerfstudio.demo.render import Intrinsics, Renderer

CANDIDATES = 16

CLEARANCE = 0.4
"""Least depth in front of a camera, metres."""


def draw_intrinsics(rng: np.random.Generator, width: int, height: int) -> Intrinsics:
    """A pinhole camera with 64 to 70 degrees across, principal point in the middle."""
    focal = 0.5 * width / math.tan(math.radians(rng.uniform(64, 70)) / 2)
    return Intrinsics(width, height, focal, width / 2, height / 2)


def held_out(num_views: int) -> npt.NDArray[np.int64]:
    """The frames that nerfstudio holds out at its default train-split-fraction of 0.9 (all but evenly spaced ones)."""
    num_train = math.ceil(num_views * 0.9)
    return np.setdiff1d(np.arange(num_views), np.linspace(0, num_views - 1, num_train, dtype=int))


def draw_path(
    rng: np.random.Generator,
    renderer: Renderer,
    size: tuple[float, float, float],
    intrinsics: Intrinsics,
    num_views: int,
    photographs: npt.NDArray,
    exhibits: npt.NDArray,
) -> npt.NDArray[np.float64]:
    """The best of several random paths, (num_views, 4, 4) camera-to-room, OpenGL axes, metres.

    Best: the photograph that is seen worst, over the held-out views and over all views, is seen as well as possible;
    so is what the emptiest view shows of the exhibits; cameras keep clear of everything.

    Args:
        rng: source of randomness.
        renderer: of the gallery.
        size: of the room, metres.
        intrinsics: of the camera.
        num_views: at least 3.
        photographs: instance ids of the photographs.
        exhibits: instance ids of photographs and solids.
    """
    shrink = 32 / max(intrinsics.width, intrinsics.height)
    columns, rows = (max(1, round(side * shrink)) for side in (intrinsics.width, intrinsics.height))
    coarse = Intrinsics(columns, rows, intrinsics.focal * shrink, columns / 2, rows / 2)
    paths = [_random_path(rng, size, num_views) for _ in range(CANDIDATES)]
    return max(paths, key=lambda path: _score(path, renderer, coarse, photographs, exhibits))


def _score(
    path: npt.NDArray, renderer: Renderer, coarse: Intrinsics, photographs: npt.NDArray, exhibits: npt.NDArray
) -> float:
    depths, instances = (np.stack(maps) for maps in zip(*(renderer.glance(p, coarse) for p in path), strict=True))
    views = instances.reshape(len(path), -1)
    seen = np.stack([(views == identity).mean(axis=1) for identity in photographs], axis=1)
    best_held_out = seen[held_out(len(path))].max(axis=0, initial=0.0)
    on_exhibits = np.isin(views, exhibits).mean(axis=1)
    too_close = (depths < CLEARANCE).any(axis=(1, 2)).mean()
    return float(
        np.minimum(best_held_out, 0.06).min()
        + 0.3 * np.minimum(best_held_out, 0.06).mean()
        + 0.5 * np.minimum(seen.mean(axis=0), 0.03).min()
        + 0.3 * np.minimum(on_exhibits, 0.15).min()
        - too_close
    )


def _random_path(rng: np.random.Generator, size: tuple[float, float, float], num_views: int) -> npt.NDArray[np.float64]:
    """Two rounds (one if the views are few) about the middle, a wide and a narrow one, looking across the room.

    Neighbours in time make short baselines; the second round and the far side of the room make wide ones.
    """
    share = np.arange(num_views) / num_views
    phase = rng.uniform(0, 2 * np.pi, 4)
    turns = 2 if num_views >= 16 else 1
    direction = rng.choice([-1.0, 1.0])
    angle = phase[0] + direction * 2 * np.pi * turns * share
    ring = 0.56 + 0.1 * np.cos(2 * np.pi * share + phase[1])
    position = np.stack(
        [
            ring * size[0] / 2 * np.cos(angle),
            ring * size[1] / 2 * np.sin(angle),
            1.6 + 0.22 * np.cos(2 * np.pi * turns * 1.5 * share + phase[2]),
        ],
        axis=-1,
    )
    yaw = np.arctan2(-position[:, 1], -position[:, 0]) + 0.5 * np.sin(2 * np.pi * turns * 2.5 * share + phase[3])
    pitch = np.radians(-8) + np.radians(5) * np.sin(2 * np.pi * turns * 1.3 * share + phase[1])
    return np.stack([_look(*view) for view in zip(position, yaw, pitch, strict=True)])


def _look(position: npt.NDArray, yaw: float, pitch: float) -> npt.NDArray[np.float64]:
    """Camera-to-room of a level camera, (4, 4): columns right, up, backward, position."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(right, forward), -forward, position], axis=-1)
    return pose
