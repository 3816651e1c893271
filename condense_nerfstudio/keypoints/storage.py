"""Writing and reading condensed scenes. Reading checks everything and runs nothing: no pickle, no YAML."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import as_json_bytes, check_replaceable, complete_or_absent
from condense_nerfstudio.keypoints.condensed_scene import (
    FEATURES_FILE,
    FORMAT_VERSIONS,
    POINTS_FILE,
    SCENE_FILE,
    CondensedScene,
    DetectorCard,
    KeyPoints,
    TeacherCard,
)
from condense_nerfstudio.keypoints.points_file import ply_as_points, points_as_ply

_LARGEST_JSON = 1 << 20
_LARGEST_HEADER = 1 << 16
_UNIT_TOLERANCE = 0.01


def write_condensed_scene(scene: CondensedScene, folder: Path, overwrite: bool = False) -> None:
    """Writes a condensed scene, all of it or nothing.

    Args:
        scene: what to write.
        folder: the folder to make.
        overwrite: whether a condensed scene that is there may be replaced.

    Raises:
        UserError: the scene has no points or has values that a reader would refuse, or the folder exists or cannot be
            written.
    """
    check_replaceable(folder, SCENE_FILE, "condensed scene", overwrite)
    try:
        contents = as_files(scene)
        from_files(contents)
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder} is not written, since the scene is faulty: {error}.") from error
    with complete_or_absent(folder) as partial:
        for name, content in contents.items():
            (partial / name).write_bytes(content)


def read_condensed_scene(folder: Path) -> CondensedScene:
    """Reads a condensed scene that anybody may have made, and checks all of it.

    Raises:
        UserError: a file is missing, cut short or altered, or anything in it is not as docs/condensed_scene.md says.
    """
    if not (folder / SCENE_FILE).is_file():
        raise UserError(f"{folder} is no condensed scene (it has no {SCENE_FILE}): make one with condense keypoints.")
    contents = {}
    try:
        contents[SCENE_FILE] = _read_file(folder / SCENE_FILE, _LARGEST_JSON)
        header = _parse(contents[SCENE_FILE])
        for name in (POINTS_FILE, FEATURES_FILE):
            contents[name] = _read_file(folder / name, _LARGEST_HEADER + _largest_size(header))
        return from_files(contents)
    except ValueError as error:
        raise UserError(f"{folder}: {error}: export the scene again with condense keypoints.") from error


def as_files(scene: CondensedScene) -> dict[str, bytes]:
    """The three files of a condensed scene, by name. The same scene gives the same bytes.

    Raises:
        ValueError: it has no points, or values that no reader takes.
    """
    points = scene.points
    if not len(points):
        raise ValueError("it has no key points")
    arrays = {key: getattr(points, key) for key in ("positions", "normals", "colors", "scales", "scores", "views")}
    _check_points(arrays)
    tensors = {"descriptors": points.descriptors, **{f"features.{name}": v for name, v in points.features.items()}}
    data = {
        POINTS_FILE: points_as_ply(arrays),
        FEATURES_FILE: save({name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}),
    }
    header = {
        "format": "condensed scene",
        "version": 1 if scene.agreement is None else 2,
        "id": scene.id,
        "name": scene.name,
        "frame": "dataset",
        "units": scene.units,
        "world_to_nerf": scene.world_to_nerf.tolist(),
        "bounding_box": scene.bounding_box.tolist(),
        "count": len(points),
        "teachers": [asdict(card) for card in scene.teachers],
        "detector": asdict(scene.detector),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in data.items()},
        "creation": dict(scene.creation),
    }
    if scene.agreement is not None:
        header["agreement"] = scene.agreement
    return {SCENE_FILE: as_json_bytes(header), **data}


def from_files(contents: Mapping[str, bytes]) -> CondensedScene:
    """The condensed scene in three files; the opposite of :func:`as_files`.

    Raises:
        ValueError: something is wrong; the text names the file and the fault.
    """
    header = _parse(contents[SCENE_FILE])
    for name, expected in header["files"].items():
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise ValueError(f"{name} is cut short or altered (its SHA-256 is not the one in {SCENE_FILE})")
    try:
        arrays = ply_as_points(contents[POINTS_FILE], header["count"])
        _check_points(arrays)
    except ValueError as error:
        raise ValueError(f"{POINTS_FILE} is faulty: {error}") from error
    try:
        descriptors, features = _tensors(contents[FEATURES_FILE], header)
    except Exception as error:  # safetensors has a type of its own, which is no ValueError
        raise ValueError(f"{FEATURES_FILE} is faulty: {error}") from error
    scene = CondensedScene(
        id=header["id"],
        name=header["name"],
        units=header["units"],
        world_to_nerf=header["world_to_nerf"],
        teachers=tuple(TeacherCard(**card) for card in header["teachers"]),
        detector=DetectorCard(**header["detector"]),
        creation=header["creation"],
        points=KeyPoints(**arrays, descriptors=descriptors, features=features),
        agreement=header.get("agreement"),
    )
    if not np.array_equal(scene.bounding_box, header["bounding_box"]):
        raise ValueError(f"{SCENE_FILE} is faulty: its bounding_box is not that of the key points")
    return scene


def _parse(content: bytes) -> dict[str, Any]:
    """The header, checked against the schema."""
    if len(content) > _LARGEST_JSON:
        raise ValueError(f"{SCENE_FILE} is {len(content)} bytes long, {_LARGEST_JSON} at most are expected")
    try:
        header = json.loads(content.decode(), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{SCENE_FILE} cannot be read ({_shortened(str(error))})") from error
    try:
        if isinstance(header, dict) and header.get("format") == "condensed scene":
            version = header.get("version")
            if type(version) is not int or version not in FORMAT_VERSIONS:
                known = " and ".join(map(str, FORMAT_VERSIONS))
                raise ValueError(f"it is of version {version!r}, but this program reads {known}")
        for fault in _validator().iter_errors(header):
            place = ".".join(str(step) for step in fault.absolute_path) or "the whole"
            told = fault.message
            if fault.validator == "pattern":  # regular expressions tell people little
                told = f"{fault.instance!r} is not {fault.schema['description']}"
            raise ValueError(f"{place}: {_shortened(told)}")
        for name in ("world_to_nerf", "bounding_box"):
            header[name] = _matrix(header[name], name)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{SCENE_FILE} is faulty: {_shortened(str(error))}") from error
    names = [card["name"] for card in header["teachers"]]
    if len(set(names)) < len(names):
        raise ValueError(f"{SCENE_FILE} is faulty: a teacher is named twice")
    return header


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _finite(text: str) -> float:
    """A number of the file; Python would read 1e999 as infinity."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"it holds {_shortened(text)}")
    return value


def _matrix(rows: Any, name: str) -> np.ndarray:
    """Rows of numbers in single precision."""
    try:
        with np.errstate(over="ignore"):
            matrix = np.array(rows, dtype=np.float64).astype(np.float32)
    except OverflowError as error:
        raise ValueError(f"{name} is too large") from error
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name} is too large")
    return matrix


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    def is_integer(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)  # JSON Schema itself takes 8.0 for one

    strict = extend(
        Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer)
    )
    text = files("condense_nerfstudio.keypoints").joinpath("condensed_scene.schema.json").read_text()
    return strict(json.loads(text))


def _check_points(arrays: Mapping[str, np.ndarray]) -> None:
    """Values that no writer of ours leaves."""
    for key in ("positions", "normals", "scales", "scores"):
        if not np.isfinite(arrays[key]).all():
            raise ValueError(f"its {key} are not all finite")
    if (np.abs(np.linalg.norm(arrays["normals"].astype(np.float64), axis=1) - 1.0) > _UNIT_TOLERANCE).any():
        raise ValueError("its normals are not all of length one")
    if (arrays["scales"] <= 0).any() or (arrays["views"] < 1).any():
        raise ValueError("a scale or a number of views is not positive")
    if (arrays["scores"] < 0).any() or (arrays["scores"] > 1).any():
        raise ValueError("a score is not between 0 and 1")


def _tensors(content: bytes, header: Mapping[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Descriptors and features, of the shapes that the header announces."""
    widths = {f"features.{card['name']}": card["dim"] for card in header["teachers"]}
    expected = {"descriptors": header["detector"]["dim"], **widths}
    tensors = load(content)
    if set(tensors) != set(expected):
        raise ValueError(f"it holds {', '.join(sorted(tensors))} instead of {', '.join(sorted(expected))}")
    for name, dim in expected.items():
        tensor, shape = tensors[name], (header["count"], dim)
        if tensor.dtype != np.float16 or tensor.shape != shape:
            raise ValueError(f"its {name} are {tensor.dtype} {tensor.shape} instead of float16 {shape}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"its {name} are not all finite")
    return tensors["descriptors"], {card["name"]: tensors[f"features.{card['name']}"] for card in header["teachers"]}


def _largest_size(header: Mapping[str, Any]) -> int:
    """Bytes that the larger of the two data files may have, beside its header."""
    numbers = header["detector"]["dim"] + sum(card["dim"] for card in header["teachers"])
    return header["count"] * max(64, 2 * numbers)


def _read_file(path: Path, largest: int) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{path.name} is no file")
        size = path.stat().st_size
        if size > largest:
            raise ValueError(f"{path.name} is {size} bytes long, {largest} at most are expected")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path.name} is missing") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error.strerror})") from error


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + " ..."
