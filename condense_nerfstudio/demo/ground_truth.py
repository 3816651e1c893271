"""What is where in a demo scene: the contents of `ground_truth.json`, and reading a finished scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from condense_nerfstudio.demo.catalogue import CLASS_NAMES
from condense_nerfstudio.demo.recipe import GENERATOR_VERSION, Matrix, Recipe, similarity_scale
from condense_nerfstudio.errors import UserError

FORMAT = "condense-demo-scene"

GROUND_TRUTH_FILE = "ground_truth.json"

DEPTH_UNIT = 1e-3
"""World units in one step of a depth map: nerfstudio's default depth_unit_scale_factor."""

Vector = tuple[float, ...]


@dataclass(frozen=True)
class TrueObject:
    """An object in the world frame of transforms.json, world units."""

    id: int
    """Its value in the instance masks."""
    name: str
    """Unique in the scene."""
    class_name: str
    """One of the class names; their position is the value in the class masks."""
    kind: str
    """structure, pedestal, photograph or solid."""
    phrase: str | None
    """The text question that should find it."""
    box_min: Vector
    """Least corner of its axis-aligned box."""
    box_max: Vector
    """Greatest corner."""
    centroid: Vector
    """Centre of its surface's area."""
    oriented_centre: Vector
    """Centre of its oriented box."""
    oriented_extents: Vector
    """Side lengths of its oriented box."""
    oriented_axes: Matrix
    """3x3 rotation; the columns are the axes of its oriented box."""


@dataclass(frozen=True)
class Origin:
    """The scene from which a duplicate or near miss was made."""

    relation: str
    """duplicate or near miss."""
    scene: str
    """Folder name of the original."""
    original_to_this: Matrix | None
    """4x4 similarity between the two world frames; None for a near miss."""


@dataclass(frozen=True)
class TrueFrame:
    """A view and its maps."""

    image: Path
    depth: Path
    """16-bit, z-depth in steps of `DEPTH_UNIT` world units."""
    instances: Path
    """8-bit, object ids."""
    classes: Path
    """8-bit, positions in the class names."""
    camera_to_world: npt.NDArray[np.float64]
    """(4, 4), OpenGL axes."""


@dataclass(frozen=True)
class GroundTruth:
    """A finished demo scene."""

    folder: Path
    seed: int
    index: int
    recipe: Recipe
    origin: Origin | None
    class_names: tuple[str, ...]
    objects: tuple[TrueObject, ...]
    frames: tuple[TrueFrame, ...]
    """In the order of their file names, as nerfstudio sorts them."""


def ground_truth_json(
    seed: int, index: int, recipe: Recipe, origin: Origin | None, objects: Sequence[TrueObject]
) -> dict[str, Any]:
    """The contents of `ground_truth.json`."""
    return {
        "format": FORMAT,
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "index": index,
        "world_units_per_metre": recipe.world_scale,
        "depth_unit": DEPTH_UNIT,
        "recipe": recipe.to_json(),
        "origin": asdict(origin) if origin else None,
        "class_names": list(CLASS_NAMES),
        "objects": [asdict(true_object) for true_object in objects],
    }


def load_ground_truth(folder: Path) -> GroundTruth:
    """Reads and checks a demo scene's `ground_truth.json` and the frames of its `transforms.json`.

    Raises:
        UserError: a file is missing, broken or of another generator version.
    """
    path = folder / GROUND_TRUTH_FILE
    values = _read_object(path)
    if values.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a demo scene: make one with `condense demo-scenes`.")
    if values.get("generator_version") != GENERATOR_VERSION:
        raise UserError(f"{path} was made by another version of the generator: make the scene again.")
    transforms_path = folder / "transforms.json"
    transforms = _read_object(transforms_path)
    try:
        objects = tuple(_true_object(entry) for entry in values["objects"])
        truth = GroundTruth(
            folder=folder,
            seed=int(values["seed"]),
            index=int(values["index"]),
            recipe=Recipe.from_json(values["recipe"]),
            origin=_origin(values["origin"]),
            class_names=tuple(str(name) for name in values["class_names"]),
            objects=objects,
            frames=(),
        )
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(
            f"{path} is not a valid description of a demo scene ({error}): make the scene again."
        ) from error
    try:
        frames = sorted((_true_frame(folder, entry) for entry in transforms["frames"]), key=lambda frame: frame.image)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{transforms_path} has no valid frames ({error!r}): make the scene again.") from error
    return GroundTruth(**{**vars(truth), "frames": tuple(frames)})


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: give the folder of a scene made by `condense demo-scenes`.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: make the scene again.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is no JSON object: make the scene again.")
    return values


def _true_object(entry: Any) -> TrueObject:
    vectors = {
        key: _vector(entry[key]) for key in ("box_min", "box_max", "centroid", "oriented_centre", "oriented_extents")
    }
    if entry["class_name"] not in CLASS_NAMES:
        raise ValueError(f"unknown class {entry['class_name']!r}")
    axes = tuple(_vector(row) for row in entry["oriented_axes"])
    if len(axes) != 3:
        raise ValueError("oriented_axes is no 3x3 matrix")
    return TrueObject(
        id=int(entry["id"]),
        name=str(entry["name"]),
        class_name=str(entry["class_name"]),
        kind=str(entry["kind"]),
        phrase=None if entry["phrase"] is None else str(entry["phrase"]),
        oriented_axes=axes,
        **vectors,
    )


def _origin(entry: Any) -> Origin | None:
    if entry is None:
        return None
    matrix = entry["original_to_this"]
    if matrix is not None:
        similarity_scale(np.array(matrix, dtype=np.float64))
        matrix = tuple(tuple(float(value) for value in row) for row in matrix)
    return Origin(str(entry["relation"]), str(entry["scene"]), matrix)


def _true_frame(folder: Path, entry: Any) -> TrueFrame:
    camera_to_world = np.array(entry["transform_matrix"], dtype=np.float64)
    if camera_to_world.shape != (4, 4) or not np.isfinite(camera_to_world).all():
        raise ValueError("transform_matrix is no 4x4 matrix")
    keys = ("file_path", "depth_file_path", "instance_file_path", "class_file_path")
    image, depth, instances, classes = (_inside(folder, str(entry[key])) for key in keys)
    return TrueFrame(image, depth, instances, classes, camera_to_world)


def _inside(folder: Path, name: str) -> Path:
    """A path of the scene; a scene file cannot point outside its folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"{name} lies outside the scene")
    return folder / name


def _vector(values: Any) -> Vector:
    vector = tuple(float(value) for value in values)
    if len(vector) != 3 or not np.isfinite(vector).all():
        raise ValueError(f"{values!r} is no vector of three numbers")
    return vector
