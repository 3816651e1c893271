"""Condensed scenes on disk: what is written is read again, and nothing else is overwritten."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import trimesh
from plyfile import PlyData

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import (
    FEATURES_FILE,
    POINTS_FILE,
    SCENE_FILE,
    CondensedScene,
)
from condense_nerfstudio.keypoints.storage import as_files, from_files, read_condensed_scene, write_condensed_scene

from .scene_files import COLUMNS, FILES, assert_equal, contents, header_of
from .scenes import make_scene


@pytest.mark.parametrize("count", [1, 20, 3000])
def test_what_was_written_is_read(tmp_path: Path, count: int) -> None:
    scene = make_scene(count)
    write_condensed_scene(scene, tmp_path / "fox")
    read = read_condensed_scene(tmp_path / "fox")
    assert_equal(read, scene)
    assert len(read.points) == count


def test_written_again_it_is_the_same_bytes(folder: Path) -> None:
    again = folder.with_name("again")
    write_condensed_scene(read_condensed_scene(folder), again)
    assert sorted(contents(folder)) == sorted(FILES)
    assert contents(again) == contents(folder)


def test_the_layout_in_memory_changes_no_byte() -> None:
    scene = make_scene()
    points = scene.points
    positions, descriptors = np.asfortranarray(points.positions), np.repeat(points.descriptors, 2, axis=1)[:, ::2]
    turned = replace(points, positions=positions, descriptors=descriptors)
    assert as_files(replace(scene, points=turned)) == as_files(scene)


def test_a_scene_without_teachers_and_with_foreign_letters_is_kept() -> None:
    scene = make_scene(teachers=(), features={}, id="Küche 2.0", name='"厨房" 🦊\n')
    assert_equal(from_files(as_files(scene)), scene)


def test_plyfile_reads_the_points(folder: Path) -> None:
    points = make_scene().points
    rows: Any = PlyData.read(str(folder / POINTS_FILE))["vertex"].data
    assert rows.dtype.names == COLUMNS
    np.testing.assert_array_equal(np.stack([rows[name] for name in "xyz"], axis=1), points.positions)
    np.testing.assert_array_equal(np.stack([rows[name] for name in ("nx", "ny", "nz")], axis=1), points.normals)
    np.testing.assert_array_equal(np.stack([rows[name] for name in ("red", "green", "blue")], axis=1), points.colors)
    for name, expected in (("scale", points.scales), ("score", points.scores), ("views", points.views)):
        np.testing.assert_array_equal(rows[name], expected)


def test_trimesh_reads_the_points(folder: Path) -> None:
    cloud: Any = trimesh.load(str(folder / POINTS_FILE))
    points = make_scene().points
    np.testing.assert_array_equal(cloud.vertices.astype(np.float32), points.positions)
    np.testing.assert_array_equal(cloud.colors[:, :3], points.colors)
    assert tuple(cloud.metadata["_ply_raw"]["vertex"]["properties"]) == COLUMNS


def test_the_header_is_as_the_schema_says(folder: Path) -> None:
    schema = json.loads(files("condense_nerfstudio.keypoints").joinpath("condensed_scene.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    header = header_of(folder)
    jsonschema.validate(header, schema)
    for name in (POINTS_FILE, FEATURES_FILE):
        assert header["files"][name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    positions = make_scene().points.positions
    np.testing.assert_array_equal(header["bounding_box"], [positions.min(axis=0), positions.max(axis=0)])


def test_version_2_tells_what_photographs_usually_agree(tmp_path: Path) -> None:
    scene = make_scene(agreement=0.43)
    write_condensed_scene(scene, tmp_path / "new")
    header = json.loads((tmp_path / "new" / SCENE_FILE).read_text())
    assert header["version"] == 2 and header["agreement"] == 0.43
    again = read_condensed_scene(tmp_path / "new")
    assert again.agreement == 0.43 and as_files(again) == as_files(scene)
    write_condensed_scene(make_scene(), tmp_path / "old")
    header = json.loads((tmp_path / "old" / SCENE_FILE).read_text())
    assert header["version"] == 1 and "agreement" not in header
    assert read_condensed_scene(tmp_path / "old").agreement is None


def faulty_scenes() -> dict[str, tuple[CondensedScene, str]]:
    scene = make_scene()
    points, (visual, language) = scene.points, scene.teachers
    nan, infinite = points.features["clip"].copy(), points.descriptors.copy()
    nan[0, 0], infinite[0, 0] = np.nan, np.inf
    return {
        "NaN features": (make_scene(features={**points.features, "clip": nan}), "features.clip"),
        "infinite descriptors": (make_scene(descriptors=infinite), "descriptors"),
        "NaN positions": (make_scene(positions=np.full_like(points.positions, np.nan)), "positions"),
        "NaN world_to_nerf": (make_scene(world_to_nerf=np.full((4, 4), np.nan, dtype=np.float32)), SCENE_FILE),
        "NaN in creation": (make_scene(creation={"threshold": float("nan")}), SCENE_FILE),
        "long normals": (make_scene(normals=points.normals * np.float32(2)), "normals"),
        "scores above one": (make_scene(scores=points.scores + np.float32(1)), "score"),
        "zero points": (make_scene(count=0), "no key points"),
        "features nobody made": (make_scene(teachers=(visual,)), "features.clip"),
        "a teacher without features": (make_scene(features={"clip": points.features["clip"]}), "features.dinov2"),
        "a teacher twice": (make_scene(teachers=(visual, language, language)), "twice"),
        "another width": (make_scene(teachers=(visual, replace(language, dim=7))), "features.clip"),
        "a slash in the id": (make_scene(id="a/b"), "id"),
        "a header that readers refuse": (make_scene(creation={"log": "x" * (1 << 20)}), SCENE_FILE),
    }


@pytest.mark.parametrize("kind", faulty_scenes())
def test_a_faulty_scene_is_not_written(tmp_path: Path, kind: str) -> None:
    scene, fault = faulty_scenes()[kind]
    with pytest.raises(UserError) as caught:
        write_condensed_scene(scene, tmp_path / "fox")
    assert str(tmp_path / "fox") in str(caught.value) and fault in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_faulty_scene_replaces_nothing(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(UserError):
        write_condensed_scene(make_scene(count=0), folder, overwrite=True)
    assert contents(folder) == before and list(folder.parent.iterdir()) == [folder]


def test_an_existing_scene_is_replaced_only_when_told(folder: Path) -> None:
    before, other = contents(folder), make_scene(count=5, seed=1)
    with pytest.raises(UserError, match="exists"):
        write_condensed_scene(other, folder)
    assert contents(folder) == before
    write_condensed_scene(other, folder, overwrite=True)
    assert_equal(read_condensed_scene(folder), other)
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("names", [[], ["notes.txt"], [POINTS_FILE, FEATURES_FILE]])
def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path, names: list[str], overwrite: bool) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("mine")
    with pytest.raises(UserError, match="mine"):
        write_condensed_scene(make_scene(), folder, overwrite=overwrite)
    assert contents(folder) == dict.fromkeys(names, b"mine")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_in_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="mine"):
        write_condensed_scene(make_scene(), tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine").read_text() == "mine"


def fill_disk_at_second_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = Path.write_bytes, []

    def write_bytes(path: Path, data: bytes) -> int:
        calls.append(path)
        if len(calls) == 2:
            write(path, bytes(data)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_disk_at_second_file(monkeypatch)
    with pytest.raises(UserError, match="No space left") as caught:
        write_condensed_scene(make_scene(), tmp_path / "fox")
    assert str(tmp_path / "fox") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_existing_scene(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)
    fill_disk_at_second_file(monkeypatch)
    with pytest.raises(UserError, match="No space left"):
        write_condensed_scene(make_scene(seed=1), folder, overwrite=True)
    assert contents(folder) == before and list(folder.parent.iterdir()) == [folder]
