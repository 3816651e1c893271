"""Triangle meshes with normals and texture coordinates in metres: flat patches, boxes and surfaces of revolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Vector = Sequence[float | int] | Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; corners with two normals are two vertices."""

    vertices: Float[np.ndarray, "n 3"]
    """Metres."""
    normals: Float[np.ndarray, "n 3"]
    """Unit vectors, outward."""
    uv: Float[np.ndarray, "n 2"]
    """Metres along the surface: u to the right and v downward for who looks at it."""
    faces: Int[np.ndarray, "m 3"]
    """Vertex indices."""

    def placed(self, rotation: Float[np.ndarray, "3 3"], translation: Vector) -> Mesh:
        """The mesh turned by a (3, 3) rotation, then moved by a (3,) translation."""
        vertices = self.vertices @ rotation.T + np.asarray(translation, dtype=np.float64)
        return Mesh(vertices, self.normals @ rotation.T, self.uv, self.faces)


def rotation_z(angle: float) -> FloatArray:
    """Rotation about z by `angle` radians, (3, 3)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
    )


def patch(origin: Vector, edge_u: Vector, edge_v: Vector, cell: float) -> Mesh:
    """A rectangle in cells of about `cell` metres (its vertices carry the light, so cells set the shadows' sharpness).

    Args:
        origin: top left corner for who looks at the rectangle, (3,).
        edge_u: from the origin to the top right corner, (3,).
        edge_v: from the origin to the bottom left corner, (3,).
        cell: side of a cell.
    """
    corner, along_u, along_v = (np.asarray(vector, dtype=np.float64) for vector in (origin, edge_u, edge_v))
    length_u, length_v = np.linalg.norm(along_u), np.linalg.norm(along_v)
    u = np.linspace(0, 1, max(1, round(length_u / cell)) + 1)
    v = np.linspace(0, 1, max(1, round(length_v / cell)) + 1)
    grid_v, grid_u = (grid.ravel() for grid in np.meshgrid(v, u, indexing="ij"))
    vertices = corner + grid_u[:, None] * along_u + grid_v[:, None] * along_v
    normal = np.cross(along_v, along_u) / (length_u * length_v)
    uv = np.stack([grid_u * length_u, grid_v * length_v], axis=-1)
    return Mesh(vertices, np.broadcast_to(normal, vertices.shape), uv, _grid_faces(len(v), len(u)))


def box(extents: tuple[float, float, float], cell: float) -> Mesh:
    """A box of x, y, z `extents` that stands on z = 0, centred on the z axis."""
    x, y, z = extents
    sides = []
    for quarter in range(4):
        width, depth = (x, y) if quarter % 2 == 0 else (y, x)
        side = patch((-width / 2, -depth / 2, z), (width, 0, 0), (0, 0, -z), cell)
        sides.append(side.placed(rotation_z(quarter * np.pi / 2), (0, 0, 0)))
    top = patch((-x / 2, y / 2, z), (x, 0, 0), (0, -y, 0), cell)
    bottom = patch((-x / 2, -y / 2, 0), (x, 0, 0), (0, y, 0), cell)
    return merge([*sides, top, bottom])


def revolve(runs: Sequence[Float[np.ndarray, "_ 2"]], segments: int = 40) -> Mesh:
    """A surface of revolution about z.

    Args:
        runs: smooth pieces of the profile, each (k, 2) of (radius, z), ordered from the bottom around the outside to
            the top; the surface has an edge between one run and the next.
        segments: facets around the axis.
    """
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    girth = 2 * np.pi * max(profile[:, 0].max() for profile in runs)
    meshes, height = [], 0.0
    for profile in runs:
        tangent = np.gradient(profile, axis=0)
        outward = np.stack([tangent[:, 1], -tangent[:, 0]], axis=-1)
        outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
        arc = height + np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=-1))])
        height = arc[-1]
        u, v = np.meshgrid(angle / (2 * np.pi) * girth, -arc)
        meshes.append(
            Mesh(
                _around_axis(profile, angle),
                _around_axis(outward, angle),
                np.stack([u.ravel(), v.ravel()], axis=-1),
                _grid_faces(len(profile), len(angle)),
            )
        )
    return merge(meshes)


def _around_axis(profile: FloatArray, angle: FloatArray) -> FloatArray:
    """(k, 2) of (radius, z) turned to every angle: (k * angles, 3)."""
    radius, z = profile[:, :1], profile[:, 1:]
    return np.stack(
        [radius * np.cos(angle), radius * np.sin(angle), np.broadcast_to(z, (len(profile), len(angle)))], axis=-1
    ).reshape(-1, 3)


def _grid_faces(rows: int, columns: int) -> IntArray:
    """Two triangles for each cell of a rows x columns grid of vertices in row-major order."""
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    upper = np.stack([first, first + columns, first + 1], axis=-1)
    lower = np.stack([first + 1, first + columns, first + columns + 1], axis=-1)
    return np.concatenate([upper, lower]).astype(np.int64)
