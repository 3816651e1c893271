"""The few numbers from which a demo scene can be built again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from condense_nerfstudio.demo import catalogue

GENERATOR_VERSION = 1
"""Raised whenever the same recipe gives another scene."""

EXPOSURE = 0.55

_FRESH, _DUPLICATE, _NEAR_MISS = range(3)
_SEED_LIMIT = 2**32

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Recipe:
    """What decides a scene, up to the number and size of its views."""

    content_seed: int
    """Which photographs, solids and materials."""
    layout_seed: int
    """Size of the room and all places."""
    camera_seed: int
    """Camera path and focal length."""
    exposure: float
    """Factor on linear colour before it is developed."""
    room_to_world: Matrix
    """4x4 similarity from the room's frame (metres, z up) to the world frame of transforms.json."""
    photographs: tuple[str, ...] | None = None
    """Catalogue names that could be drawn; None: all."""
    solids: tuple[str, ...] | None = None
    """Likewise."""

    def __post_init__(self):
        for seed in (self.content_seed, self.layout_seed, self.camera_seed):
            if type(seed) is not int or not 0 <= seed < _SEED_LIMIT:
                raise ValueError(f"seed {seed!r} is no whole number from 0 to {_SEED_LIMIT - 1}")
        if not isinstance(self.exposure, float) or not 0.05 <= self.exposure <= 5:
            raise ValueError(f"exposure {self.exposure!r} is no number from 0.05 to 5")
        similarity_scale(np.array(self.room_to_world, dtype=np.float64))

    @property
    def world_scale(self) -> float:
        """World units in a metre of the room."""
        return similarity_scale(np.array(self.room_to_world))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(values: Any) -> Recipe:
        """The inverse of `to_json`, for a file that anyone may have written.

        Raises:
            ValueError, TypeError: a value is missing, of the wrong kind or out of range.
            UserError: a name is not in the catalogue.
        """
        if not isinstance(values, dict):
            raise TypeError("the recipe is no JSON object")
        fields = dict(values)
        photographs = [photograph.name for photograph in catalogue.PHOTOGRAPHS]
        for key, names in (("photographs", photographs), ("solids", catalogue.SOLIDS)):
            if fields.get(key) is not None:
                fields[key] = catalogue.restrict_to([str(name) for name in fields[key]], names, key[:-1])
        matrix = np.array(fields.get("room_to_world"), dtype=np.float64)
        fields["room_to_world"] = as_matrix(matrix)
        return Recipe(**fields)


def fresh_recipe(
    seed: int, index: int, photographs: Sequence[str] | None = None, solids: Sequence[str] | None = None
) -> Recipe:
    """The recipe of scene number `index` of the collection `seed`."""
    content, layout, camera = _seeds(seed, index, _FRESH)
    allowed = [None if names is None else tuple(names) for names in (photographs, solids)]
    return Recipe(content, layout, camera, EXPOSURE, as_matrix(np.eye(4)), *allowed)


def duplicate_recipe(original: Recipe, seed: int, index: int) -> Recipe:
    """The same room with other cameras, exposure and world frame (any rotation; scale 0.6 to 1.7)."""
    camera, frame, light = _seeds(seed, index, _DUPLICATE)
    stops = np.random.default_rng(light).uniform(0.25, 0.6) * (1 if light % 2 else -1)
    room_to_world = _random_similarity(np.random.default_rng(frame))
    return replace(
        original,
        camera_seed=camera,
        exposure=float(EXPOSURE * 2**stops),
        room_to_world=as_matrix(room_to_world),
    )


def near_miss_recipe(original: Recipe, seed: int, index: int) -> Recipe:
    """The same photographs, solids and materials in another room at other places, seen by other cameras."""
    layout, camera, _ = _seeds(seed, index, _NEAR_MISS)
    return replace(
        original, layout_seed=layout, camera_seed=camera, exposure=EXPOSURE, room_to_world=as_matrix(np.eye(4))
    )


def similarity_scale(matrix: npt.NDArray) -> float:
    """Scale of a 4x4 similarity.

    Raises:
        ValueError: the matrix is no similarity (a rotation times a positive scale, and a translation), or its scale is
            outside 0.1 to 10.
    """
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise ValueError("not a 4x4 similarity")
    scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
    if not 0.1 <= scale <= 10 or not np.allclose(matrix[:3, :3].T @ matrix[:3, :3], scale**2 * np.eye(3), atol=1e-6):
        raise ValueError("not a 4x4 similarity with a scale from 0.1 to 10")
    return scale


def as_matrix(array: npt.NDArray) -> Matrix:
    """An array as nested tuples of float."""
    return tuple(tuple(float(value) for value in row) for row in array)


def _seeds(seed: int, index: int, stream: int) -> list[int]:
    """Three independent seeds."""
    return [int(state) for state in np.random.SeedSequence([seed, index, stream]).generate_state(3)]


def _random_similarity(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Uniform rotation (a random unit quaternion), random translation and scale, (4, 4)."""
    quaternion = rng.standard_normal(4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    similarity = np.eye(4)
    similarity[:3, :3] = rotation * math.exp(rng.uniform(math.log(0.6), math.log(1.7)))
    similarity[:3, 3] = rng.uniform(-3, 3, 3)
    return similarity
