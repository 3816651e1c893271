"""The files of a condensed scene: how tests read, compare and spoil them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plyfile import PlyData, PlyElement
from safetensors.numpy import load, save

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import (
    FEATURES_FILE,
    POINTS_FILE,
    SCENE_FILE,
    CondensedScene,
)
from condense_nerfstudio.keypoints.storage import read_condensed_scene

FILES = (SCENE_FILE, POINTS_FILE, FEATURES_FILE)
ARRAYS = ("positions", "normals", "colors", "scales", "scores", "views", "descriptors")
COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "scale", "score", "views")

Spoil = Callable[[Path], None]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def header_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / SCENE_FILE).read_bytes())


def assert_equal(a: CondensedScene, b: CondensedScene) -> None:
    for name in ("id", "name", "units", "teachers", "detector", "creation"):
        assert getattr(a, name) == getattr(b, name), name
    np.testing.assert_array_equal(a.world_to_nerf, b.world_to_nerf)
    assert list(a.points.features) == list(b.points.features)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a.points, name), getattr(b.points, name), strict=True)
    for name, features in a.points.features.items():
        np.testing.assert_array_equal(features, b.points.features[name], strict=True)


def all_finite(scene: CondensedScene) -> bool:
    points = scene.points
    arrays = [getattr(points, name) for name in ARRAYS]
    return all(np.isfinite(array).all() for array in (scene.world_to_nerf, *arrays, *points.features.values()))


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_condensed_scene(folder)
    return str(caught.value)


def replace_data(folder: Path, name: str, content: bytes) -> None:
    """Replaces a data file, and its SHA-256 in scene.json."""
    (folder / name).write_bytes(content)
    header = header_of(folder)
    header["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / SCENE_FILE).write_text(json.dumps(header))


def without(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def cut(name: str, keep: int) -> Spoil:
    """Keeps the first bytes, or all but the last."""

    def spoil(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])

    return spoil


def rehashed(spoil: Spoil, name: str) -> Spoil:
    def both(folder: Path) -> None:
        spoil(folder)
        replace_data(folder, name, (folder / name).read_bytes())

    return both


def flipped(name: str, share: float) -> Spoil:
    """Flips the lowest bit of the byte at a share of the file's length."""

    def spoil(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[int(share * (len(content) - 1))] ^= 1
        (folder / name).write_bytes(content)

    return spoil


def with_column(name: str, value: float, row: int = 7) -> Spoil:
    """One value of the points is another, with the right hash; a column that is missing is added."""

    def spoil(folder: Path) -> None:
        ply = PlyData.read(io.BytesIO((folder / POINTS_FILE).read_bytes()))
        rows: Any = ply["vertex"].data
        if name not in rows.dtype.names:
            wider = np.zeros(len(rows), dtype=[*rows.dtype.descr, (name, "<f4")])
            for known in rows.dtype.names:
                wider[known] = rows[known]
            rows = wider
        rows[name][row] = value
        file = io.BytesIO()
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<", comments=ply.comments).write(file)
        replace_data(folder, POINTS_FILE, file.getvalue())

    return spoil


def with_tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Spoil:
    """Other tensors, with the right hash."""

    def spoil(folder: Path) -> None:
        tensors = {name: tensor.copy() for name, tensor in load((folder / FEATURES_FILE).read_bytes()).items()}
        replace_data(folder, FEATURES_FILE, save(change(tensors)))

    return spoil


def with_feature(value: float, name: str = "features.clip") -> Spoil:
    def change(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors[name][3, 2] = value
        return tensors

    return with_tensors(change)


def with_value(*path: str | int, value: Any) -> Spoil:
    """Another value at a place in scene.json."""

    def spoil(folder: Path) -> None:
        header = header_of(folder)
        place: Any = header
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        (folder / SCENE_FILE).write_text(json.dumps(header))

    return spoil


def with_text(old: str, new: str) -> Spoil:
    """Another piece of text in scene.json."""

    def spoil(folder: Path) -> None:
        text = (folder / SCENE_FILE).read_text()
        assert old in text
        (folder / SCENE_FILE).write_text(text.replace(old, new, 1))

    return spoil


def with_json(content: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / SCENE_FILE).write_bytes(content)

    return spoil


def claiming(points: int, in_header: bool) -> Spoil:
    """A PLY header that claims other points than there are, with the right hash."""

    def spoil(folder: Path) -> None:
        content = (folder / POINTS_FILE).read_bytes().replace(b"vertex 20\n", b"vertex %d\n" % points)
        replace_data(folder, POINTS_FILE, content)
        if in_header:
            with_value("count", value=points)(folder)

    return spoil


def with_teacher_twice(folder: Path) -> None:
    teachers = header_of(folder)["teachers"]
    with_value("teachers", value=[*teachers, teachers[0]])(folder)


def with_space(folder: Path) -> None:
    (folder / SCENE_FILE).write_bytes((folder / SCENE_FILE).read_bytes() + b" " * (1 << 20))


def as_folder(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return spoil


def with_name_of_teacher(name: str) -> Spoil:
    """Another name of the first teacher, in both files."""

    def spoil(folder: Path) -> None:
        with_value("teachers", 0, "name", value=name)(folder)
        with_tensors(lambda tensors: {key.replace("dinov2", name): value for key, value in tensors.items()})(folder)

    return spoil
