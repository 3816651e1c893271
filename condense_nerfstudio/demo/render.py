"""Ray-casting textured, lit surfaces with embree.

Light is baked into the vertices and does not depend on the view, so that a NeRF has a fair task. Within a surface the
mipmaps prevent aliasing, so one ray a pixel is enough; pixels near an edge between surfaces take five.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, UInt8

from condense_nerfstudio.demo.lighting import bake_light
from condense_nerfstudio.demo.mipmaps import TextureSet
from condense_nerfstudio.demo.surfaces import SceneObject
from condense_nerfstudio.demo.textures import linear_to_srgb
from condense_nerfstudio.demo.tracing import RayCaster

LAMP_RADIANCE = 1.7

ROTATED_GRID = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))
"""Sample positions within a pixel that differ in every row and column, for near-level edges' sake."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion; pixels."""

    width: int
    height: int
    focal: float
    cx: float
    cy: float

    def directions(self, columns: Float[np.ndarray, " n"], rows: Float[np.ndarray, " n"]) -> Float32[np.ndarray, "n 3"]:
        """Rays through pixel positions (centres at .5) in OpenGL axes, z = -1: a hit's distance is z-depth."""
        x = (columns - self.cx) / self.focal
        y = -(rows - self.cy) / self.focal
        return np.stack([x, y, -np.ones_like(x)], axis=-1).astype(np.float32)


@dataclass(frozen=True)
class View:
    """What a camera sees."""

    colour: Float32[np.ndarray, "height width 3"]
    """Linear."""
    depth: Float32[np.ndarray, "height width"]
    """Z-depth in metres."""
    instances: UInt8[np.ndarray, "height width"]
    """1-based position in the list of objects."""


class Renderer:
    """A gallery, ready to be looked at.

    Args:
        objects: what to show, in the room's frame.
        lamps: positions of the lamps' glowing faces.
    """

    def __init__(self, objects: Sequence[SceneObject], lamps: Float[np.ndarray, "n 3"]):
        surfaces = [surface for scene_object in objects for surface in scene_object.surfaces]
        owners = [k + 1 for k, scene_object in enumerate(objects) for _ in scene_object.surfaces]
        sizes = [len(surface.mesh.faces) for surface in surfaces]
        offsets = np.cumsum([0, *(len(surface.mesh.vertices) for surface in surfaces)])
        vertices = np.concatenate([surface.mesh.vertices for surface in surfaces])
        normals = np.concatenate([surface.mesh.normals for surface in surfaces])
        self.faces = np.concatenate(
            [surface.mesh.faces + offset for surface, offset in zip(surfaces, offsets, strict=False)]
        )
        self._textures = TextureSet([surface.paint for surface in surfaces])
        self._face_surface = np.repeat(np.arange(len(surfaces)), sizes)
        self._face_instance = np.repeat(np.array(owners, dtype=np.uint8), sizes)
        self._uv = np.concatenate([surface.mesh.uv for surface in surfaces]).astype(np.float32)
        self._normals = normals.astype(np.float32)
        self._caster = RayCaster(vertices, self.faces)
        face_albedo = self._textures.mean_colour[self._face_surface]
        self._light = bake_light(self._caster, vertices, normals, self.faces, face_albedo, lamps)
        glowing = np.unique(self.faces[[surfaces[k].paint is None for k in self._face_surface]])
        self._light[glowing] = LAMP_RADIANCE

    def look(self, camera_to_room: Float[np.ndarray, "4 4"], intrinsics: Intrinsics) -> View:
        """Renders one view.

        Args:
            camera_to_room: OpenGL axes, metres.
            intrinsics: of the camera.
        """
        height, width = intrinsics.height, intrinsics.width
        rows, columns = (grid.ravel() + 0.5 for grid in np.mgrid[:height, :width])
        faces, depth, colour = self._sample(camera_to_room, intrinsics, columns, rows)
        normals = self._normals[self.faces[faces, 0]]
        edge = _edges(np.column_stack([self._face_surface[faces], normals]).reshape(height, width, 4)).ravel()
        samples = [
            self._sample(camera_to_room, intrinsics, columns[edge] + x, rows[edge] + y)[2] for x, y in ROTATED_GRID
        ]
        colour[edge] = np.mean([colour[edge], *samples], axis=0)
        return View(
            colour.reshape(height, width, 3),
            depth.reshape(height, width),
            self._face_instance[faces].reshape(height, width),
        )

    def glance(
        self, camera_to_room: Float[np.ndarray, "4 4"], intrinsics: Intrinsics
    ) -> tuple[Float32[np.ndarray, "height width"], UInt8[np.ndarray, "height width"]]:
        """Depth and instances only: cheap enough to choose cameras by."""
        shape = (intrinsics.height, intrinsics.width)
        rows, columns = (grid.ravel() + 0.5 for grid in np.mgrid[: shape[0], : shape[1]])
        directions = intrinsics.directions(columns, rows) @ camera_to_room[:3, :3].T.astype(np.float32)
        hits = self._caster.cast(camera_to_room[:3, 3], directions)
        return hits.distance.reshape(shape), self._face_instance[hits.face].reshape(shape)

    def _sample(
        self, camera_to_room: Float[np.ndarray, "4 4"], intrinsics: Intrinsics, columns: npt.NDArray, rows: npt.NDArray
    ) -> tuple[npt.NDArray[np.int32], FloatArray, FloatArray]:
        """Face (n,), z-depth (n,) and linear colour (n, 3) at pixel positions."""
        directions = intrinsics.directions(columns, rows) @ camera_to_room[:3, :3].T.astype(np.float32)
        hits = self._caster.cast(camera_to_room[:3, 3], directions)
        corners = self.faces[hits.face]
        uv = _interpolate(self._uv, corners, hits.barycentric)
        light = _interpolate(self._light, corners, hits.barycentric)
        # A pixel covers more of a surface seen aslant; the square root is between too sharp and too soft.
        slant = np.abs(np.einsum("nc,nc->n", self._normals[corners[:, 0]], directions))
        slant /= np.linalg.norm(directions, axis=-1)
        footprint = hits.distance / intrinsics.focal / np.sqrt(np.maximum(slant, 0.05))
        return hits.face, hits.distance, light * self._textures.look_up(self._face_surface[hits.face], uv, footprint)


def develop(colour: Float[np.ndarray, "*n 3"], exposure: float) -> UInt8[np.ndarray, "*n 3"]:
    """Linear colour to 8-bit sRGB: scaled by the exposure, highlights rolled off above 0.8."""
    exposed = colour * exposure
    excess = np.maximum(exposed - 0.8, 0)
    rolled = np.minimum(exposed, 0.8) + 0.2 * (1 - np.exp(-excess / 0.2))
    return np.round(linear_to_srgb(rolled) * 255).clip(0, 255).astype(np.uint8)


def _interpolate(values: FloatArray, corners: npt.NDArray, barycentric: FloatArray) -> FloatArray:
    """Vertex values (v, c) at points of triangles: corners (n, 3), weights (n, 3) -> (n, c)."""
    return sum(values[corners[:, k]] * barycentric[:, k, None] for k in range(3))  # pyright: ignore[reportReturnType]


def _edges(features: npt.NDArray) -> npt.NDArray[np.bool_]:
    """Pixels with other surfaces, or normals that differ by a bend, among their 8 neighbours, (height, width).

    Args:
        features: surface index and normal, (height, width, 4).
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    around = (3, 3, 1)
    return (maximum_filter(features, around) - minimum_filter(features, around) > 0.4).any(axis=-1)
