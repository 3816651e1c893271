"""keypoints.ply: position, normal, colour and figures of each key point, for this program and for every mesh viewer."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from plyfile import PlyData, PlyElement

_COLUMNS = [
    *((name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")),
    *((name, "u1") for name in ("red", "green", "blue")),
    ("scale", "<f4"),
    ("score", "<f4"),
    ("views", "<i4"),
]
_ROW = np.dtype(_COLUMNS)


def points_as_ply(arrays: dict[str, np.ndarray]) -> bytes:
    """A binary PLY file of `positions`, `normals`, `colors`, `scales`, `scores` and `views`."""
    rows = np.empty(len(arrays["positions"]), dtype=_ROW)
    for names, key in ((("x", "y", "z"), "positions"), (("nx", "ny", "nz"), "normals"), (_COLORS, "colors")):
        for i, name in enumerate(names):
            rows[name] = arrays[key][:, i]
    for name, key in _FIGURES.items():
        rows[name] = arrays[key]
    file = io.BytesIO()
    _ply(rows).write(file)
    return file.getvalue()


def ply_as_points(content: bytes, count: int) -> dict[str, np.ndarray]:
    """The arrays in a file that :func:`points_as_ply` wrote.

    Args:
        content: the whole file.
        count: the points that are expected.

    Raises:
        ValueError: it is another file; the text says in what.
    """
    # Only this one header is accepted: plyfile would make room for whatever a header says.
    header = (_ply(np.empty(0, dtype=_ROW)).header + "\n").replace("element vertex 0\n", f"element vertex {count}\n")
    if not content.startswith(header.encode()):
        raise ValueError(f"its header is not that of {count} key points")
    if len(content) != len(header) + count * _ROW.itemsize:
        raise ValueError(f"it is {len(content)} bytes long instead of {len(header) + count * _ROW.itemsize}")
    rows: Any = PlyData.read(io.BytesIO(content))["vertex"].data
    return {
        "positions": _stacked(rows, ("x", "y", "z")),
        "normals": _stacked(rows, ("nx", "ny", "nz")),
        "colors": _stacked(rows, _COLORS),
        **{key: np.array(rows[name]) for name, key in _FIGURES.items()},
    }


_COLORS = ("red", "green", "blue")
_FIGURES = {"scale": "scales", "score": "scores", "views": "views"}


def _ply(rows: np.ndarray) -> PlyData:
    return PlyData([PlyElement.describe(rows, "vertex")], byte_order="<", comments=["condensed scene: key points"])


def _stacked(rows: Any, names: tuple[str, ...]) -> np.ndarray:
    return np.stack([rows[name] for name in names], axis=1)
