"""A recipe, built: objects, cameras and a renderer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from condense_nerfstudio.demo.cameras import draw_intrinsics, draw_path
from condense_nerfstudio.demo.recipe import Recipe
from condense_nerfstudio.demo.render import Intrinsics, Renderer
from condense_nerfstudio.demo.room import draw_arrangement, draw_content
from condense_nerfstudio.demo.surfaces import SceneObject, build_objects, lamp_points


@dataclass(frozen=True)
class Gallery:
    """All in the room's frame, metres."""

    objects: list[SceneObject]
    """An object's instance id is its position plus 1."""
    renderer: Renderer
    intrinsics: Intrinsics
    poses: npt.NDArray[np.float64]
    """(num_views, 4, 4) camera-to-room, OpenGL axes."""


def build_gallery(recipe: Recipe, num_views: int, width: int, height: int) -> Gallery:
    """Builds a scene from its recipe; the same arguments give the same gallery.

    Raises:
        UserError: embreex or a photograph is missing.
    """
    content = draw_content(np.random.default_rng(recipe.content_seed), recipe.photographs, recipe.solids)
    arrangement = draw_arrangement(np.random.default_rng(recipe.layout_seed), content)
    objects = build_objects(content, arrangement)
    renderer = Renderer(objects, lamp_points(arrangement))
    rng = np.random.default_rng(recipe.camera_seed)
    intrinsics = draw_intrinsics(rng, width, height)
    photographs = _instances(objects, "photograph")
    exhibits = np.concatenate([photographs, _instances(objects, "solid")])
    poses = draw_path(rng, renderer, arrangement.size, intrinsics, num_views, photographs, exhibits)
    return Gallery(objects, renderer, intrinsics, poses)


def _instances(objects: list[SceneObject], kind: str) -> npt.NDArray[np.int64]:
    return np.array([k + 1 for k, scene_object in enumerate(objects) if scene_object.kind == kind], dtype=np.int64)
