"""The key points of a repository's scene in the 3D scene of the viewer, those that answer marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import viser
from jaxtyping import Float
from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO

from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.repository.portrait import MARKS, choose_view, surface_axes

NODE = "/condense/repository"
POINT_SIZE = 0.008
"""Of a key point, as a share of the scene's size."""
_RING = 0.03
"""Radius of the ring around a key point that answers, likewise."""
_LABEL = 0.06
"""Height of the text above it, likewise."""
_WAY, _FILLED = 0.4, 0.35
"""A miniature's place on the way from the camera to what it looks at, and its size, as shares of that way."""
_TURNS = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)


@dataclass(frozen=True)
class Eye:
    """Where a browser's camera is, in viser's frame."""

    position: Float[np.ndarray, " 3"]
    look_at: Float[np.ndarray, " 3"]

    @property
    def before(self) -> Float[np.ndarray, " 3"]:
        """Where a miniature has its middle."""
        return self.position + _WAY * (self.look_at - self.position)


def over(world_to_nerf: Float[np.ndarray, "4 4"], shown_to_scene: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "4 4"]:
    """Lays a scene over the one on show, of which it is the same place.

    Args:
        world_to_nerf: of the scene on show.
        shown_to_scene: similarity from the data set's frame of the scene on show to that of the other.

    Returns:
        The similarity from the other's frame to viser's.
    """
    return np.diag([VISER_NERFSTUDIO_SCALE_RATIO] * 3 + [1.0]) @ world_to_nerf @ np.linalg.inv(shown_to_scene)


def miniature(scene: CondensedScene, answers: tuple[int, ...], eye: Eye) -> Float[np.ndarray, "4 4"]:
    """Puts a scene upright before a camera, small, and turned so that the camera sees it as its portrait does.

    Args:
        scene: what to put there.
        answers: key points that the camera shall see.
        eye: the camera.

    Returns:
        The similarity from the scene's frame to viser's.
    """
    view = choose_view(scene, answers)
    upright = _rotation(scene.world_to_nerf.astype(np.float64))
    (x, y, _), (towards_x, towards_y, _) = upright @ view.axes[2], eye.position - eye.look_at
    angle = np.arctan2(towards_y, towards_x) - np.arctan2(y, x)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    placement = np.eye(4)
    placement[:3, :3] = _FILLED * float(np.linalg.norm(eye.look_at - eye.position)) / view.size * turn @ upright
    placement[:3, 3] = eye.before - placement[:3, :3] @ view.centre
    return placement


class OpenedScene:
    """At most one scene of a repository in the viewer's 3D scene."""

    def __init__(self) -> None:
        self._node: viser.FrameHandle | None = None

    def show(
        self,
        server: viser.ViserServer,
        scene: CondensedScene,
        placement: Float[np.ndarray, "4 4"],
        marks: Mapping[int, str],
    ) -> None:
        """Draws a scene in place of the one before.

        Args:
            server: of the viewer.
            scene: what to draw.
            placement: similarity from its data set's frame to viser's.
            marks: what to write at the key points that answer.
        """
        self.hide()
        points, draw = scene.points, server.scene
        positions, turn = placed(placement, points.positions), _rotation(placement)
        size = extent(positions)
        raised = positions + POINT_SIZE * size * points.normals @ turn.T  # rendered depth would hide half of a point
        self._node = draw.add_frame(NODE, show_axes=False)
        draw.add_point_cloud(
            f"{NODE}/points", raised.astype(np.float32), points.colors, POINT_SIZE * size, point_shape="circle"
        )
        rings = _RING * size * _circles(surface_axes(points.normals[list(marks)]) @ turn.T)
        for number, (index, text) in enumerate(marks.items()):
            color, place = MARKS[number % len(MARKS)], raised[index]
            name = f"{NODE}/answer_{number}"
            draw.add_point_cloud(
                name, place[None].astype(np.float32), color, 1.5 * POINT_SIZE * size, point_shape="circle"
            )
            draw.add_spline_catmull_rom(f"{name}/ring", place + rings[number], closed=True, line_width=4.0, color=color)
            draw.add_label(f"{name}/label", text, position=place + np.array([0.0, 0.0, _LABEL * size]))

    def hide(self) -> None:
        """Takes it away; nothing where nothing is shown."""
        if self._node is not None:
            self._node.remove()  # with all that is drawn under it
            self._node = None


def placed(placement: Float[np.ndarray, "4 4"], positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Positions after a similarity."""
    return positions @ placement[:3, :3].T + placement[:3, 3]


def _rotation(placement: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "3 3"]:
    return placement[:3, :3] / np.cbrt(np.linalg.det(placement[:3, :3]))


def _circles(across: Float[np.ndarray, "n 2 3"]) -> Float[np.ndarray, "n t 3"]:
    """Circles of radius 1 around the origin, in the planes of two unit vectors each."""
    return np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1) @ across
