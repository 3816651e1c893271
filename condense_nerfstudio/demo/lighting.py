"""Light at the vertices: area lamps with soft shadows, and one bounce off everything else."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Float32, Int

from condense_nerfstudio.demo.tracing import RayCaster

BOUNCE_RAYS = 36

FILL_LIGHT = 0.35
"""Stands in for the second and later bounces: light that falls on every point, relative to the mean of the lamps."""


def bake_light(
    caster: RayCaster,
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    faces: Int[np.ndarray, "f 3"],
    face_albedo: Float[np.ndarray, "f 3"],
    lamps: Float[np.ndarray, "n 3"],
) -> Float32[np.ndarray, "v 3"]:
    """Irradiance at every vertex, in units of the scene's mean, RGB.

    Direct light from points on the lamps (which shine alike in all directions), plus the light of `BOUNCE_RAYS`
    directions around the normal: albedo times direct light of what they meet (one step of radiosity, Goral et al.
    1984).

    Args:
        caster: of the same triangles.
        vertices: metres.
        normals: unit vectors.
        faces: vertex indices.
        face_albedo: linear colour.
        lamps: points on the lamps.
    """
    # Off the surface, and inward by a hair: a vertex of the floor lies also in the wall.
    points = vertices + 0.015 * normals + 0.006 * (vertices.mean(axis=0) - vertices)
    direct = _direct_light(caster, points, normals, lamps)
    direct /= direct.mean()
    face_light = direct[faces].mean(axis=1)[:, None] + FILL_LIGHT
    radiosity = np.concatenate([face_albedo * face_light, np.zeros((1, 3))])  # last: the void
    bounced = np.zeros((len(vertices), 3))
    tangent, bitangent = _tangents(normals)
    for x, y, z in _cosine_directions(BOUNCE_RAYS):
        directions = x * tangent + y * bitangent + z * normals
        bounced += radiosity[caster.cast(points, directions).face]
    light = direct[:, None] + bounced / BOUNCE_RAYS
    return (light / light.mean()).astype(np.float32)


def _direct_light(caster: RayCaster, points: npt.NDArray, normals: npt.NDArray, lamps: npt.NDArray) -> npt.NDArray:
    """Sum over lamp points of cosine / distance^2 where nothing is between, (v,)."""
    light = np.zeros(len(points))
    for lamp in lamps:
        towards = lamp - points
        distance = np.linalg.norm(towards, axis=-1)
        cosine = np.einsum("vc,vc->v", towards, normals).clip(0) / distance
        visible = caster.cast(points, towards).distance > 0.98
        light += visible * cosine / np.maximum(distance, 0.3) ** 2
    return light


def _cosine_directions(count: int) -> npt.NDArray:
    """Directions about +z, denser towards z with its cosine, (count, 3): a Fibonacci spiral on the disc, lifted."""
    index = np.arange(count) + 0.5
    radius, angle = np.sqrt(index / count), index * np.pi * (3 - np.sqrt(5))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - radius**2)], axis=-1)


def _tangents(normals: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Two unit vectors that make an orthonormal frame with each normal, each (v, 3)."""
    helper = np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    tangent = np.cross(helper, normals)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    return tangent, np.cross(normals, tangent)
