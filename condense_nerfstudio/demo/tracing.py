"""Nearest hits of rays with triangles, by embree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int

from condense_nerfstudio.errors import UserError


@dataclass(frozen=True)
class Hits:
    """Where rays first meet a triangle."""

    face: Int[np.ndarray, " n"]
    """Index of the triangle, -1 where the ray meets none."""
    distance: Float32[np.ndarray, " n"]
    """In lengths of the ray's direction."""
    barycentric: Float32[np.ndarray, "n 3"]
    """Weights of the triangle's corners."""


class RayCaster:
    """Triangles in embree's tree.

    Args:
        vertices: (v, 3).
        faces: (f, 3) vertex indices.

    Raises:
        UserError: embreex is not installed.
    """

    def __init__(self, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"]):
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise UserError("Demo scenes are drawn with embree: run `pip install embreex`.") from error
        # Without "robust", rays slip through between neighbouring triangles.
        self._scene = EmbreeScene(robust=True)
        self._mesh = TriangleMesh(self._scene, vertices.astype(np.float32), faces.astype(np.int32))

    def cast(self, origins: Float[np.ndarray, "*n 3"], directions: Float[np.ndarray, "rays 3"]) -> Hits:
        """First hits of rays from origins (3,) or (n, 3) along directions (n, 3)."""
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        starts = np.ascontiguousarray(np.broadcast_to(origins, directions.shape), dtype=np.float32)
        found = self._scene.run(starts, directions, output=1)
        u, v = found["u"], found["v"]
        return Hits(found["primID"], found["tfar"], np.stack([1 - u - v, u, v], axis=-1))
