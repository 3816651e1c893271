"""Condensed scenes that are missing, broken or faulty: each is refused in a sentence that names the file."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from condense_nerfstudio.keypoints.condensed_scene import (
    FEATURES_FILE,
    POINTS_FILE,
    SCENE_FILE,
)

from .scene_files import (
    FILES,
    Spoil,
    as_folder,
    claiming,
    cut,
    flipped,
    refusal,
    rehashed,
    with_column,
    with_feature,
    with_json,
    with_name_of_teacher,
    with_space,
    with_teacher_twice,
    with_tensors,
    with_text,
    with_value,
    without,
)

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
