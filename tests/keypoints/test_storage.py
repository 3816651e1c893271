"""Condensed scenes on disk: what is written is read again, and whatever else is there is refused."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import trimesh
from plyfile import PlyData, PlyElement
from safetensors.numpy import load, save

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import (
    FEATURES_FILE,
    POINTS_FILE,
    SCENE_FILE,
    CondensedScene,
)
from condense_nerfstudio.keypoints.storage import as_files, from_files, read_condensed_scene, write_condensed_scene

from .scenes import make_scene

FILES = (SCENE_FILE, POINTS_FILE, FEATURES_FILE)
COLUMNS = ("x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "scale", "score", "views")

Spoil = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A condensed scene on disk, alone in a folder."""
    (tmp_path / "scenes").mkdir()
    write_condensed_scene(make_scene(), tmp_path / "scenes" / "fox")
    return tmp_path / "scenes" / "fox"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


ARRAYS = ("positions", "normals", "colors", "scales", "scores", "views", "descriptors")


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


MISSING_OR_CUT = {
    "no scene.json": (without(SCENE_FILE), SCENE_FILE, "no condensed scene"),
    "no ply": (without(POINTS_FILE), POINTS_FILE, "missing"),
    "no safetensors": (without(FEATURES_FILE), FEATURES_FILE, "missing"),
    "a folder as ply": (as_folder(POINTS_FILE), POINTS_FILE, ""),
    "a folder as safetensors": (as_folder(FEATURES_FILE), FEATURES_FILE, ""),
    "cut ply": (cut(POINTS_FILE, -1), POINTS_FILE, "cut short"),
    "cut safetensors": (cut(FEATURES_FILE, -1), FEATURES_FILE, "cut short"),
    "cut json": (cut(SCENE_FILE, -10), SCENE_FILE, "cannot be read"),
    "empty ply": (cut(POINTS_FILE, 0), POINTS_FILE, "cut short"),
    "empty safetensors": (cut(FEATURES_FILE, 0), FEATURES_FILE, "cut short"),
    "empty json": (cut(SCENE_FILE, 0), SCENE_FILE, "cannot be read"),
    **{
        f"byte flipped in {name} at {share}": (flipped(name, share), name, "altered")
        for name in (POINTS_FILE, FEATURES_FILE)
        for share in (0.0, 0.3, 0.6, 1.0)
    },
}

POINTS = {
    "cut, right hash": (rehashed(cut(POINTS_FILE, -1), POINTS_FILE), "bytes long"),
    "empty, right hash": (rehashed(cut(POINTS_FILE, 0), POINTS_FILE), "header"),
    "extra column": (with_column("quality", 0.0), "header"),
    "10**12 points": (claiming(10**12, in_header=False), "header"),
    "10**7 points": (claiming(10**7, in_header=True), "bytes long"),
    **{
        f"{value} as {column}": (with_column(column, value), f"{field} are not all finite")
        for column, field in (("x", "positions"), ("nz", "normals"), ("scale", "scales"), ("score", "scores"))
        for value in (np.nan, np.inf, -np.inf)
    },
    "long normal": (with_column("nx", 5.0), "length one"),
    "no scale": (with_column("scale", 0.0), "scale"),
    "negative scale": (with_column("scale", -0.1), "scale"),
    "no views": (with_column("views", 0), "views"),
    "negative score": (with_column("score", -0.1), "score"),
    "score above one": (with_column("score", 1.01), "score"),
}

TENSORS = {
    "cut, right hash": (rehashed(cut(FEATURES_FILE, -1), FEATURES_FILE), ""),
    "empty, right hash": (rehashed(cut(FEATURES_FILE, 0), FEATURES_FILE), ""),
    **{
        f"{value} in {name}": (with_feature(value, name), f"{name} are not all finite")
        for name in ("descriptors", "features.clip", "features.dinov2")
        for value in (np.nan, np.inf, -np.inf)
    },
    "float32": (with_tensors(lambda t: {**t, "features.clip": t["features.clip"].astype(np.float32)}), "float32"),
    "int16": (with_tensors(lambda t: {**t, "descriptors": t["descriptors"].view(np.int16)}), "int16"),
    "a point too few": (with_tensors(lambda t: {**t, "descriptors": t["descriptors"][:-1].copy()}), "(19, 16)"),
    "too narrow": (with_tensors(lambda t: {**t, "features.clip": t["features.clip"][:, :5].copy()}), "(20, 5)"),
    "too flat": (with_tensors(lambda t: {**t, "features.clip": t["features.clip"].reshape(-1)}), "(120,)"),
    "a tensor too few": (with_tensors(lambda t: {"descriptors": t["descriptors"]}), "features.clip"),
    "a tensor too many": (with_tensors(lambda t: {**t, "features.sam": t["descriptors"]}), "features.sam"),
}

HEADER = {
    "count too small": (with_value("count", value=19), "19"),
    "count too large": (with_value("count", value=21), "21"),
    **{f"count {value!r}": (with_value("count", value=value), "count") for value in (0, -1, 20.5, "20", True, None)},
    "count of 10**12": (claiming(10**12, in_header=True), "count"),
    "unknown key": (with_value("mood", value="good"), "mood"),
    "unknown key of a teacher": (with_value("teachers", 0, "mood", value="good"), "mood"),
    "unknown key of the detector": (with_value("detector", "mood", value="good"), "mood"),
    "unknown file": (with_value("files", "mood.ply", value="0" * 64), "mood"),
    "nested creation": (with_value("creation", "mood", value={"good": 1}), "creation"),
    "teacher twice": (with_teacher_twice, "twice"),
    "teacher's name ends in a newline": (with_name_of_teacher("dinov2\n"), "name"),
    "teacher's name with a slash": (with_name_of_teacher("../dinov2"), "name"),
    "teacher's role": (with_value("teachers", 0, "role", value="both"), "role"),
    "brackets only": (with_json(b"[" * 100_000), "cannot be read"),
    "closed brackets": (with_json(b"[" * 100_000 + b"]" * 100_000), "cannot be read"),
    "brackets inside": (with_text('"A fox"', "[" * 100_000 + "]" * 100_000), "cannot be read"),
    "braces inside": (with_text('"A fox"', '{"a":' * 100_000 + "1" + "}" * 100_000), "cannot be read"),
    "a list": (with_json(b"[]"), ""),
    "null": (with_json(b"null"), ""),
    "no UTF-8": (with_json(b'{"format": "\xff"}'), "cannot be read"),
    "two values": (with_json(b"{} {}"), "cannot be read"),
    "NaN": (with_text("0.30000001192092896", "NaN"), "NaN"),
    "Infinity": (with_text("0.30000001192092896", "-Infinity"), "Infinity"),
    "NaN in creation": (with_text('"threshold": 0.1', '"threshold": NaN'), "NaN"),
    "1e999": (with_text("0.30000001192092896", "1e999"), "1e999"),
    "1e999 in creation": (with_text('"threshold": 0.1', '"threshold": 1e999'), "1e999"),
    "1e39": (with_text("0.30000001192092896", "1e39"), "world_to_nerf"),
    "count of 10**400": (with_value("count", value=10**400), "count"),
    "width of 10**400": (with_value("teachers", 1, "dim", value=10**400), "dim"),
    "10**400 in world_to_nerf": (with_value("world_to_nerf", 0, 1, value=10**400), "world_to_nerf"),
    "10**400 in bounding_box": (with_value("bounding_box", 0, 1, value=-(10**400)), "bounding_box"),
    "10**5000": (with_text("0.30000001192092896", "1" + "0" * 5000), "cannot be read"),
    "width of 8.0": (with_value("teachers", 0, "dim", value=8.0), "dim"),
    "descriptors' width of 16.0": (with_value("detector", "dim", value=16.0), "dim"),
    "wrong width": (with_value("detector", "dim", value=17), "17"),
    "too large": (with_space, "bytes long"),
    "bounding box of others": (with_value("bounding_box", 1, 2, value=7.0), "bounding_box"),
    "flat world_to_nerf": (with_value("world_to_nerf", value=[1.0] * 16), "world_to_nerf"),
    "hash in capitals": (with_value("files", POINTS_FILE, value="A" * 64), "files"),
    **{
        f"id {value!r:.12}": (with_value("id", value=value), "id")
        for value in ("a/b", "/", "a\\b", "", "a\nb", "a\n", "a\0", "a" * 256, 7, None)
    },
    **{f"frame {value!r}": (with_value("frame", value=value), "frame") for value in ("nerf", None)},
}


@pytest.mark.parametrize("spoil, name, fault", MISSING_OR_CUT.values(), ids=MISSING_OR_CUT)
def test_a_missing_or_broken_file_is_named(folder: Path, spoil: Spoil, name: str, fault: str) -> None:
    spoil(folder)
    text = refusal(folder)
    assert str(folder) in text and name in text and fault in text


@pytest.mark.parametrize("spoil, fault", POINTS.values(), ids=POINTS)
def test_faulty_points_with_the_right_hash_are_named(folder: Path, spoil: Spoil, fault: str) -> None:
    spoil(folder)
    text = refusal(folder)
    assert str(folder) in text and POINTS_FILE in text and fault in text


@pytest.mark.parametrize("spoil, fault", TENSORS.values(), ids=TENSORS)
def test_faulty_features_with_the_right_hash_are_named(folder: Path, spoil: Spoil, fault: str) -> None:
    spoil(folder)
    text = refusal(folder)
    assert str(folder) in text and FEATURES_FILE in text and fault in text


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("spoil, fault", HEADER.values(), ids=HEADER)
def test_a_faulty_header_is_named(folder: Path, spoil: Spoil, fault: str) -> None:
    spoil(folder)
    text = refusal(folder)
    assert str(folder) in text and any(name in text for name in FILES) and fault in text
    assert len(text) < 1000


@pytest.mark.parametrize("version", [0, 3, "1", None, 1.5, True, [1]])
def test_another_version_is_refused_with_both_versions(folder: Path, version: Any) -> None:
    with_value("version", value=version)(folder)
    text = refusal(folder)
    assert SCENE_FILE in text and f"version {version!r}" in text and "reads 1 and 2" in text


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


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"agreement": 0.5},
        *({"version": 2, "agreement": bad} for bad in (-0.1, 1.1, "half", True, None)),
    ],
)
def test_an_agreement_that_does_not_fit_is_refused(folder: Path, changes: dict[str, Any]) -> None:
    header = json.loads((folder / SCENE_FILE).read_text())
    (folder / SCENE_FILE).write_text(json.dumps(header | changes))
    text = refusal(folder)
    assert SCENE_FILE in text and "agreement" in text


def test_a_version_of_10_to_the_400_is_refused(folder: Path) -> None:
    with_value("version", value=10**400)(folder)
    assert SCENE_FILE in refusal(folder)


@pytest.mark.parametrize("place", [("name",), ("creation", "threshold"), ("teachers", 0, "revision"), ("version",)])
def test_brackets_as_deep_as_python_can_read_are_refused(folder: Path, place: tuple[str | int, ...]) -> None:
    with_value(*place, value="brackets")(folder)
    text = (folder / SCENE_FILE).read_text()
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit() + 10):
        (folder / SCENE_FILE).write_text(text.replace('"brackets"', "[" * depth + "]" * depth))
        assert SCENE_FILE in refusal(folder), depth


@pytest.mark.parametrize("kind", ["missing", "empty", "other", "file"])
def test_a_folder_that_is_no_condensed_scene_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "room"
    if kind == "file":
        folder.write_text("room")
    elif kind != "missing":
        folder.mkdir()
    if kind == "other":
        (folder / "transforms.json").write_text("{}")
    text = refusal(folder)
    assert str(folder) in text and SCENE_FILE in text and "no condensed scene" in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_place_of_a_file_does_not_stop_the_reader(folder: Path) -> None:
    (folder / POINTS_FILE).unlink()
    os.mkfifo(folder / POINTS_FILE)
    texts: list[str] = []
    reader = threading.Thread(target=lambda: texts.append(refusal(folder)), daemon=True)
    reader.start()
    reader.join(timeout=5)
    waits = reader.is_alive()
    if waits:
        os.close(os.open(folder / POINTS_FILE, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(timeout=5)
    assert not waits
    assert POINTS_FILE in texts[0]


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


def mutated_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """Flips, cuts, inserts, deletes or duplicates."""
    start, end = sorted(int(i) for i in random.integers(0, len(content) + 1, 2))
    kind = random.integers(5)
    if kind == 0:
        flipped = bytearray(content)
        for i in random.integers(0, len(content), random.integers(1, 9)):
            flipped[i] ^= int(random.integers(1, 256))
        return bytes(flipped)
    if kind == 1:
        return content[:start]
    if kind == 2:
        return content[:start] + random.bytes(int(random.integers(1, 40))) + content[start:]
    if kind == 3:
        return content[:start] + content[end:]
    return content[:end] + content[start:end] + content[end:]


def mutated_json(content: bytes, random: np.random.Generator) -> bytes:
    """Replaces one value, wherever it stands, by another of any type."""
    header = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            places.append((value, key))
            collect(inner)

    collect(header)
    values = (
        None, True, False, 0, 1, -1, 3, 2**31, 10**19, 10**400, 0.0, 1.5, 1e39, 1e308, float("nan"), float("inf"),
        "", "a/b", "clip", "x" * 5000, "\ud800", [], [1], [[]], {}, {"a": 1}, {"a": {"b": []}},
    )  # fmt: skip
    parent, key = places[random.integers(len(places))]
    parent[key] = values[random.integers(len(values))]
    return json.dumps(header).encode()


def mutate(original: dict[str, bytes], random: np.random.Generator) -> dict[str, bytes]:
    name = FILES[random.integers(3)]
    as_json = name == SCENE_FILE and random.integers(6) >= 3
    changed = (mutated_json if as_json else mutated_bytes)(original[name], random)
    mutant = {**original, name: changed}
    if name != SCENE_FILE and random.random() < 0.5:
        header = json.loads(original[SCENE_FILE])
        header["files"][name] = hashlib.sha256(changed).hexdigest()
        mutant[SCENE_FILE] = json.dumps(header).encode()
    return mutant


@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_a_thousand_mutations_are_refused_or_sane(folder: Path) -> None:
    original, random = contents(folder), np.random.default_rng(0)
    start, refused, failures = time.perf_counter(), 0, []
    for i in range(1000):
        mutant = mutate(original, random)
        for name, content in mutant.items():
            (folder / name).write_bytes(content)
        try:
            scene = read_condensed_scene(folder)
            assert all_finite(scene) and len(scene.points)
        except UserError as error:
            assert any(name in str(error) for name in FILES), i
            refused += 1
        except Exception as error:
            changed = [name for name in FILES if mutant[name] != original[name]]
            failures.append(f"{i} {changed}: {type(error).__name__}: {error}"[:500])
    assert not failures, "\n".join(failures)
    assert 800 < refused < 1000
    assert time.perf_counter() - start < 30
