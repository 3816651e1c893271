"""Writing a gallery as a nerfstudio data set with depth maps, masks and ground truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from condense_nerfstudio import files
from condense_nerfstudio.demo.catalogue import CLASS_NAMES
from condense_nerfstudio.demo.gallery import Gallery
from condense_nerfstudio.demo.ground_truth import DEPTH_UNIT, GROUND_TRUTH_FILE, Origin, TrueObject, ground_truth_json
from condense_nerfstudio.demo.recipe import Recipe, as_matrix
from condense_nerfstudio.demo.render import develop
from condense_nerfstudio.demo.surfaces import SceneObject

MAPS = {
    "file_path": "images",
    "depth_file_path": "depths",
    "instance_file_path": "instances",
    "class_file_path": "classes",
}
"""Folder by the key in transforms.json (nerfstudio ignores the last two)."""


def write_scene(
    folder: Path,
    gallery: Gallery,
    recipe: Recipe,
    origin: Origin | None,
    seed: int,
    index: int,
    on_view: Callable[[], None] = lambda: None,
) -> list[TrueObject]:
    """Renders and writes a scene: all of it, or nothing.

    An existing demo scene at `folder` is replaced once the new one is complete.

    Args:
        folder: where the scene shall be.
        gallery: what to render.
        recipe: gives exposure and world frame.
        origin: for a duplicate or near miss.
        seed: of the collection, for the record.
        index: of the scene in the collection, for the record.
        on_view: called after each view.

    Returns:
        The objects as recorded in ground_truth.json.
    """
    objects = [true_object(k + 1, entry, recipe) for k, entry in enumerate(gallery.objects)]
    with files.complete_or_absent(folder) as partial:
        for name in MAPS.values():
            (partial / name).mkdir()
        class_ids = np.array([0, *(CLASS_NAMES.index(entry.class_name) for entry in objects)], dtype=np.uint8)
        for number, pose in enumerate(gallery.poses, start=1):
            view = gallery.renderer.look(pose, gallery.intrinsics)
            maps = {
                "file_path": develop(view.colour, recipe.exposure),
                "depth_file_path": _depth_steps(view.depth * recipe.world_scale),
                "instance_file_path": view.instances,
                "class_file_path": class_ids[view.instances],
            }
            for key, pixels in maps.items():
                Image.fromarray(pixels).save(partial / _map_path(key, number), compress_level=4)
            on_view()
        (partial / "transforms.json").write_bytes(files.as_json_bytes(_transforms(gallery, recipe)))
        truth = ground_truth_json(seed, index, recipe, origin, objects)
        (partial / GROUND_TRUTH_FILE).write_bytes(files.as_json_bytes(truth))
    return objects


def true_object(identity: int, entry: SceneObject, recipe: Recipe) -> TrueObject:
    """An object's boxes and centroid in the world frame."""
    room_to_world = np.array(recipe.room_to_world)
    linear, translation, scale = room_to_world[:3, :3], room_to_world[:3, 3], recipe.world_scale
    vertices = entry.vertices @ linear.T + translation
    local = entry.vertices @ entry.rotation
    low, high = local.min(axis=0), local.max(axis=0)
    return TrueObject(
        id=identity,
        name=entry.name,
        class_name=entry.class_name,
        kind=entry.kind,
        phrase=entry.phrase,
        box_min=_numbers(vertices.min(axis=0)),
        box_max=_numbers(vertices.max(axis=0)),
        centroid=_numbers(linear @ _centroid(entry) + translation),
        oriented_centre=_numbers(linear @ (entry.rotation @ (low + high) / 2) + translation),
        oriented_extents=_numbers((high - low) * scale),
        oriented_axes=as_matrix(linear / scale @ entry.rotation),
    )


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """Refuses a folder that exists, unless it is a demo scene and may be overwritten; see files.check_replaceable."""
    files.check_replaceable(folder, GROUND_TRUTH_FILE, "demo scene", overwrite)


def _transforms(gallery: Gallery, recipe: Recipe) -> dict[str, Any]:
    """The contents of transforms.json."""
    intrinsics = gallery.intrinsics
    room_to_world = np.array(recipe.room_to_world)
    frames = []
    for number, pose in enumerate(gallery.poses, start=1):
        camera_to_world = room_to_world @ pose
        camera_to_world[:3, :3] /= recipe.world_scale
        paths = {key: _map_path(key, number) for key in MAPS}
        frames.append({**paths, "transform_matrix": camera_to_world.tolist()})
    return {
        "camera_model": "OPENCV",
        "w": intrinsics.width,
        "h": intrinsics.height,
        "fl_x": intrinsics.focal,
        "fl_y": intrinsics.focal,
        "cx": intrinsics.cx,
        "cy": intrinsics.cy,
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0),
        "frames": frames,
    }


def _map_path(key: str, number: int) -> str:
    return f"{MAPS[key]}/frame_{number:05d}.png"


def _depth_steps(depth: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """World units to steps of `DEPTH_UNIT`; a room is far smaller than the 65 units that fit."""
    return np.round(depth / DEPTH_UNIT).astype(np.uint16)


def _centroid(entry: SceneObject) -> npt.NDArray[np.float64]:
    """Centre of the surface's area in the room's frame, (3,)."""
    triangles = np.concatenate([surface.mesh.vertices[surface.mesh.faces] for surface in entry.surfaces])
    edges = triangles[:, 1:] - triangles[:, :1]
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=-1)
    return np.average(triangles.mean(axis=1), axis=0, weights=areas)


def _numbers(vector: npt.NDArray) -> tuple[float, ...]:
    return tuple(float(value) for value in vector)
